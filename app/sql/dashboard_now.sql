-- What the overview and the page of the system show. Each is bounded, however long the log is.

-- name: recorded_by
-- For each of the instants $2, how many usage events and how many positions had been recorded by it. Recording times never
-- decrease, so the commit is found by bisecting the positions: some 40 steps for each instant.
with recursive search (instant, low, high) as (
  select i.instant, 0::bigint, h.position
    from unnest($2::timestamptz[]) as i (instant)
    join log.head h on h.tenant_id = $1
  union all
  select s.instant,
         case when c.recorded_at <= s.instant then c.last_position else s.low end,
         case when c.recorded_at <= s.instant then s.high else c.first_position - 1 end
    from search s
   cross join lateral (
     select first_position, last_position, recorded_at
       from log.commit
      where tenant_id = $1 and last_position > (s.low + s.high) / 2
      order by last_position
      limit 1) as c
   where s.low < s.high
)
select instant, max(low)::bigint as position from search group by instant order by instant;

-- name: not_usage
-- How many of the positions past $2 up to $3 are no usage events, for each pair.
select s.low,
       (select count(*) from log.domain_event d
         where d.tenant_id = $1 and d.position > s.low and d.position <= s.high)
       + (select count(*) from log.retraction r
           where r.tenant_id = $1 and r.position > s.low and r.position <= s.high) as positions
  from unnest($2::bigint[], $3::bigint[]) as s (low, high);

-- name: standing
-- Which of the first steps are done, and how many there are of what is counted: up to $2 of each.
select (select count(*) > 0
          from (select from log.commit where tenant_id = $1 and kind = 'usage' order by last_position limit 1) as c)
         as has_usage,
       exists (select from meter where tenant_id = $1) as has_meter,
       exists (select from product where tenant_id = $1) as has_product,
       (select count(*) from (select from customer where tenant_id = $1 limit $2) as c) as customers,
       (select count(*) from (select from subscription where tenant_id = $1 and status = 'active' limit $2) as s)
         as subscriptions,
       exists (select from subscription where tenant_id = $1) as has_subscription;

-- name: newest_active
-- Subscriptions that have an open cycle, newest first.
select subscription_id from subscription
 where tenant_id = $1 and status = 'active' and cycle_start is not null
 order by created_at desc, subscription_id desc
 limit $2;

-- name: database_state
select pg_database_size(current_database()) as bytes,
       current_setting('server_version') as version,
       (select count(*) from pg_stat_activity where datname = current_database()) as connections,
       (select count(*) from pg_stat_activity
         where datname = current_database() and application_name = 'taximeter projector') as projectors,
       pg_postmaster_start_time() as started_at;
