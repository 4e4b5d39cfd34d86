-- What a backup notes about the database, and what a restored one has to show.

-- name: has_log
select to_regclass('log.head') is not null;

-- name: log_heads
select tenant_id, position, digest, recorded_at from log.head order by tenant_id;

-- name: digest_at
select digest
  from (select last_position, digest from log.commit
         where tenant_id = $1 and last_position >= $2 order by last_position limit 1) as c
 where last_position = $2;

-- name: commit_with
-- xmin is the transaction that wrote the row: the append's own, since no append runs inside of a savepoint.
select first_position, last_position, xmin::text as transaction
  from log.commit where tenant_id = $1 and last_position >= $2 order by last_position limit 1;

-- name: is_empty
select not exists (
  select from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and c.relkind in ('r', 'p', 'v', 'm', 'S'));

-- name: create_role
-- Roles belong to the whole server and are in no dump of a database.
create role taximeter_app nologin;

-- name: join_role
grant taximeter_app to current_user;

-- name: gather_statistics
-- A dump brings none, and the planner's guesses without them are slow ones.
analyze;

-- name: archiver
select current_setting('archive_mode') <> 'off' as wanted, last_failed_wal, last_failed_time, last_archived_time,
       (select count(*) from pg_ls_archive_statusdir() where name like '%.ready') as waiting
  from pg_stat_archiver;
