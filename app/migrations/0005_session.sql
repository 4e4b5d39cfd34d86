-- Who is signed in to the dashboard, and the secret of its forms. See docs/decisions/0020-dashboard.md.
-- Locks: creates new objects only. Duration: under a second. Run before the service that knows them.

-- Found by the SHA-256 of the cookie's secret. A session is its key's: it ends when the key is revoked.
create table kept.session (
  digest     bytea       not null primary key check (octet_length(digest) = 32),
  tenant_id  text        not null,
  key_id     text        not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  foreign key (tenant_id, key_id) references kept.api_key (tenant_id, key_id)
);
create index session_by_expiry on kept.session (expires_at);

-- One row: what the tokens against forged forms are signed with, the same in every process. 244 random bits.
create table kept.form_secret (
  one    boolean not null primary key default true check (one),
  secret text    not null
);
insert into kept.form_secret (secret) values (gen_random_uuid()::text || gen_random_uuid()::text);

grant select, insert, delete on kept.session to taximeter_app;
grant select on kept.form_secret to taximeter_app;
