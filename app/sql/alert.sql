-- Alerts and what they fired for.

-- name: alerts_of_customers
select alert_id, customer_id, subscription_id, kind, meter_id, credit_entitlement_id, threshold from alert
 where tenant_id = $1 and customer_id = any($2::text[]) and not deleted;

-- name: fired_cycles
select alert_id, subscription_id, cycle_start from alert_firing
 where tenant_id = $1 and alert_id = any($2::text[]) and cycle_start = any($3::timestamptz[]);

-- name: behind
-- The tenants that have alerts: how far their alerts were looked at, and how far usage is counted.
select a.tenant_id, a.position as looked, q.position as counted
  from progress a
  join progress q on q.tenant_id = a.tenant_id and q.projection = 'quantities'
 where a.projection = 'alerts'
 order by a.tenant_id;

-- name: move_looked
-- A locked row is passed over, for a rebuild is copying it: then it is looked at once more. It never moves back.
update progress set position = $2
 where (tenant_id, projection) in (
         select tenant_id, projection from progress
          where tenant_id = $1 and projection = 'alerts' and position < $2
            for update skip locked);

-- name: watched_customers
select distinct customer_id from alert where tenant_id = $1 and not deleted;

-- name: customers_with_changes
-- Those who have alerts and whose estimates what was recorded in ($2, $3] may have changed. Kinds in $4 change none. An
-- event of anything else than a customer's own objects (a product, a meter, the settings) may change everybody's.
with touched as (
  select split_part(originator_id, ':', 1) as stream,
         substr(originator_id, strpos(originator_id, ':') + 1) as object_id
    from log.domain_event
   where tenant_id = $1 and position > $2 and position <= $3 and kind <> all($4::text[])),
changed as (
  select customer_id from alert
   where tenant_id = $1
     and exists (select from touched where stream in ('meter', 'product', 'credit_entitlement', 'tenant'))
  union
  select object_id from touched where stream = 'customer'
  union
  select s.customer_id
    from touched t
    join subscription s on s.tenant_id = $1 and s.subscription_id = t.object_id
   where t.stream = 'subscription'
  union
  select a.customer_id
    from touched t
    join alert a on a.tenant_id = $1 and a.alert_id = t.object_id
   where t.stream = 'alert'
  union
  -- The customer's id stands last, whatever is in it.
  select substr(object_id, strpos(object_id, ':') + 1) from touched where stream = 'credit_account'
  union
  select u.customer_id
    from log.commit c
   -- Batch by batch, as the projection reads: the planner knows nothing of a tenant that is newer than the statistics.
   cross join lateral (
     select customer_id from log.usage_event where tenant_id = c.tenant_id and batch = c.batch
     offset 0) as u
   where c.tenant_id = (select $1::text) and c.kind = 'usage' and c.last_position > $2 and c.last_position <= $3
  union
  select u.customer_id
    from log.retraction r
    join log.event_key k on k.tenant_id = r.tenant_id and k.event_id = r.event_id
    join log.usage_event u on u.tenant_id = k.tenant_id and u.batch = k.batch and u.ordinal = k.ordinal
   where r.tenant_id = (select $1::text) and r.position > $2 and r.position <= $3
-- Keeps the planner from beginning with the whole history of those who have alerts.
offset 0)
select customer_id from changed
 where exists (
   select from alert a where a.tenant_id = $1 and a.customer_id = changed.customer_id and not a.deleted);

-- name: alert
select * from alert where tenant_id = $1 and alert_id = $2 and not deleted;

-- name: alerts
select * from alert
 where tenant_id = $1 and not deleted
   and ($2::text is null or customer_id = $2)
   and ($3::text is null or subscription_id = $3)
 order by created_at desc, alert_id desc
 limit $4 offset $5;

-- name: count_alerts
select count(*) from alert where tenant_id = $1 and customer_id = $2 and not deleted;

-- name: firings
select * from alert_firing
 where tenant_id = $1
   and ($2::text is null or customer_id = $2)
   and ($3::text is null or subscription_id = $3)
   and ($4::text is null or alert_id = $4)
 order by position desc
 limit $5 offset $6;

-- name: firings_after
select * from alert_firing
 where tenant_id = $1 and position > $2 and position <= $3
 order by position
 limit $4;

-- name: firings_of_customer_after
-- A statement of its own: one plan for both would read the rows of all customers to find those of one.
select * from alert_firing
 where tenant_id = $1 and position > $2 and position <= $3 and customer_id = $5
 order by position
 limit $4;
