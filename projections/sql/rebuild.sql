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
select tenant_id, position from log.head order by tenant_id for update;

-- name: count_rows_beside
-- The rows of {a} without an equal one in {b}; equal means every column.
select count(*) from (select * from {a}.{table} except all select * from {b}.{table}) as beside;
