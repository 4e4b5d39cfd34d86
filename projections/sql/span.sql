-- Usage of many customers and meters at once. $2 says to which question of the caller each row belongs.

-- name: hours_of_spans
-- Whole hours, summed up: of a year of them one row is sent and not thousands.
select n.place, s.events, s.unmeasured, s.total, s.low, s.high, s.last_timestamp, s.last_position, s.last_value
  from unnest($2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
       as n (place, meter_id, customer_id, since, until)
 cross join lateral (
   select sum(q.events)::bigint as events, sum(q.unmeasured)::bigint as unmeasured, sum(q.total) as total,
          min(q.low) as low, max(q.high) as high,
          -- The latest usable value; meters that do not look at it have none, and nothing is sorted then.
          (array_agg(q.last_timestamp order by q.last_timestamp desc, q.last_position desc)
             filter (where q.last_timestamp is not null))[1] as last_timestamp,
          (array_agg(q.last_position order by q.last_timestamp desc, q.last_position desc)
             filter (where q.last_timestamp is not null))[1] as last_position,
          (array_agg(q.last_value order by q.last_timestamp desc, q.last_position desc)
             filter (where q.last_timestamp is not null))[1] as last_value
     from quantity q
    where q.tenant_id = $1 and q.meter_id = n.meter_id and q.customer_id = n.customer_id
      and q.hour >= n.since and q.hour < n.until) as s
 where s.events is not null;

-- name: distinct_of_spans
select distinct n.place, d.digest
  from unnest($2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
       as n (place, meter_id, customer_id, since, until)
  join distinct_value d on d.tenant_id = $1 and d.meter_id = n.meter_id and d.customer_id = n.customer_id
   and d.hour >= n.since and d.hour < n.until;
