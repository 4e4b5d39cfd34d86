-- What is due. Reads of the read models; each close decides again under its tenant's lock.

-- name: due
-- A cycle is due when the grace period has passed since the later of its end and the recording of its subscription, or
-- since its invoice was voided. Where no cycle is to come, late usage is due after the grace period of its own.
select subscription_id, customer_id, currency
  from (select subscription_id, customer_id, currency from subscription where tenant_id = $1 and advance_at <= $2
        union
        select subscription_id, customer_id, currency from subscription
         where tenant_id = $1 and due_at <= $3 and created_at <= $3
        union
        select s.subscription_id, s.customer_id, s.currency
          from late_hour l
          join subscription s on s.tenant_id = l.tenant_id and s.customer_id = l.customer_id
         where l.tenant_id = $1 and l.recorded_at <= $3 and l.position > s.settled_position and l.hour < s.ended_at
           and s.status in ('cancelled', 'expired') and s.due_at is null) as due
 where subscription_id > $4
 order by subscription_id
 limit $5;

-- name: next_due
-- The first instant past $2 at which a subscription becomes due as above; $3 is the grace period.
select least(
  (select min(advance_at) from subscription where tenant_id = $1 and cycle_start is not null and advance_at > $2),
  (select min(greatest(due_at, created_at)) + $3 from subscription
    where tenant_id = $1 and due_at is not null and greatest(due_at, created_at) > $2 - $3::interval),
  (select min(l.recorded_at) + $3
     from late_hour l
     join subscription s on s.tenant_id = l.tenant_id and s.customer_id = l.customer_id
    where l.tenant_id = $1 and l.recorded_at > $2 - $3::interval and l.position > s.settled_position
      and l.hour < s.ended_at and s.status in ('cancelled', 'expired') and s.due_at is null));

-- name: unstarted
-- What decides when those subscriptions begin that may do so by $2: advance_at is early for them.
select distinct s.anchor, s.payment_interval, c.time_zone
  from subscription s
  join customer c on c.tenant_id = s.tenant_id and c.customer_id = s.customer_id
 where s.tenant_id = $1 and s.status = 'active' and s.cycle_start is null and s.advance_at <= $2;

-- name: active_subscriptions
select subscription_id from subscription
 where tenant_id = $1 and customer_id = $2 and status = 'active'
 order by subscription_id;
