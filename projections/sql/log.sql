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
 where tenant_id = $1 and batch = $2
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

-- name: facts_after
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and position > $2 and position <= $3
 order by position
 limit $4;

-- name: last_version
select coalesce(max(originator_version), 0) from log.domain_event where tenant_id = $1 and originator_id = $2;
