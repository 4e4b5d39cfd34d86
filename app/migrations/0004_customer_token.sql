-- Customer tokens: what a customer's own page shows to the live channel. See docs/decisions/0018-live-channel.md.
-- Locks: creates new objects only. Duration: under a second. The service may run meanwhile.

-- Found by the SHA-256 of the token, as keys are. A token is worth nothing once the key that minted it is revoked.
create table kept.customer_token (
  digest      bytea       not null primary key check (octet_length(digest) = 32),
  tenant_id   text        not null,
  token_id    text        not null,
  customer_id text        not null collate "C",
  key_id      text        not null,
  created_at  timestamptz not null,
  expires_at  timestamptz not null,
  revoked_at  timestamptz,
  unique (tenant_id, token_id),
  foreign key (tenant_id, key_id) references kept.api_key (tenant_id, key_id)
);
create index customer_token_by_expiry on kept.customer_token (expires_at);

grant select, insert, update, delete on kept.customer_token to taximeter_app;
