-- What the pages of meters read beside the API's own lists. Everything is bounded: by positions, by hours, by rows, and
-- by the time that a statement may take.

-- name: bound_reading
select set_config('statement_timeout', $1, true);

-- name: recent_names
-- The event names among the last positions of the log, the most frequent first.
select u.event_name, count(*) as events
  from (select * from log.commit
         where tenant_id = $1 and last_position > (select position from log.head where tenant_id = $1) - $2::bigint
         order by last_position desc
         limit $2) as c
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
 group by u.event_name
 order by events desc, u.event_name
 limit $3;

-- name: recent_events
-- The latest events of a name among the last positions of the log, without those that are retracted.
select u.event_id, u.customer_id, u.timestamp, u.metadata, c.first_position + u.ordinal as position
  from (select * from log.commit
         where tenant_id = $1 and last_position > (select position from log.head where tenant_id = $1) - $2::bigint
         order by last_position desc
         limit $2) as c
 cross join lateral (
   select * from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
   offset 0) as u
 where c.kind = 'usage' and c.first_position + u.ordinal <= c.last_position
   and u.event_name = $3
   and not exists (select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id
                    offset 0)
 order by c.last_position desc, u.ordinal desc
 limit $4;

-- name: meter_windows
-- What meters counted in each window (an hour, day or month, UTC) of a span, all customers together.
select meter_id, date_trunc($3, hour, 'UTC') as since,
       sum(events)::bigint as events, sum(unmeasured)::bigint as unmeasured, sum(total) as total,
       min(low) as low, max(high) as high,
       (array_agg(last_timestamp order by last_timestamp desc nulls last, last_position desc))[1] as last_timestamp,
       (array_agg(last_position order by last_timestamp desc nulls last, last_position desc))[1] as last_position,
       (array_agg(last_value order by last_timestamp desc nulls last, last_position desc))[1] as last_value
  from quantity
 where tenant_id = $1 and meter_id = any($2::text[]) and hour >= $4 and hour < $5
 group by meter_id, since
 order by meter_id, since;

-- name: distinct_windows
-- How many different values there were in each window, and without `since` in the whole span.
select meter_id, since, count(distinct digest) as values
  from (select meter_id, digest, date_trunc($3, hour, 'UTC') as since
          from distinct_value
         where tenant_id = $1 and meter_id = any($2::text[]) and hour >= $4 and hour < $5) as d
 group by grouping sets ((meter_id, since), (meter_id));

-- name: unmeasured_events
select e.position, e.event_id, u.customer_id, u.timestamp, u.metadata
  from (select position, event_id from unmeasured_event
         where tenant_id = $1 and meter_id = $2
         order by position desc
         limit $3 offset $4) as e
  join log.event_key k on k.tenant_id = (select $1::text) and k.event_id = e.event_id
   and log.here_batch(k.tenant_id, k.batch)
  join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
 order by e.position desc;
