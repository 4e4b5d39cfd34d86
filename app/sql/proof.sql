-- What a proof pack is made of. See docs/decisions/0033-proof-packs.md.

-- name: proven_facts
-- The facts of some streams up to a position. The sum with 0 keeps the planner from walking the positions.
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id = any($2::text[]) and position + 0 <= $3
 order by position;

-- name: settings_facts
-- Of the tenant's stream the settings alone: its keys and test clock are nobody else's business.
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id = $2 and kind = 'tenant.settings_changed' and position <= $3
 order by position;

-- name: number_facts
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id = $2 and position >= $3 and position <= $4
 order by position;

-- name: ends_of_commits
-- The last position of the commit that holds each of these positions.
select distinct (select c.last_position from log.commit c
                  where c.tenant_id = $1 and c.last_position >= n.position
                  order by c.last_position
                  limit 1) as last_position
  from unnest($2::bigint[]) as n (position);

-- name: ends_of_usage
-- The last positions of the commits that hold a customer's events of a span, as they stand at $6.
select coalesce(array_agg(c.last_position), '{}') as last_positions
  from (select distinct u.batch
          from log.usage_event u
         where u.tenant_id = (select $1::text) and u.customer_id = $2 and u.event_name = $3
           and u.timestamp >= $4 and u.timestamp < $5 and log.here_between($1, $4, $5)
           and not exists (
             select from log.retraction r
              where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $6
             offset 0)) as b
 cross join lateral (
   select last_position from log.commit where tenant_id = (select $1::text) and batch = b.batch
   offset 0) as c
 where c.last_position <= $6;

-- name: rows_here
-- Whether the rows of some spans of time are here; it fails as all readers of such rows do when some lie in an archive.
select bool_and(log.here_between($1, s.since, s.until))
  from unnest($2::timestamptz[], $3::timestamptz[]) as s (since, until);

-- name: commits_up_to
select count(*) from log.commit where tenant_id = $1 and last_position <= $2;

-- name: digests_after
select first_position, last_position, digest
  from log.commit
 where tenant_id = $1 and last_position > $2 and last_position <= $3
 order by last_position
 limit $4;

-- name: proven_commits
select c.*
  from unnest($2::bigint[]) as n (position)
 cross join lateral (
   select first_position, last_position, kind, batch, recorded_at, origin, root, digest
     from log.commit
    where tenant_id = $1 and last_position >= n.position
    order by last_position
    limit 1) as c
 where c.last_position = n.position
 order by c.last_position;

-- name: facts_of_commits
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and position >= $2 and position <= $3
 order by position;

-- name: leaves_of_batches
-- Every event of some commits, with whether it is the customer's, in one of the spans, and stands at $7. Rows past the end
-- of their commit are leftovers of an append that failed. A place is a number, since a batch is dear to send with each row.
select n.place, u.ordinal, u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata,
       u.customer_id = $3
       and exists (select from unnest($4::text[], $5::timestamptz[], $6::timestamptz[]) as s (event_name, since, until)
                    where u.event_name = s.event_name and u.timestamp >= s.since and u.timestamp < s.until)
       and not exists (select from log.retraction r
                        where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $7) as shown
  from unnest($2::uuid[]) with ordinality as n (batch, place)
 cross join lateral (
   select tenant_id, batch, first_position, last_position from log.commit
    where tenant_id = (select $1::text) and batch = n.batch
   offset 0) as c
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where log.here_batch($1, n.batch) and c.first_position + u.ordinal <= c.last_position
 order by n.place, u.ordinal;
