-- The ledger of migrations.

-- name: lock_migrations
select pg_advisory_xact_lock(hashtextextended('taximeter migrations', 0));

-- name: create_ledger
create table if not exists public.taximeter_migration (
  name       text        not null primary key,
  digest     bytea       not null,
  applied_at timestamptz not null default clock_timestamp()
);

-- name: grant_ledger
-- The service looks whether the database still fits it. The role is made by the first migration.
grant select on public.taximeter_migration to taximeter_app;

-- name: has_ledger
select to_regclass('public.taximeter_migration') is not null;

-- name: says_older
select exists (
  select from pg_attribute
   where attrelid = 'public.taximeter_migration'::regclass and attname = 'older_may_run' and not attisdropped);

-- name: add_older
-- Only when it is missing: even a change that is none waits for whoever reads the table, such as a dump.
alter table public.taximeter_migration add column older_may_run boolean not null default false;

-- name: applied
-- Read through JSON, since a database that no recent program has migrated lacks the column.
select name, digest, coalesce((to_jsonb(m) ->> 'older_may_run')::boolean, false) as older_may_run
  from public.taximeter_migration m;

-- name: record
insert into public.taximeter_migration (name, digest, older_may_run) values ($1, $2, $3);

-- name: try_rebuild
-- Held by the session: whoever dies gives it up.
select pg_try_advisory_lock(hashtextextended('taximeter rebuild', 0));

-- name: log_size
select coalesce(sum(position), 0)::bigint from log.head;


-- name: last_recording
select max(h.recorded_at) from log.head h
 where not exists (select from tenant t where t.tenant_id = h.tenant_id and t.test_clock is not null);
