-- Usage as it was known at an earlier position. Summaries are those of now; what has changed since is read event by event.

-- name: changed_hours
-- The hours of a closed cycle that changed past a position: every such change is noted as late.
select hour from late_hour
 where tenant_id = $1 and customer_id = $2 and meter_id = $3 and position > $4 and hour > $5 and hour < $6
 order by hour;

-- name: hour_reaching
-- The first hour whose least ($6) or greatest ($7) value is this one, without those ($8) that are read event by event.
select hour from quantity
 where tenant_id = $1 and meter_id = $2 and customer_id = $3 and hour >= $4 and hour < $5
   and (low = $6 or high = $7) and hour <> all($8::timestamptz[])
 order by hour
 limit 1;

-- name: values_of_hours
-- Which of these values ($7) the hours of a span hold, without those ($6) that are read event by event.
select distinct digest from distinct_value
 where tenant_id = $1 and meter_id = $2 and customer_id = $3 and hour >= $4 and hour < $5
   and hour <> all($6::timestamptz[]) and digest = any($7::bytea[]);

-- name: hours_holding
-- Of hours that have changed ($6), those that may have held one of these values ($7) at $5: they do now, or an event of
-- theirs was retracted since. Values that came since are among them, too.
select n.hour
  from unnest($6::timestamptz[]) as n (hour)
 where exists (
         select from distinct_value d
          where d.tenant_id = $1 and d.meter_id = $2 and d.customer_id = $3 and d.hour = n.hour
            and d.digest = any($7::bytea[]))
    or n.hour in (
         select date_bin('1 hour', u.timestamp, timestamptz '2000-01-01 00:00Z')
           from log.retraction r
           join log.event_key k on k.tenant_id = r.tenant_id and k.event_id = r.event_id
           join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
          where r.tenant_id = (select $1::text) and r.position > $5 and u.customer_id = $3 and u.event_name = $4
            and log.here_between($1, ($6::timestamptz[])[1], ($6::timestamptz[])[cardinality($6)] + interval '1 hour'));
