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
 where k.tenant_id = $1 and k.event_id = $2 and c.first_position + u.ordinal <= c.last_position;

-- name: events
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.first_position + u.ordinal as position,
       (select v.recorded_at
          from log.retraction r
          join log.commit v on v.tenant_id = r.tenant_id and v.batch = r.batch
         where r.tenant_id = u.tenant_id and r.event_id = u.event_id) as voided_at
  from log.commit c
  join log.usage_event u on u.tenant_id = c.tenant_id and u.batch = c.batch
 where c.tenant_id = $1 and c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and ($2::text is null or u.event_name = $2)
   and ($3::timestamptz is null or u.timestamp >= $3)
   and ($4::timestamptz is null or u.timestamp <= $4)
 order by c.last_position desc, u.ordinal desc
 limit $5 offset $6;

-- name: events_of_customer
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata, c.first_position + u.ordinal as position,
       (select v.recorded_at
          from log.retraction r
          join log.commit v on v.tenant_id = r.tenant_id and v.batch = r.batch
         where r.tenant_id = u.tenant_id and r.event_id = u.event_id) as voided_at
  from log.usage_event u
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
 where u.tenant_id = $1 and u.customer_id = $7 and c.first_position + u.ordinal <= c.last_position
   and ($2::text is null or u.event_name = $2)
   and ($3::timestamptz is null or u.timestamp >= $3)
   and ($4::timestamptz is null or u.timestamp <= $4)
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
