-- What a simulation reads of the read models. It writes nothing.

-- name: try_alone
-- Held by the session until it is given back: one simulation at a time on a database, whichever process runs it.
select pg_try_advisory_lock(hashtextextended('taximeter simulation', 0));

-- name: leave
select pg_advisory_unlock(hashtextextended('taximeter simulation', 0));

-- name: bounds
-- For this transaction only: a session of the pool keeps what it is told otherwise.
select set_config('statement_timeout', $1, true), set_config('max_parallel_workers_per_gather', '0', true);

-- name: size
-- How many customers there are to look at, and about how many of their cycles.
select (select count(distinct customer_id) from subscription
         where tenant_id = $1 and ($2::text[] is null or customer_id = any($2))) as customers,
       (select count(*) from invoice
         where tenant_id = $1 and ($2::text[] is null or customer_id = any($2)) and not $5::boolean
           and ($3::timestamptz is null or cycle_end >= $3) and ($4::timestamptz is null or cycle_end < $4)) as invoices;

-- name: customers
select distinct customer_id from subscription
 where tenant_id = $1 and customer_id > $2 and ($3::text[] is null or customer_id = any($3))
 order by customer_id
 limit $4;

-- name: subscriptions_of_customers
select customer_id, subscription_id from subscription
 where tenant_id = $1 and customer_id = any($2::text[])
 order by customer_id, subscription_id;

-- name: accounts_of_customers
select customer_id, credit_entitlement_id from credit_account
 where tenant_id = $1 and customer_id = any($2::text[])
 order by customer_id, credit_entitlement_id;

-- name: documents_of_customers
-- In the order in which they were issued. A later one may correct an earlier cycle.
select document, status from invoice
 where tenant_id = $1 and customer_id = any($2::text[]) and position <= $3
 order by position;
