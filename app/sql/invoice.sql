-- Invoices as they were issued, and their status of today.

-- name: invoice
select document, status from invoice where tenant_id = $1 and invoice_id = $2;

-- name: invoices
select document, status from invoice
 where tenant_id = $1
   and ($2::text is null or customer_id = $2)
   and ($3::text is null or subscription_id = $3)
   and ($4::text is null or status = $4)
 order by issued_at desc, position desc
 limit $5 offset $6;

-- name: paid_by
-- The invoice with this suffix, else the first of the subscription with it; one that is not void before one that is.
select document, status from invoice
 where tenant_id = $1 and (invoice_id = 'inv_' || $2::text or subscription_id = 'sub_' || $2::text)
 order by subscription_id = 'sub_' || $2::text, status = 'void', position
 limit 1;
