-- Sessions of the dashboard: only the SHA-256 of a cookie's secret is kept. A session is worth what its key is worth.

-- name: find_session
select s.digest, k.tenant_id, k.key_id, k.scope
  from kept.session s
  join kept.api_key k on k.tenant_id = s.tenant_id and k.key_id = s.key_id
 where s.digest = $1 and s.expires_at > $2 and k.revoked_at is null;

-- name: living_sessions
select s.digest
  from kept.session s
  join kept.api_key k on k.tenant_id = s.tenant_id and k.key_id = s.key_id
 where s.digest = any($1::bytea[]) and s.expires_at > $2 and k.revoked_at is null;

-- name: begin_session
insert into kept.session (digest, tenant_id, key_id, created_at, expires_at) values ($1, $2, $3, $4, $5);

-- name: end_session
delete from kept.session where digest = $1;

-- name: drop_expired_sessions
delete from kept.session where expires_at <= $1;

-- name: form_secret
select secret from kept.form_secret;
