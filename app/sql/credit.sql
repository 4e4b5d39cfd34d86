-- Reading wallets, credit entitlements and who has an account of them.

-- name: wallets
select * from wallet where tenant_id = $1 and customer_id = $2 order by currency;

-- name: credit_entitlement
select * from credit_entitlement where tenant_id = $1 and credit_entitlement_id = $2;

-- name: credit_entitlements
select * from credit_entitlement
 where tenant_id = $1 and deleted = $2
 order by created_at desc, credit_entitlement_id desc
 limit $3 offset $4;

-- name: subscriptions_of_customer
select subscription_id from subscription where tenant_id = $1 and customer_id = $2 order by subscription_id;

-- name: accounts_of_customer
select credit_entitlement_id from credit_account where tenant_id = $1 and customer_id = $2 order by credit_entitlement_id;

-- name: credit_accounts
select * from credit_account
 where tenant_id = $1 and credit_entitlement_id = $2
   and ($3::text is null or customer_id = $3)
 order by created_at desc, customer_id desc
 limit $4 offset $5;

-- name: credit_accounts_after
select credit_entitlement_id, customer_id from credit_account
 where tenant_id = $1 and (credit_entitlement_id, customer_id) > ($2::text, $3::text)
 order by credit_entitlement_id, customer_id
 limit $4;

-- name: wallets_after
select customer_id, currency, balance from wallet
 where tenant_id = $1 and (customer_id, currency) > ($2::text, $3::text)
 order by customer_id, currency
 limit $4;

-- name: tenants
select tenant_id from tenant order by tenant_id;
