-- The sealing keys of customers. Beside the log, since they can be destroyed and it cannot.

-- name: create
insert into kept.customer_key (tenant_id, customer_id, secret) values ($1, $2, $3) on conflict do nothing;

-- name: find
select customer_id, secret from kept.customer_key
 where tenant_id = $1 and customer_id = any($2::text[]) and secret is not null;
