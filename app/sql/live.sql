-- Following the log for the live channel.

-- name: page
-- The last position of the next commits and what kinds they are: most pages are of usage alone, and the other kinds need
-- not be asked for. A full page may have another behind it. The page ends with the quantities when they are too far behind.
select max(last_position) as until, array_agg(distinct kind) as kinds, count(*) = $3 as more
  from (select last_position, kind from log.commit
         where tenant_id = $1 and last_position > $2
         order by last_position
         limit $3) as following
 -- Outside of the limit, for the planner knows nothing of this bound and would sort all that follows.
 where last_position <= (
         select case when h.position - coalesce(p.position, 0) <= $4 then h.position else coalesce(p.position, 0) end
           from log.head h
           left join progress p on p.tenant_id = h.tenant_id and p.projection = 'quantities'
          where h.tenant_id = $1);

-- name: usage
-- Events of whole commits, of some customers or (null) of all. What is retracted later is in `retracted_customers`, and
-- whoever that touches is read anew, so an event that is retracted already may still be here.
select c.first_position + u.ordinal as position, u.customer_id, u.event_name, u.timestamp, u.metadata
  from log.commit c
 -- Batch by batch, as the projection reads: the planner knows nothing of a tenant that is newer than the statistics.
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and c.last_position > $2 and c.last_position <= $3
   and ($4::text[] is null or u.customer_id = any($4)) and log.here_from($1, $2, $3)
 order by position;

-- name: retracted_customers
select distinct u.customer_id
  from log.retraction r
  join log.event_key k on k.tenant_id = r.tenant_id and k.event_id = r.event_id
  join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
 where r.tenant_id = (select $1::text) and r.position > $2 and r.position <= $3;

-- name: facts
select position, originator_id, kind from log.domain_event
 where tenant_id = $1 and position > $2 and position <= $3
 order by position;

-- name: customers_of_subscriptions
select subscription_id, customer_id from subscription where tenant_id = $1 and subscription_id = any($2::text[]);

-- name: subscribed_customers
-- Those with a cycle that is not closed, a page of them by id.
select distinct customer_id from subscription
 where tenant_id = $1 and customer_id > $2 and due_at is not null
 order by customer_id
 limit $3;

-- name: has_customer
select exists (select from customer where tenant_id = $1 and customer_id = $2);
