-- Reading the catalogue's read models for the API. Lists are newest first; the id breaks ties, so pages are stable.

-- name: meter
select * from meter where tenant_id = $1 and meter_id = $2;

-- name: meters
select * from meter
 where tenant_id = $1 and archived = $2
 order by created_at desc, meter_id desc
 limit $3 offset $4;

-- name: meters_by_id
select * from meter where tenant_id = $1 and meter_id = any($2::text[]);

-- name: product
select * from product where tenant_id = $1 and product_id = $2;

-- name: products
select * from product
 where tenant_id = $1 and archived = $2
 order by created_at desc, product_id desc
 limit $3 offset $4;

-- name: products_by_id
select * from product where tenant_id = $1 and product_id = any($2::text[]);

-- name: credit_entitlements_by_id
select * from credit_entitlement where tenant_id = $1 and credit_entitlement_id = any($2::text[]);

-- name: customer
select * from customer where tenant_id = $1 and customer_id = $2;

-- name: customers_by_id
select * from customer where tenant_id = $1 and customer_id = any($2::text[]);

-- name: customers
select * from customer
 where tenant_id = $1
   and ($2::timestamptz is null or created_at >= $2)
   and ($3::timestamptz is null or created_at <= $3)
 order by created_at desc, customer_id desc
 limit $4 offset $5;

-- name: subscription
select * from subscription where tenant_id = $1 and subscription_id = $2;

-- name: subscriptions
select * from subscription
 where tenant_id = $1
   and ($2::text is null or customer_id = $2)
   and ($3::text is null or $3 = any(product_ids))
   and ($4::text is null or status = $4)
   and ($5::boolean is null or cancel_at_next_billing_date = $5)
   and ($6::timestamptz is null or created_at >= $6)
   and ($7::timestamptz is null or created_at <= $7)
 order by created_at desc, subscription_id desc
 limit $8 offset $9;

-- name: cycle_began
select exists (
  select from subscription where tenant_id = $1 and $2 = any(product_ids) and cycle_start = $3);

-- name: products_naming
-- Products whose price versions hold the id of an entitlement anywhere; the reader looks where.
select product_id, versions from product where tenant_id = $1 and strpos(versions, $2) > 0 order by product_id;
