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

-- name: credit_accounts
-- Those that were opened by position $6.
select * from credit_account
 where tenant_id = $1 and credit_entitlement_id = $2
   and ($3::text is null or customer_id = $3)
   and exists (
     select from log.domain_event e
      where e.tenant_id = credit_account.tenant_id and e.originator_version = 1 and e.position <= $6
        and e.originator_id = 'credit_account:' || credit_account.credit_entitlement_id || ':' || credit_account.customer_id)
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
