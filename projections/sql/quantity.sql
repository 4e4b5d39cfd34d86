-- Quantities: what each meter counted for each customer, hour by hour.

-- name: lock_progress
-- One projector at a time works on a tenant. The row is made by `begin_progress`, outside of the lock.
select position from progress where tenant_id = $1 and projection = 'quantities' for update;

-- name: try_progress
-- The commit need not wait for the disk: what a crash takes away of derived rows it takes with their checkpoint, and they
-- are derived again. Whatever is recorded on top of them is flushed after them, in one log.
select position, set_config('synchronous_commit', 'off', true)
  from progress where tenant_id = $1 and projection = 'quantities' for update skip locked;

-- name: begin_progress
-- An insert that meets a row waits for whoever is changing that row, also to do nothing: so it is tried only without one.
insert into progress (tenant_id, projection, position)
select $1, 'quantities', 0
 where not exists (select from progress where tenant_id = $1 and projection = 'quantities')
on conflict do nothing;

-- name: advance
-- The old position is compared: a projector that was paused for long cannot move the checkpoint twice.
update progress set position = $3 where tenant_id = $1 and projection = 'quantities' and position = $2;

-- name: ring
select pg_notify($1, tenant_id) from unnest($2::text[]) as tenant_id;

-- name: position
select position from progress where tenant_id = $1 and projection = 'quantities';

-- name: lagging
select h.tenant_id, h.position, coalesce(p.position, 0) as projected
  from log.head h
  left join progress p on p.tenant_id = h.tenant_id and p.projection = 'quantities'
 where h.position > coalesce(p.position, 0);

-- name: meters
select meter_id, event_name, aggregation, filter, created_position, archived_positions, unarchived_positions
  from meter
 where tenant_id = $1
 order by meter_id;

-- name: usage_of_commits
-- Without the events that are retracted by $5, the position that everything is counted as of. The sum with 0 keeps the
-- planner, before it has statistics, from walking all retractions by position for each event instead of asking by key.
select c.first_position + u.ordinal as position, u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata
  from log.commit c
  join log.usage_event u on u.tenant_id = c.tenant_id and u.batch = c.batch
 where c.tenant_id = $1 and c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and c.last_position > $2 and c.last_position <= $3
   and u.event_name = any($4::text[])
   and not exists (
     select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $5)
 order by position;

-- name: retracted_events
-- The events that were retracted in a span of positions, as they were recorded.
select r.position as retracted_position, c.first_position + u.ordinal as position, u.event_name, u.customer_id,
       u.timestamp, u.metadata
  from log.retraction r
  join log.event_key k on k.tenant_id = r.tenant_id and k.event_id = r.event_id
  join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
 where r.tenant_id = $1 and r.position > $2 and r.position <= $3
 order by retracted_position;

-- name: standing_usage
-- A customer's events of a span as they stand at $6, a page of them: those past the timestamp $3 and the position $7.
select c.first_position + u.ordinal as position, u.event_id, u.event_name, u.customer_id, u.timestamp, u.metadata
  from log.usage_event u
 cross join lateral (
   select c.first_position, c.last_position
     from log.commit c
    where c.tenant_id = u.tenant_id and c.batch = u.batch
   -- Keeps this inside: for the few events of an hour it must never begin with all commits.
   offset 0) as c
 where u.tenant_id = $1 and u.customer_id = $2 and u.timestamp >= $3 and u.timestamp < $4
   and u.event_name = any($5::text[])
   and c.last_position <= $6 and c.first_position + u.ordinal <= c.last_position
   and (u.timestamp > $3 or c.first_position + u.ordinal > $7)
   and not exists (
     select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $6)
 order by u.timestamp, position
 limit $8;

-- name: drop_hours
delete from quantity q
 using unnest($2::text[], $3::text[], $4::timestamptz[]) as n (meter_id, customer_id, hour)
 where q.tenant_id = $1 and q.meter_id = n.meter_id and q.customer_id = n.customer_id and q.hour = n.hour;

-- name: drop_distinct
delete from distinct_value d
 using unnest($2::text[], $3::text[], $4::timestamptz[]) as n (meter_id, customer_id, hour)
 where d.tenant_id = $1 and d.meter_id = n.meter_id and d.customer_id = n.customer_id and d.hour = n.hour;

-- name: drop_unmeasured
delete from unmeasured_event e
 using unnest($2::text[], $3::bigint[]) as n (meter_id, position)
 where e.tenant_id = $1 and e.meter_id = n.meter_id and e.position = n.position;

-- name: add
-- In key order, as every writer of this table does, so that two of them cannot wait for each other in a circle. Numbers
-- come as text: the driver needs three times as long to pack a numeric as the server needs to read one.
insert into quantity as q (
  tenant_id, meter_id, customer_id, hour, events, unmeasured, total, low, high,
  last_timestamp, last_position, last_value)
select $1, n.*
  from unnest($2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::text[]::numeric[],
              $8::text[]::numeric[], $9::text[]::numeric[], $10::timestamptz[], $11::bigint[], $12::text[]::numeric[])
       as n (meter_id, customer_id, hour, events, unmeasured, total, low, high,
             last_timestamp, last_position, last_value)
 order by n.meter_id, n.customer_id, n.hour
on conflict (tenant_id, meter_id, customer_id, hour) do update set
  events     = q.events + excluded.events,
  unmeasured = q.unmeasured + excluded.unmeasured,
  total      = q.total + excluded.total,
  -- least and greatest pass over nulls: an hour that had no usable value takes the newcomer's.
  low        = least(q.low, excluded.low),
  high       = greatest(q.high, excluded.high),
  -- The later one stays. The comparison is null when either has no usable value: then it is whichever has one.
  last_timestamp = case when coalesce((excluded.last_timestamp, excluded.last_position) > (q.last_timestamp, q.last_position),
                             excluded.last_timestamp is not null) then excluded.last_timestamp else q.last_timestamp end,
  last_position  = case when coalesce((excluded.last_timestamp, excluded.last_position) > (q.last_timestamp, q.last_position),
                             excluded.last_timestamp is not null) then excluded.last_position else q.last_position end,
  last_value     = case when coalesce((excluded.last_timestamp, excluded.last_position) > (q.last_timestamp, q.last_position),
                             excluded.last_timestamp is not null) then excluded.last_value else q.last_value end;

-- name: add_distinct
insert into distinct_value (tenant_id, meter_id, customer_id, hour, digest)
select $1, n.*
  from unnest($2::text[], $3::text[], $4::timestamptz[], $5::bytea[]) as n (meter_id, customer_id, hour, digest)
 order by n.meter_id, n.customer_id, n.hour, n.digest
on conflict do nothing;

-- name: add_unmeasured
insert into unmeasured_event (tenant_id, meter_id, position, event_id)
select $1, n.* from unnest($2::text[], $3::bigint[], $4::text[]) as n (meter_id, position, event_id)
on conflict do nothing;

-- name: unmeasured
select position, event_id from unmeasured_event
 where tenant_id = $1 and meter_id = $2
 order by position desc
 limit $3 offset $4;

-- name: summaries
-- The hours of a span that lie whole inside one window; the others ($5) are read event by event.
select customer_id, hour, events, unmeasured, total, low, high, last_timestamp, last_position, last_value
  from quantity
 where tenant_id = $1 and meter_id = $2 and hour >= $3 and hour < $4 and hour <> all($5::timestamptz[])
 order by hour;

-- name: summaries_of_customer
-- A statement of its own: one plan for both would read the rows of all customers to find those of one.
select customer_id, hour, events, unmeasured, total, low, high, last_timestamp, last_position, last_value
  from quantity
 where tenant_id = $1 and meter_id = $2 and hour >= $3 and hour < $4 and hour <> all($5::timestamptz[])
   and customer_id = $6
 order by hour;

-- name: distinct_hours
select distinct hour, digest
  from distinct_value
 where tenant_id = $1 and meter_id = $2 and hour >= $3 and hour < $4 and hour <> all($5::timestamptz[]);

-- name: distinct_hours_of_customer
select distinct hour, digest
  from distinct_value
 where tenant_id = $1 and meter_id = $2 and hour >= $3 and hour < $4 and hour <> all($5::timestamptz[])
   and customer_id = $6;

-- name: customers_of_hours
select distinct customer_id from quantity where tenant_id = $1 and meter_id = $2 and hour = any($3::timestamptz[]);

-- name: customers_between
select distinct customer_id from quantity where tenant_id = $1 and meter_id = $2 and hour >= $3 and hour < $4;

-- name: usage_between
-- Bounded by the projected position: what is recorded after it is not known yet, nor is what is retracted after it.
select c.first_position + u.ordinal as position, u.timestamp, u.metadata
  from log.usage_event u
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
 where u.tenant_id = $1 and u.customer_id = any($2::text[]) and u.timestamp >= $3 and u.timestamp < $4
   and u.event_name = $5 and c.last_position <= $6 and c.first_position + u.ordinal <= c.last_position
   and not exists (
     select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $6)
 order by position;
