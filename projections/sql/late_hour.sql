-- Late hours: what changed after a cycle reaching into it was closed.

-- name: closed_cycles
-- The closed cycles that reach past an instant, customer by customer; for usage as it happens there is none.
select i.customer_id, i.cycle_start, i.cycle_end, i.position
  from unnest($2::text[], $3::timestamptz[]) as k (customer_id, since)
  join invoice i on i.tenant_id = $1 and i.customer_id = k.customer_id and i.cycle_end > k.since;

-- name: note
-- A position's time of recording is its commit's. The later position stays, in whatever order the two are noted.
insert into late_hour (tenant_id, meter_id, customer_id, hour, position, recorded_at)
select $1, n.meter_id, n.customer_id, n.hour, n.position,
       (select c.recorded_at from log.commit c
         where c.tenant_id = $1 and c.last_position >= n.position
         order by c.last_position
         limit 1)
  from unnest($2::text[], $3::text[], $4::timestamptz[], $5::bigint[]) as n (meter_id, customer_id, hour, position)
 order by n.customer_id, n.meter_id, n.hour
on conflict (tenant_id, customer_id, meter_id, hour) do update set
  position = excluded.position, recorded_at = excluded.recorded_at
 where late_hour.position < excluded.position;

-- name: late_hours
select k.customer_id, k.after, l.meter_id, l.hour, l.position, l.recorded_at
  from unnest($3::text[], $4::bigint[]) as k (customer_id, after)
  join late_hour l on l.tenant_id = $1 and l.customer_id = k.customer_id and l.position > k.after and l.position <= $2
 order by l.meter_id, l.hour;
