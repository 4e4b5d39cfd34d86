-- Appending to the log. The functions are in migrations/0001_log.sql and 0003_retraction.sql.

-- name: lock_head
select position, digest, recorded_at from log.lock_head($1);

-- name: append_usage
select * from log.append_usage($1, $2, $3, $4, $5, $6);

-- name: append_domain
select * from log.append_domain($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: append_retraction
select * from log.append_retraction($1, $2, $3, $4, $5, $6, $7);

-- name: retractable
-- Those of the ids that the tenant's log holds, and whether each is retracted already. A key alone is no event.
select k.event_id,
       exists (select from log.retraction r where r.tenant_id = k.tenant_id and r.event_id = k.event_id offset 0) as retracted
  from log.event_key k
 cross join lateral (
   select first_position, last_position from log.commit where tenant_id = k.tenant_id and batch = k.batch
   offset 0) as c
  left join lateral (
   select tenant_id, timestamp from log.usage_event
    where tenant_id = k.tenant_id and batch = k.batch and ordinal = k.ordinal
   offset 0) as u on true
 where k.tenant_id = (select $1::text) and k.event_id = any($2::text[])
   and c.first_position + k.ordinal <= c.last_position
   -- What a retired month was settled with does not change any more.
   and log.here_batch(k.tenant_id, k.batch) and log.unsettled_at(u.tenant_id, u.timestamp);

-- name: stored_events
-- The stored originals of ids that a newcomer uses again.
select u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata
  from log.event_key k
  join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
 where k.tenant_id = (select $1::text) and k.event_id = any($2::text[]);

-- name: taken_ids
select event_id from log.event_key where tenant_id = $1 and event_id = any($2::text[]);

-- name: reject
insert into kept.rejected_event (
  tenant_id, batch, ordinal, event_id, customer_id, reason, problems, content, recorded_at)
select $1, $2, r.ordinal, r.event_id, r.customer_id, r.reason, r.problems, r.content, $3
  from unnest($4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
       as r (ordinal, event_id, customer_id, reason, problems, content);

-- name: ensure_partition
select log.ensure_partition($1);
