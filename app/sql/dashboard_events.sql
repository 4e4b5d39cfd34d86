-- What the dashboard shows of usage events: read by position, in spans that bound the work, or in the order of time.

-- name: usage_window
-- The events of the positions between $2 and $3, latest first. The last of their commits ends at $3 or past it.
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.recorded_at,
       c.first_position + u.ordinal as position,
       exists (select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id offset 0) as voided
  from log.commit c
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and c.last_position > $2 and c.last_position <= coalesce((
         select n.last_position from log.commit n
          where n.tenant_id = $1 and n.last_position >= $3::bigint - 1
          order by n.last_position
          limit 1), $3)
   and c.first_position + u.ordinal > $2 and c.first_position + u.ordinal < $3
   and ($4::text is null or u.event_name = $4)
   and ($5::text is null or u.customer_id = $5) and log.here_from($1, $2, $3::bigint - 1)
 order by position desc
 limit $6;

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
 where c.kind = 'usage' and log.here_batch(c.tenant_id, c.batch);

-- name: replacing_invoice
-- The invoice that was issued again for a voided one.
select invoice_id, number from invoice
 where tenant_id = $1 and subscription_id = $2 and document::json ->> 'replaces' = $3
 order by position
 limit 1;
