-- Exporting the log, and importing it into a database that holds none.

-- name: heads
select h.tenant_id, h.position, h.digest, h.recorded_at,
       (select count(*) from log.commit c where c.tenant_id = h.tenant_id) as commits,
       coalesce((select p.position from progress p
                  where p.tenant_id = h.tenant_id and p.projection = 'quantities'), 0) as counted_position
  from log.head h
 where h.position > 0
 order by h.tenant_id;

-- name: usage_of_positions
-- The rows of the commits that end in a span of positions; without those that lie past the end of their commit.
select c.first_position + u.ordinal as position, u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata
  from log.commit c
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.last_position > $2 and c.last_position <= $3
   and c.first_position + u.ordinal <= c.last_position
   and ($4::timestamptz is null or u.timestamp >= $4) and ($5::timestamptz is null or u.timestamp < $5)
 order by c.last_position, u.ordinal;

-- name: domain_events
select position, originator_id, originator_version, kind, state
  from log.domain_event where tenant_id = $1 order by position;

-- name: retractions
select position, event_id, reason from log.retraction where tenant_id = $1 order by position;

-- name: rejected_events
select batch::text, ordinal, event_id, customer_id, reason, problems, content, recorded_at
  from kept.rejected_event where tenant_id = $1 order by batch, ordinal;

-- name: issued_invoices
select document, status, issued_at, position from invoice
 where tenant_id = $1 and position <= $2
 order by position;

-- name: sealing_keys
select customer_id, secret, destroyed_at from kept.customer_key where tenant_id = $1 order by customer_id;

-- name: api_keys
select digest, key_id, scope, name, created_at, revoked_at from kept.api_key where tenant_id = $1 order by key_id;

-- name: lock_log
-- Waits for whoever appends, and keeps everybody from it until the import is whole or gone.
lock table log.head, kept.api_key, kept.customer_key, kept.rejected_event in exclusive mode;

-- name: holds_something
select exists (select from log.head) or exists (select from log.commit) or exists (select from log.event_key)
    or exists (select from kept.api_key) or exists (select from kept.customer_key)
    or exists (select from kept.rejected_event);

-- name: mark_unfit
-- The read models know nothing of what was imported. Under this mark they are nobody's, and the next start makes them anew.
comment on schema {schema} is 'empty beside an imported log; shape 00';

-- name: set_head
insert into log.head (tenant_id, position, digest, recorded_at) values ($1, $2, $3, $4);

-- name: seal_for_ever
-- What is sealed of a customer whose key did not come can never be opened here: it is as if the key had been destroyed.
insert into kept.customer_key (tenant_id, customer_id, secret, destroyed_at)
select tenant_id, substr(originator_id, length('customer:') + 1), null, now()
  from log.domain_event
 where tenant_id = $1 and originator_id like 'customer:%' and originator_version = 1
on conflict (tenant_id, customer_id) do nothing;

-- name: invoices
select tenant_id, invoice_id from invoice order by tenant_id, position;
