-- What is due. Reads of the read models; each close decides again under its tenant's lock.

-- name: due
-- A cycle is due when the grace period has passed since the later of its end and the recording of its subscription.
select subscription_id
  from subscription
 where tenant_id = $1 and (advance_at <= $2 or (due_at <= $3 and created_at <= $3))
   and subscription_id > $4
 order by subscription_id
 limit $5;

-- name: tenants
select tenant_id from tenant order by tenant_id;

-- name: invoice
select document, status from invoice where tenant_id = $1 and invoice_id = $2;

-- name: active_subscriptions
select subscription_id from subscription
 where tenant_id = $1 and customer_id = $2 and status = 'active'
 order by subscription_id;
