-- Usage counted from the rows of the log itself, as known at a position, without any read model.

-- name: weight_of_usage
-- How much of it there is in each step of time, so that it can be read in pages of a bounded size. Leftovers of appends
-- that failed are in it: a page that is a little smaller than was thought does no harm.
select date_bin($6::interval, u.timestamp, timestamptz '2000-01-01 00:00Z') as since, count(*) as events,
       sum(octet_length(u.metadata))::bigint as bytes
  from log.usage_event u
 where u.tenant_id = (select $1::text) and u.customer_id = any($2::text[]) and u.timestamp >= $3 and u.timestamp < $4
   and u.event_name = any($5::text[]) and log.here_between($1, $3, $4)
 group by 1
 order by 1;

-- name: usage_of_customers
-- Hour by hour, each column as an array in one order, as in `usage_of_commits`: of names outside of $6 it does not matter
-- what the events hold, nor of names outside of $7 when they happened. What is retracted by $8 is left out, unless nothing
-- is ($9 false): asking for each event costs as much as the rest. With $10 all of it is counted as one hour of that name.
select u.event_name,
       coalesce($10::timestamptz, date_bin('1 hour', u.timestamp, timestamptz '2000-01-01 00:00Z')) as hour,
       count(*) as events, max(c.first_position + u.ordinal) as last_position,
       array_agg(c.first_position + u.ordinal) filter (where u.event_name = any($6::text[])) as positions,
       array_agg(u.metadata) filter (where u.event_name = any($6::text[])) as metadata,
       array_agg(u.timestamp) filter (where u.event_name = any($7::text[])) as timestamps
  from log.usage_event u
 cross join lateral (
   select first_position, last_position from log.commit where tenant_id = u.tenant_id and batch = u.batch
   offset 0) as c
 where u.tenant_id = (select $1::text) and u.customer_id = any($2::text[]) and u.timestamp >= $3 and u.timestamp < $4
   and u.event_name = any($5::text[]) and log.here_between($1, $3, $4)
   and c.last_position <= $8 and c.first_position + u.ordinal <= c.last_position
   and (not $9::boolean or not exists (
     select from log.retraction r where r.tenant_id = u.tenant_id and r.event_id = u.event_id and r.position + 0 <= $8))
 -- By the hour first: most rows are then told apart by their times, which compare faster than texts.
 group by 2, 1;

-- name: late_usage
-- A customer's usage in the positions past $3 up to $4 that an invoice stood before: one of a cycle that reaches into the
-- hour. $6 to $8 are the cycles and the positions of their invoices. Retracted or not: its retraction is a change, too.
select u.event_name, date_bin('1 hour', u.timestamp, timestamptz '2000-01-01 00:00Z') as hour,
       count(*) as events, max(c.first_position + u.ordinal) as last_position,
       array_agg(c.first_position + u.ordinal) as positions, array_agg(u.metadata) as metadata,
       array_agg(u.timestamp) as timestamps
  from log.usage_event u
 cross join lateral (
   select first_position, last_position from log.commit where tenant_id = u.tenant_id and batch = u.batch
   offset 0) as c
 where u.tenant_id = (select $1::text) and u.customer_id = $2 and u.event_name = any($5::text[])
   and log.here_from($1, $3, $4) and c.last_position > $3 and c.last_position <= $4 and c.first_position + u.ordinal <= c.last_position
   and u.timestamp >= date_bin('1 hour', (select min(since) from unnest($6::timestamptz[]) as since), timestamptz '2000-01-01 00:00Z')
   and u.timestamp < (select max(until) from unnest($7::timestamptz[]) as until) + interval '1 hour'
   and exists (
     select from unnest($6::timestamptz[], $7::timestamptz[], $8::bigint[]) as i (since, until, position)
      where i.position < c.first_position + u.ordinal
        and i.since < date_bin('1 hour', u.timestamp, timestamptz '2000-01-01 00:00Z') + interval '1 hour'
        and date_bin('1 hour', u.timestamp, timestamptz '2000-01-01 00:00Z') < i.until)
 group by 1, 2;

-- name: retracted_usage
-- A customer's events that were retracted in the positions past $3 up to $4.
select r.position as retracted_position, c.first_position + u.ordinal as position, u.event_name, u.timestamp, u.metadata
  from log.retraction r
  join log.event_key k on k.tenant_id = r.tenant_id and k.event_id = r.event_id and log.here_batch(k.tenant_id, k.batch)
  join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
  join log.commit c on c.tenant_id = u.tenant_id and c.batch = u.batch
 where r.tenant_id = (select $1::text) and u.customer_id = $2 and r.position > $3 and r.position <= $4
   and u.event_name = any($5::text[]);

-- name: recorded_at
-- When each of these positions was recorded, which is when its commit was.
select n.position, (select c.recorded_at from log.commit c
                     where c.tenant_id = $1 and c.last_position >= n.position
                     order by c.last_position
                     limit 1) as recorded_at
  from unnest($2::bigint[]) as n (position);

-- name: invoiced_cycles
select cycle_start, cycle_end, position from invoice
 where tenant_id = $1 and customer_id = $2 and position <= $3;

-- name: customers_of_usage
-- One after another by the index, which knows no distinct values: a look-up for each instead of reading all rows.
with recursive named as (
  (select customer_id from log.usage_event where tenant_id = $1 order by customer_id limit 1)
  union all
  select (select u.customer_id from log.usage_event u
           where u.tenant_id = $1 and u.customer_id > named.customer_id
           order by u.customer_id
           limit 1)
    from named
   where named.customer_id is not null)
select customer_id from named where customer_id is not null;
