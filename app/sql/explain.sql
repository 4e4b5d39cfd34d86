-- What explaining an invoice reads beside the facts that rating reads.

-- name: issued_invoice
-- An invoice's document and status, and the position at which it was issued.
select document, status, position from invoice where tenant_id = $1 and invoice_id = $2;

-- name: facts_with_origin
-- Where the events of a stream stand in the log, and who asked for them. A commit is found by its last position.
select e.originator_version, e.position, c.recorded_at, c.origin
  from log.domain_event e
 cross join lateral (
   select recorded_at, origin from log.commit
    where tenant_id = e.tenant_id and last_position >= e.position
    order by last_position
    limit 1) as c
 where e.tenant_id = $1 and e.originator_id = $2 and e.position <= $3
 order by e.originator_version;

-- name: usage_place
-- When the usage event at a position happened, if it is one of this customer and name.
select u.timestamp
  from (select tenant_id, batch, first_position from log.commit
         where tenant_id = $1 and last_position >= $2
         order by last_position limit 1) as c
 cross join lateral (
   select * from log.usage_event
    where tenant_id = c.tenant_id and batch = c.batch and ordinal = ($2 - c.first_position)::integer
   offset 0) as u
 where log.here_batch($1, c.batch) and u.customer_id = $3 and u.event_name = $4;

-- name: usage_of_span
-- One customer's events of one name in a span of time, in its order, past the event at ($6, $7). The commit is asked for
-- row by row, so that the first rows come from the index by customer and nothing else is read.
select u.event_id, u.timestamp, u.metadata, c.recorded_at, c.first_position + u.ordinal as position,
       (select r.position from log.retraction r
         where r.tenant_id = u.tenant_id and r.event_id = u.event_id) as retracted_position
  from log.usage_event u
 cross join lateral (
   select first_position, last_position, recorded_at from log.commit
    where tenant_id = u.tenant_id and batch = u.batch
   offset 0) as c
 where u.tenant_id = (select $1::text) and u.customer_id = $2 and u.event_name = $3
   and u.timestamp >= $4 and u.timestamp < $5 and u.timestamp >= $6 and log.here_between($1, $4, $5)
   and (u.timestamp, c.first_position + u.ordinal) > ($6::timestamptz, $7::bigint)
   and c.first_position + u.ordinal <= c.last_position
 order by u.timestamp, c.first_position + u.ordinal
 limit $8;

-- name: standing_documents
-- The documents of a subscription that stand today, in the order in which they were issued.
select document from invoice
 where tenant_id = $1 and subscription_id = $2 and status <> 'void'
 order by position;
