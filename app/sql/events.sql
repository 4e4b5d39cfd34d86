-- Reading usage events for the API. Only rows that a commit sealed are events: its positions say how many there are.

-- name: event
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.first_position + u.ordinal as position,
       (select v.recorded_at
          from log.retraction r
          join log.commit v on v.tenant_id = r.tenant_id and v.batch = r.batch
         where r.tenant_id = u.tenant_id and r.event_id = u.event_id) as voided_at
  from log.event_key k
  join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
 where k.tenant_id = (select $1::text) and k.event_id = $2 and log.here_batch(k.tenant_id, k.batch)
   and c.first_position + u.ordinal <= c.last_position;

-- name: events
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.first_position + u.ordinal as position,
       (select v.recorded_at
          from log.retraction r
          join log.commit v on v.tenant_id = r.tenant_id and v.batch = r.batch
         where r.tenant_id = u.tenant_id and r.event_id = u.event_id) as voided_at
  from log.commit c
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and ($2::text is null or u.event_name = $2)
   and ($3::timestamptz is null or u.timestamp >= $3)
   and ($4::timestamptz is null or u.timestamp <= $4)
   -- Without a beginning the newest are asked for, which are here; a page then ends where the rows do.
   and ($3::timestamptz is null or log.here_between($1, $3, $4))
 order by c.last_position desc, u.ordinal desc
 limit $5 offset $6;

-- name: events_of_customer
-- By the customer or back through the newest commits, whichever the planner takes for less: some send most of a log.
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.first_position + u.ordinal as position,
       (select v.recorded_at
          from log.retraction r
          join log.commit v on v.tenant_id = r.tenant_id and v.batch = r.batch
         where r.tenant_id = u.tenant_id and r.event_id = u.event_id) as voided_at
  from log.usage_event u
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
 where u.tenant_id = (select $1::text) and u.customer_id = $7 and c.first_position + u.ordinal <= c.last_position
   and ($2::text is null or u.event_name = $2)
   and u.timestamp >= coalesce($3::timestamptz, '-infinity') and u.timestamp <= coalesce($4::timestamptz, 'infinity')
   -- Without a beginning the newest are asked for, which are here; a page then ends where the rows do.
   and ($3::timestamptz is null or log.here_between($1, $3, $4))
 order by c.last_position desc, u.ordinal desc
 limit $5 offset $6;

-- name: rejected
select event_id, customer_id, reason, problems, content, recorded_at
  from kept.rejected_event
 where tenant_id = $1
   and ($2::text is null or event_id = $2)
   and ($3::text is null or reason = $3)
 order by batch desc, ordinal
 limit $4 offset $5;
