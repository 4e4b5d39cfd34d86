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

-- name: has_retractions
select exists (select from log.retraction where tenant_id = $1 and position <= $2);

-- name: metadata_bytes
-- What the events of each usage commit hold. How long a text is that lies aside is known without reading it.
-- Of a tenant that is newer than the statistics the planner thinks that it has one row: it would take any index that begins
-- with the tenant, read all that it ever sent, and that for each commit again. So the rows are asked for batch by batch, and
-- `(select $1)` does not show whose they are. Everything here that reads the log does so: docs/decisions/0039-plans.md.
select c.last_position, sum(octet_length(u.metadata))::bigint as bytes
  from log.commit c
 cross join lateral (
   select metadata from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.last_position > $2 and c.last_position <= $3
 group by c.last_position;

-- name: usage_of_commits
-- Hour by hour, each column as an array in one order: rows are dear to send and to read. Of names outside of $5 it does not
-- matter what the events hold, nor of names outside of $6 when they happened. Without the events that are retracted by $7,
-- the position that everything is counted as of, or null when nothing is: asking for each event costs as much as the rest.
-- The sum with 0 keeps the planner, before it has statistics, from walking all retractions by position for each event
-- instead of asking by key.
select u.event_name, u.customer_id, date_bin('1 hour', u.timestamp, timestamptz '2000-01-01 00:00Z') as hour,
       count(*) as events, max(c.first_position + u.ordinal) as last_position,
       coalesce(array_agg(c.first_position + u.ordinal) filter (where u.event_name = any($5::text[])), '{}') as positions,
       coalesce(array_agg(u.metadata) filter (where u.event_name = any($5::text[])), '{}') as metadata,
       coalesce(array_agg(u.timestamp) filter (where u.event_name = any($6::text[])), '{}') as timestamps
  from log.commit c
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and c.last_position > $2 and c.last_position <= $3
   and u.event_name = any($4::text[]) and log.here_from($1, $2, $3)
   and ($7::bigint is null or not exists (
     select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $7))
 group by 1, 2, 3;

-- name: retracted_events
-- The events that were retracted in a span of positions, as they were recorded.
select r.position as retracted_position, c.first_position + u.ordinal as position, u.event_name, u.customer_id,
       u.timestamp, u.metadata
  from log.retraction r
  join log.event_key k on k.tenant_id = r.tenant_id and k.event_id = r.event_id
  join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
 where r.tenant_id = (select $1::text) and r.position > $2 and r.position <= $3
 order by retracted_position;

-- name: standing_usage
-- A customer's events of a span as they stand at $6, a page of them: those past the timestamp $3 and the position $7.
select c.first_position + u.ordinal as position, u.event_name, u.timestamp, u.metadata
  from log.usage_event u
 cross join lateral (
   select c.first_position, c.last_position
     from log.commit c
    where c.tenant_id = u.tenant_id and c.batch = u.batch
   -- Keeps this inside: for the few events of an hour it must never begin with all commits.
   offset 0) as c
 where u.tenant_id = (select $1::text) and u.customer_id = $2 and u.timestamp >= $3 and u.timestamp < $4
   and u.event_name = any($5::text[]) and log.here_between($1, $3, $4)
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
-- come as the text of an array, and hours as their count since 1970: the driver takes longer to pack each number and each
-- instant than the server to make it of its text.
insert into quantity as q (
  tenant_id, meter_id, customer_id, hour, events, unmeasured, total, low, high,
  last_timestamp, last_position, last_value)
select $1, n.meter_id, n.customer_id, timestamptz '1970-01-01 00:00Z' + make_interval(hours => n.hour), n.events,
       n.unmeasured, n.total, n.low, n.high, n.last_timestamp, n.last_position, n.last_value
  from unnest($2::text[], $3::text[], $4::text::int[], $5::text::bigint[], $6::text::bigint[], $7::text::numeric[],
              $8::text::numeric[], $9::text::numeric[], $10::timestamptz[], $11::text::bigint[], $12::text::numeric[])
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
select $1, n.meter_id, n.position, u.event_id
  from unnest($2::text[], $3::bigint[]) as n (meter_id, position)
 cross join lateral (
   select c.batch, c.first_position
     from log.commit c
    where c.tenant_id = $1 and c.last_position >= n.position
    order by c.last_position
    limit 1) as c
 cross join lateral (
   select event_id from log.usage_event
    where tenant_id = (select $1::text) and batch = c.batch and ordinal = n.position - c.first_position
   offset 0) as u
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

-- name: distinct_hours
select distinct hour, digest
  from distinct_value
 where tenant_id = $1 and meter_id = $2 and hour >= $3 and hour < $4 and hour <> all($5::timestamptz[]);

-- name: customers_of_hours
select distinct customer_id from quantity where tenant_id = $1 and meter_id = $2 and hour = any($3::timestamptz[]);

-- name: customers_between
select distinct customer_id from quantity where tenant_id = $1 and meter_id = $2 and hour >= $3 and hour < $4;

-- name: usage_between
-- Bounded by the projected position: what is recorded after it is not known yet, nor is what is retracted after it.
select c.first_position + u.ordinal as position, u.timestamp, u.metadata
  from log.usage_event u
 cross join lateral (
   select first_position, last_position from log.commit where tenant_id = u.tenant_id and batch = u.batch
   offset 0) as c
 where u.tenant_id = (select $1::text) and u.customer_id = any($2::text[]) and u.timestamp >= $3 and u.timestamp < $4
   and u.event_name = $5 and log.here_between($1, $3, $4) and c.last_position <= $6 and c.first_position + u.ordinal <= c.last_position
   and not exists (
     select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $6
     offset 0)
 order by position;
