-- Retiring a month of usage, and bringing it back. The functions that say no are in migrations/0009_retired.sql.

-- name: settled_until
select max(settled_until) from kept.retired_usage where tenant_id = $1;

-- name: partition
-- The month's partition and the span of its batches, when there is one. Its rows are all of those batches.
select to_regclass('log.usage_event_' || to_char($1::date, 'YYYY_MM'))::text as name,
       log.first_batch($1::date) as since_batch,
       log.first_batch(($1::date + interval '1 month')::date) as until_batch;

-- name: retired_span
-- What the month holds of each tenant. A row that no commit reaches is no event.
select c.tenant_id, min(c.first_position) as first_position, max(c.last_position) as last_position, count(*) as events,
       min(u.timestamp) as low_timestamp, max(u.timestamp) as high_timestamp
  from log.commit c
  join log.usage_event u on u.tenant_id = c.tenant_id and u.batch = c.batch
 where c.kind = 'usage' and c.batch >= $1 and c.batch < $2 and u.batch >= $1 and u.batch < $2
   and c.first_position + u.ordinal <= c.last_position
 group by c.tenant_id
 order by c.tenant_id;

-- name: counted_at
-- How far everything that reads usage by position has come.
select coalesce(min(p.position), 0)
  from progress p where p.tenant_id = $1 and p.projection in ('quantities', 'alerts');

-- name: subscriptions
select subscription_id from subscription where tenant_id = $1 order by subscription_id;

-- name: lock_usage
-- Before any head: an append holds the rows and waits for the head, a command holds the head and may wait for the rows.
-- Who holds a head now and needs rows next would wait for us for ever, so we do not wait for heads at all.
set local lock_timeout = '3s';
lock table log.usage_event in access exclusive mode;

-- name: lock_heads
select tenant_id from log.head where tenant_id = any($1::text[]) order by tenant_id for update nowait;

-- name: retire
insert into kept.retired_usage (
  tenant_id, month, since_batch, until_batch, first_position, last_position, events, low_timestamp, high_timestamp,
  settled_until, archive)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: drop_partition
drop table {table};

-- name: retired_months
select tenant_id, month, since_batch, until_batch, first_position, last_position, events, archive
  from kept.retired_usage where $1::date is null or month = $1 order by tenant_id, month;

-- name: forget_retired
delete from kept.retired_usage where tenant_id = $1 and month = $2;
