-- Commits that somebody or something decided, newest first. Commits of usage are stepped over, however many they are.

-- name: decided_before
-- Each step asks two indexes for the next position below and one for its commit, so a day of usage costs as much as none.
with recursive walk as (
  select 0 as step, $2::bigint as first_position, null::bigint as last_position, null::text as kind,
         null::timestamptz as recorded_at, null::bytea as origin, null::bytea as digest
  union all
  select w.step + 1, c.first_position, c.last_position, c.kind, c.recorded_at, c.origin, c.digest
    from walk w
   cross join lateral (
     select greatest(
              (select max(d.position) from log.domain_event d where d.tenant_id = $1 and d.position < w.first_position),
              (select max(r.position) from log.retraction r where r.tenant_id = $1 and r.position < w.first_position))
              as position) as n
   cross join lateral (
     select first_position, last_position, kind, recorded_at, origin, digest
       from log.commit
      where tenant_id = $1 and last_position >= n.position
      order by last_position
      limit 1) as c
   where w.step < $3
)
select first_position, last_position, kind, recorded_at, origin, digest from walk where step > 0 order by step;

-- name: decided_of_stream
-- The same of one stream: the commits of its latest $4 events before a position.
select distinct on (c.last_position)
       c.first_position, c.last_position, c.kind, c.recorded_at, c.origin, c.digest
  from (select position from log.domain_event
         where tenant_id = $1 and originator_id = $2 and position + 0 < $3
         order by originator_version desc
         limit $4) as d
 cross join lateral (
   select first_position, last_position, kind, recorded_at, origin, digest
     from log.commit
    where tenant_id = $1 and last_position >= d.position
    order by last_position
    limit 1) as c
 order by c.last_position desc;

-- name: facts_of_commits
-- The first $6 domain events of each span; of one stream and of one kind alone, when $4 and $5 name them.
select d.position, d.originator_id, d.originator_version, d.kind, d.state
  from unnest($2::bigint[], $3::bigint[]) as s (first_position, last_position)
 cross join lateral (
   select position, originator_id, originator_version, kind, state
     from log.domain_event
    where tenant_id = $1 and position between s.first_position and s.last_position
      and ($4::text is null or originator_id = $4) and ($5::text is null or kind = $5)
    order by position
    limit $6) as d
 order by d.position;

-- name: retractions_of_commits
-- The first $5 of each span, or that of one event when $4 names it.
select r.position, r.event_id, r.reason
  from unnest($2::bigint[], $3::bigint[]) as s (first_position, last_position)
 cross join lateral (
   select position, event_id, reason
     from log.retraction
    where tenant_id = $1 and position between s.first_position and s.last_position
      and ($4::text is null or event_id = $4)
    order by position
    limit $5) as r
 order by r.position;
