-- The ledger of migrations.

-- name: lock_migrations
select pg_advisory_xact_lock(hashtextextended('taximeter migrations', 0));

-- name: create_ledger
create table if not exists public.taximeter_migration (
  name       text        not null primary key,
  digest     bytea       not null,
  applied_at timestamptz not null default clock_timestamp()
);

-- name: has_ledger
select to_regclass('public.taximeter_migration') is not null;

-- name: applied
select name, digest from public.taximeter_migration;

-- name: record
insert into public.taximeter_migration (name, digest) values ($1, $2);
