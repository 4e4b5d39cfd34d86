-- Customer tokens: only the SHA-256 of a token is kept. It ends when it expires, is revoked, or its key is revoked.

-- name: mint
insert into kept.customer_token (digest, tenant_id, token_id, customer_id, key_id, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6, $7);

-- name: find_token
select t.digest, t.tenant_id, t.key_id, t.customer_id
  from kept.customer_token t
  join kept.api_key k on k.tenant_id = t.tenant_id and k.key_id = t.key_id
 where t.digest = $1 and t.expires_at > $2 and t.revoked_at is null and k.revoked_at is null;

-- name: revoke_token
update kept.customer_token set revoked_at = $3
 where tenant_id = $1 and token_id = $2 and revoked_at is null and expires_at > $3
returning token_id;

-- name: drop_expired_tokens
delete from kept.customer_token where expires_at <= $1;

-- name: living_credentials
-- Those of the digests that still open something, whether they are of keys, customer tokens or sessions.
select digest from kept.api_key where digest = any($1::bytea[]) and revoked_at is null
union all
select t.digest
  from kept.customer_token t
  join kept.api_key k on k.tenant_id = t.tenant_id and k.key_id = t.key_id
 where t.digest = any($1::bytea[]) and t.expires_at > $2 and t.revoked_at is null and k.revoked_at is null
union all
select s.digest
  from kept.session s
  join kept.api_key k on k.tenant_id = s.tenant_id and k.key_id = s.key_id
 where s.digest = any($1::bytea[]) and s.expires_at > $2 and k.revoked_at is null;
