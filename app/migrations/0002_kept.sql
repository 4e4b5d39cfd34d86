-- What is permanent beside the log: keys, hashes of API keys, rejected events. See docs/decisions/0002-log-schema.md.
-- Locks: creates new objects only. Duration: under a second.

-- Found by the SHA-256 of the secret, so the first column cannot be the tenant: the tenant is what is asked for.
create table kept.api_key (
  digest     bytea       not null primary key check (octet_length(digest) = 32),
  tenant_id  text        not null,
  key_id     text        not null,
  scope      text        not null check (scope in ('ingest', 'read', 'write')),
  name       text        not null,
  created_at timestamptz not null,
  revoked_at timestamptz,
  unique (tenant_id, key_id)
);

-- One sealing key per customer. Destroying it makes that customer's personal fields unreadable, everywhere and for ever.
create table kept.customer_key (
  tenant_id    text        not null,
  customer_id  text        not null collate "C",
  secret       bytea,
  destroyed_at timestamptz,
  primary key (tenant_id, customer_id)
);

-- Events that were refused or that collide with another of the same id. Never counted, kept to be looked at.
create table kept.rejected_event (
  tenant_id   text        not null,
  batch       uuid        not null,
  ordinal     integer     not null,
  event_id    text,
  customer_id text,
  reason      text        not null check (reason in ('conflict', 'invalid')),
  problems    text        not null,
  content     text        not null,
  recorded_at timestamptz not null,
  primary key (tenant_id, batch, ordinal)
);
create index rejected_event_by_id on kept.rejected_event (tenant_id, event_id);

grant select, insert, update on kept.api_key, kept.customer_key to taximeter_app;
grant select, insert on kept.rejected_event to taximeter_app;
