-- The sealing keys of customers. Beside the log, since they can be destroyed and it cannot.

-- name: create
-- A row whose secret was destroyed gets a new one, and goes on saying when that was.
insert into kept.customer_key as k (tenant_id, customer_id, secret) values ($1, $2, $3)
    on conflict (tenant_id, customer_id) do update set secret = excluded.secret where k.secret is null;

-- name: find
select customer_id, secret, destroyed_at from kept.customer_key
 where tenant_id = $1 and customer_id = any($2::text[]);

-- name: destroy
update kept.customer_key set secret = null, destroyed_at = $3
 where tenant_id = $1 and customer_id = $2 and secret is not null
returning customer_id;
