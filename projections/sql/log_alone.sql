-- Who has what, from the streams themselves. A stream's name begins with its kind, so those of a kind lie together in the
-- index; $2 and $3 are where they begin and end.

-- name: streams_of_customer
-- The streams whose first event names the customer.
select originator_id
  from log.domain_event
 where tenant_id = $1 and originator_id >= $2 and originator_id < $3 and originator_version = 1 and position <= $4
   and convert_from(state, 'UTF8')::json ->> 'customer_id' = $5
 order by originator_id;

-- name: invoices_of_customer
-- The event that issued a document, whose JSON is a text in the event's JSON.
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id >= $2 and originator_id < $3 and originator_version = 1 and position <= $4
   and (convert_from(state, 'UTF8')::json ->> 'document')::json ->> 'customer_id' = $5
 order by position;

-- name: facts_of_kind
select originator_id, originator_version, position, kind, state
  from log.domain_event
 where tenant_id = $1 and originator_id >= $2 and originator_id < $3 and position <= $4
 order by originator_id, originator_version;
