-- The pages of customers, subscriptions and alerts. Each reads what one page shows, by an index.

-- name: customers_before
-- Newest first, past the customer with this instant and id; without one from the newest on.
select * from customer
 where tenant_id = $1 and (created_at, customer_id) < (coalesce($2::timestamptz, 'infinity'), $3::text)
 order by created_at desc, customer_id desc
 limit $4;

-- name: customers_between
-- Those whose ids lie in a span of the alphabet, which an id's beginning is.
select * from customer where tenant_id = $1 and customer_id >= $2 and customer_id < $3 order by customer_id limit $4;

-- name: newest_subscriptions
-- Of each of the customers the newest subscriptions that have not ended.
select c.customer_id, s.subscription_id, s.status, s.currency, s.cycle_start
  from unnest($2::text[]) as c (customer_id)
 cross join lateral (
   select * from subscription
    where tenant_id = $1 and customer_id = c.customer_id and status in ('active', 'paused')
    order by created_at desc, subscription_id desc
    limit $3) as s;

-- name: product_choice
select product_id, name, versions from product
 where tenant_id = $1 and not archived
 order by name, product_id
 limit $2;

-- name: meter_choice
select meter_id, name, measurement_unit from meter
 where tenant_id = $1 and not archived
 order by name, meter_id
 limit $2;

-- name: entitlement_choice
select credit_entitlement_id, terms from credit_entitlement
 where tenant_id = $1 and not deleted
 order by created_at desc, credit_entitlement_id desc
 limit $2;

-- name: currencies
select subscription_id, currency from subscription where tenant_id = $1 and subscription_id = any($2::text[]);

-- name: customer_currencies
select customer_id, min(currency) as currency from subscription
where tenant_id = $1 and customer_id = any($2::text[])
group by customer_id having min(currency) = max(currency);
