-- What the read models say of who has what: names, which never change once they are there.

-- name: subscriptions_of_customer
select subscription_id from subscription where tenant_id = $1 and customer_id = $2 order by subscription_id;

-- name: accounts_of_customer
select credit_entitlement_id from credit_account where tenant_id = $1 and customer_id = $2 order by credit_entitlement_id;

-- name: of_subscription
-- The documents of a subscription, in the order in which they were issued.
select invoice_id, document, status from invoice
 where tenant_id = $1 and subscription_id = $2 and position <= $3
 order by position;
