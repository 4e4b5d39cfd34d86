-- The schema of the read models. The names in braces are ours, never a caller's.

-- name: schema_digest
select substring(obj_description(oid, 'pg_namespace') from 'shape ([0-9a-f]+)')
  from pg_namespace where nspname = 'read';

-- name: drop_schema
drop schema if exists {schema} cascade;

-- name: create_schema
create schema {schema};
comment on schema {schema} is 'read models of taximeter, rebuilt from the log; shape {digest}';

-- name: grant_schema
grant usage on schema {schema} to taximeter_app;
grant select, insert, update, delete on all tables in schema {schema} to taximeter_app;

-- name: rename_schema
alter schema read_next rename to read;

-- name: heads
select tenant_id, position from log.head order by tenant_id;

-- name: lock_heads
-- The whole table: a row that does not exist yet cannot be locked, and a new tenant makes one. This mode refuses what
-- takes a head (select for update, too, so that a command waits before it has read anything) and lets readers read. A
-- weaker one would let a command read the read models and then wait for us while we wait to drop them.
lock table log.head in exclusive mode;

-- name: keep_looked
-- The locks stay until the swap: whoever looks at alerts passes over a locked row, so that the copy stays true.
update progress as next set position = live.position
  from (select tenant_id, position from read.progress where projection = 'alerts' for update) as live
 where next.tenant_id = live.tenant_id and next.projection = 'alerts';

-- name: count_rows_beside
-- The rows of {a} without an equal one in {b}; equal means every column.
select count(*) from (select * from {a}.{table} except all select * from {b}.{table}) as beside;
