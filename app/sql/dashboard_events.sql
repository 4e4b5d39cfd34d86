-- What the dashboard shows of usage events: read by position, in spans that bound the work, or in the order of time.

-- name: usage_window
-- The events of the positions between $2 and $3, latest first. A commit is found by its last position, which lies at most
-- a commit's length ($6) past its first.
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.recorded_at,
       c.first_position + u.ordinal as position,
       exists (select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id) as voided
  from log.commit c
  join log.usage_event u on u.tenant_id = c.tenant_id and u.batch = c.batch
 where c.tenant_id = $1 and c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and c.last_position > $2 and c.last_position < $3::bigint + $6::bigint
   and c.first_position + u.ordinal > $2 and c.first_position + u.ordinal < $3
   and ($4::text is null or u.event_name = $4)
   and ($5::text is null or u.customer_id = $5)
 order by position desc
 limit $7;

-- name: usage_at
-- The usage event at a position, the commit that it came with, and its retraction.
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, $2::bigint as position,
       c.first_position, c.last_position, c.recorded_at, c.root, c.digest,
       r.position as voided_position, r.reason as voided_reason, v.recorded_at as voided_at
  from (select * from log.commit
         where tenant_id = $1 and last_position >= $2 order by last_position limit 1) as c
  join log.usage_event u
    on u.tenant_id = c.tenant_id and u.batch = c.batch and u.ordinal = ($2 - c.first_position)::integer
  left join log.retraction r on r.tenant_id = u.tenant_id and r.event_id = u.event_id
  left join log.commit v on v.tenant_id = r.tenant_id and v.batch = r.batch
 where c.kind = 'usage';

-- name: usage_of_span
-- One customer's events of one name in a span of time, in its order, past the event at ($6, $7).
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.first_position + u.ordinal as position,
       r.position as voided_position
  from log.usage_event u
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
  left join log.retraction r on r.tenant_id = u.tenant_id and r.event_id = u.event_id
 where u.tenant_id = $1 and u.customer_id = $2 and u.event_name = $3
   and u.timestamp >= $4 and u.timestamp < $5 and u.timestamp >= $6
   and (u.timestamp, c.first_position + u.ordinal) > ($6::timestamptz, $7::bigint)
   and c.first_position + u.ordinal <= c.last_position
 order by u.timestamp, c.first_position + u.ordinal
 limit $8;

-- name: replacing_invoice
-- The invoice that was issued again for a voided one.
select invoice_id, number from invoice
 where tenant_id = $1 and subscription_id = $2 and document::json ->> 'replaces' = $3
 order by position
 limit 1;
