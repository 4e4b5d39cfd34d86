-- API keys: only the SHA-256 of a secret is kept. A secret has 256 random bits, so no slow hash is needed.

-- name: find
select digest, tenant_id, key_id, scope from kept.api_key where digest = any($1::bytea[]) and revoked_at is null;

-- name: create
insert into kept.api_key (digest, tenant_id, key_id, scope, name, created_at) values ($1, $2, $3, $4, $5, $6);

-- name: revoke
update kept.api_key set revoked_at = $3 where tenant_id = $1 and key_id = $2 and revoked_at is null;

-- name: list
select key_id, scope, name, created_at, revoked_at from kept.api_key
 where tenant_id = $1
 order by created_at desc, key_id
 limit $2 offset $3;

-- name: has_keys
select exists (select from kept.api_key where tenant_id = $1);

-- name: names
select key_id, name from kept.api_key where tenant_id = $1 and key_id = any($2::text[]);
