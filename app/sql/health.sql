-- Looking whether the service can do its work. Nothing here changes what the log or a read model says.

-- name: limit_probe
-- The server ends the probe by itself, so that a connection is not lost to a lock that somebody holds for long.
select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true);

-- name: probe_head
-- As every append begins. No tenant has the empty name, and its head is rolled back before anybody could see it.
select log.lock_head('');

-- name: probe_keys
-- Takes the locks of an insert and inserts nothing.
insert into log.event_key (tenant_id, event_id, batch, ordinal)
select tenant_id, event_id, batch, ordinal from log.event_key where false;

-- name: probe_rows
insert into log.usage_event (tenant_id, batch, ordinal, event_id, event_name, customer_id, timestamp, metadata)
select tenant_id, batch, ordinal, event_id, event_name, customer_id, timestamp, metadata
  from log.usage_event where false;

-- name: probe_commit
-- A few bytes of the write-ahead log that mean nothing to anybody. With them the commit has to reach the disk.
select pg_logical_emit_message(true, 'taximeter', 'probe');

-- name: at_work
-- Those of the tenants that a projector works on just now: it holds their row. The rows that are free are let go of at
-- once, since this is a transaction of its own.
with free as (
  select tenant_id from progress
   where projection = 'quantities' and tenant_id = any($1::text[]) for key share skip locked)
select p.tenant_id from progress p
 where p.projection = 'quantities' and p.tenant_id = any($1::text[])
   and not exists (select from free f where f.tenant_id = p.tenant_id);
