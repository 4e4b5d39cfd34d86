-- What an audit asks of the tables beside walking the chain: whether rows and keys agree, and which rows no commit names.
-- $1 is the tenant, or null for all.

-- name: export_snapshot
select pg_export_snapshot();

-- name: take_snapshot
set transaction snapshot '{snapshot}';

-- name: usage_sums
-- How many rows there are, and a sum of a hash of each. The seed is made anew for each audit, so nobody can prepare rows that
-- differ and give the same sum. What is compared in full would have to be sorted or joined.
select tenant_id, count(*) as rows,
       sum(hashtextextended(event_id, uuid_hash_extended(batch, $2) # ordinal::bigint)) as total
  from log.usage_event
 where $1::text is null or tenant_id = $1
 group by tenant_id;

-- name: key_sums
-- Where nothing is retired, which is asked once, no key is looked up among what is: that took three times as long.
select tenant_id, count(*) as rows,
       sum(hashtextextended(event_id, uuid_hash_extended(batch, $2) # ordinal::bigint)) as total
  from log.event_key k
 where ($1::text is null or tenant_id = $1)
   and (not exists (select from kept.retired_usage)
        or not exists (
          select from kept.retired_usage r
           where r.tenant_id = k.tenant_id and k.batch >= r.since_batch and k.batch < r.until_batch))
 group by tenant_id;

-- name: fact_counts
select tenant_id, count(*) as rows from log.domain_event where $1::text is null or tenant_id = $1 group by tenant_id;

-- name: retraction_counts
select tenant_id, count(*) as rows from log.retraction where $1::text is null or tenant_id = $1 group by tenant_id;

-- name: loose_usage
select u.event_id, u.ordinal, count(*) over () as total
  from log.usage_event u
 where u.tenant_id = $1
   and not exists (
     select from log.commit c
      where c.tenant_id = u.tenant_id and c.batch = u.batch and c.kind = 'usage'
        and c.first_position + u.ordinal <= c.last_position)
 order by u.batch, u.ordinal
 limit $2;

-- name: loose_facts
select f.originator_id, f.kind, f.position, count(*) over () as total
  from log.domain_event f
 where f.tenant_id = $1
   and not exists (
     select from log.commit c
      where c.tenant_id = f.tenant_id and c.kind = 'domain' and f.position between c.first_position and c.last_position
        -- The first commit that ends at the position or later is the only one that can hold it.
        and c.last_position = (
          select min(n.last_position) from log.commit n where n.tenant_id = f.tenant_id and n.last_position >= f.position))
 order by f.position
 limit $2;

-- name: odd_retractions
-- Retractions whose place is not the one that their commit gives them, or whose event was not recorded before them.
select r.event_id, r.position, count(*) over () as total
  from log.retraction r
 where r.tenant_id = $1
   and (not exists (
          select from log.commit c
           where c.tenant_id = r.tenant_id and c.batch = r.batch and c.kind = 'retraction'
             and c.first_position + r.ordinal = r.position and r.position <= c.last_position)
        or not exists (
          select from log.event_key k
            join log.commit c on c.tenant_id = k.tenant_id and c.batch = k.batch and c.kind = 'usage'
           where k.tenant_id = r.tenant_id and k.event_id = r.event_id
             and c.first_position + k.ordinal <= c.last_position and c.first_position + k.ordinal < r.position))
 order by r.position
 limit $2;

-- name: rows_without_key
select u.event_id, count(*) over () as total
  from log.usage_event u
 where u.tenant_id = $1
   and not exists (
     select from log.event_key k
      where k.tenant_id = u.tenant_id and k.event_id = u.event_id and k.batch = u.batch and k.ordinal = u.ordinal)
 order by u.batch, u.ordinal
 limit $2;

-- name: keys_without_row
select k.event_id, count(*) over () as total
  from log.event_key k
 where k.tenant_id = $1
   and not exists (
     select from log.usage_event u
      where u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal and u.event_id = k.event_id)
   and not exists (
     select from kept.retired_usage r
      where r.tenant_id = k.tenant_id and k.batch >= r.since_batch and k.batch < r.until_batch)
 order by k.event_id
 limit $2;

-- name: keys_of_batch
-- What the keys say of a batch whose rows do not fit: where each of its ids should be, and what is there.
select k.ordinal, k.event_id, u.event_id as stored
  from log.event_key k
  left join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
 where k.tenant_id = $1 and k.batch = $2 and k.event_id is distinct from u.event_id
 order by k.ordinal
 limit $3;

-- name: open_guards
-- Triggers that keep the log from being changed, where they are off or gone, on each part of log.usage_event too; and the key
-- that keeps ids unique.
select t.relname as name
  from pg_class t
  join pg_namespace n on n.oid = t.relnamespace and n.nspname = 'log'
 where (t.relname in ('head', 'commit', 'event_key', 'domain_event', 'retraction') or t.relname ~ '^usage_event')
   and t.relkind in ('r', 'p')
   and (select count(*) from pg_trigger g
         where g.tgrelid = t.oid and g.tgname in ('immutable', 'untruncatable', 'forward_only') and g.tgenabled = 'O')
       < case t.relname when 'head' then 3 else 2 end
 union
select 'event_key'
 where not exists (
   select from pg_index i where i.indrelid = 'log.event_key'::regclass and i.indisprimary and i.indisvalid)
 order by name;
