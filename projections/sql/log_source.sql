-- The log as an audit reads it: every row that a commit names, as what its canonical bytes are made from. COPY sends each
-- answer in binary: numbers of fixed width first, then the texts in one piece, so that whoever reads cuts once.

-- name: tenants
-- Also those whose head or whose commits are gone: what is left of a log has to be seen.
select tenant_id from log.head
 union
select distinct tenant_id from log.commit
 order by tenant_id;

-- name: usage
-- Asked batch by batch, in the order of the commits: a join would sort all rows once more. A row past the end of its commit
-- has no position.
select c.first_position + u.ordinal as position, octet_length(u.event_id), octet_length(u.event_name),
       octet_length(u.customer_id), octet_length(u.metadata), u.timestamp,
       u.event_id || u.event_name || u.customer_id || u.metadata
  from log.commit c
 cross join lateral (
   select *
     from log.usage_event e
    where e.tenant_id = c.tenant_id and e.batch = c.batch and e.ordinal <= c.last_position - c.first_position
    order by e.ordinal) as u
 where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.last_position > $2 and c.last_position <= $3
 order by c.last_position;

-- name: facts
select position, octet_length(originator_id), originator_version, octet_length(kind), octet_length(state),
       textsend(originator_id) || textsend(kind) || state
  from log.domain_event
 where tenant_id = $1 and position > $2 and position <= $3
 order by position;

-- name: retractions
select position, octet_length(event_id), octet_length(reason), event_id || reason
  from log.retraction
 where tenant_id = $1 and position > $2 and position <= $3
 order by position;
