-- The schema of the read models. The names in braces are ours, never a caller's.

-- name: live_schemas
select nspname::text as name, substring(obj_description(oid, 'pg_namespace') from 'shape ([0-9a-f]+)') as digest
  from pg_namespace where nspname ~ '^read(_[0-9]+)?$';

-- name: unfinished_schemas
select nspname::text as name from pg_namespace where nspname ~ '^read(_[0-9]+)?_(next|audit)$';

-- name: digest_of_schema
select substring(obj_description(oid, 'pg_namespace') from 'shape ([0-9a-f]+)')
  from pg_namespace where nspname = $1::text;

-- name: drop_schema
drop schema if exists {schema} cascade;

-- name: create_schema
create schema {schema};
comment on schema {schema} is 'read models of taximeter, rebuilt from the log; shape {digest}';

-- name: grant_schema
grant usage on schema {schema} to taximeter_app;
grant select, insert, update, delete on all tables in schema {schema} to taximeter_app;

-- name: rename_schema
alter schema {schema} rename to {name};

-- name: reached
select position from progress where tenant_id = $1 and projection = 'catalog';

-- name: heads
select tenant_id, position from log.head where $1::text[] is null or tenant_id = any($1) order by tenant_id;

-- name: projected
-- How far the quantities of each tenant are in a schema.
select tenant_id, position from {schema}.progress where projection = 'quantities';

-- name: lock_heads
-- The whole table: a row that does not exist yet cannot be locked, and a new tenant makes one. This mode refuses what
-- takes a head (select for update, too, so that a command waits before it has read anything) and lets readers read. A
-- weaker one would let a command read the read models and then wait for us while we wait to drop them.
lock table log.head in exclusive mode;

-- name: keep_looked
-- The locks stay until the swap: whoever looks at alerts passes over a locked row, so that the copy stays true.
update progress as next set position = live.position
  from (select tenant_id, position from {schema}.progress where projection = 'alerts' for update) as live
 where next.tenant_id = live.tenant_id and next.projection = 'alerts';
