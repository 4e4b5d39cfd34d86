-- Reading the log. Commit order is position order, so a reader never has to look back.

-- name: head
select position, digest, recorded_at from log.head where tenant_id = $1;

-- name: commits_after
select first_position, last_position, kind, batch, recorded_at, origin, root, digest
  from log.commit
 where tenant_id = $1 and last_position > $2 and last_position <= $3
 order by last_position
 limit $4;

-- name: commits_before
select first_position, last_position, kind, batch, recorded_at, origin, root, digest
  from log.commit
 where tenant_id = $1 and last_position < $2
 order by last_position desc
 limit $3;

-- name: usage_of_batch
select ordinal, event_id, event_name, customer_id, timestamp, metadata
  from log.usage_event
 where tenant_id = $1 and batch = $2 and log.here_batch($1, $2)
 order by ordinal;

-- name: retractions_after
select position, event_id, reason
  from log.retraction
 where tenant_id = $1 and position > $2 and position <= $3
 order by position
 limit $4;

-- name: facts_of_stream
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id = $2 and originator_version > $3 and position <= $4
 order by originator_version;

-- name: fact_of_version
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id = $2 and originator_version = $3;

-- name: facts_of_streams
-- The sum with 0 keeps the planner, before it has statistics, from walking the positions instead of asking by stream.
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id = any($2::text[]) and position + 0 <= $3
 order by originator_id, originator_version;

-- name: facts_after
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and position > $2 and position <= $3
 order by position
 limit $4;

-- name: streams_changed
-- Each stream with events past $2 up to $4 once, by the first of these: the one whose predecessor is not among them. Of the
-- first events those past $3, a page of them.
select d.originator_id, d.position
  from log.domain_event d
 where d.tenant_id = $1 and d.position > greatest($2::bigint, $3::bigint) and d.position <= $4
   and not exists (
     select from log.domain_event e
      where e.tenant_id = d.tenant_id and e.originator_id = d.originator_id
        and e.originator_version = d.originator_version - 1 and e.position + 0 > $2::bigint)
 order by d.position
 limit $5;

-- name: last_version
select coalesce(max(originator_version), 0) from log.domain_event where tenant_id = $1 and originator_id = $2;
