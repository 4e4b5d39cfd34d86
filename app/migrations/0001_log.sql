-- The log: the only source of truth. See docs/decisions/0002-log-schema.md.
-- Locks: creates new objects only. Duration: under a second. Run before the first start.
create schema log;
create schema kept;

do $$
begin
  create role taximeter_app nologin;
exception
  -- Roles belong to the whole server, so another database may have made it, or may be making it right now.
  when duplicate_object or unique_violation then null;
end
$$;
grant taximeter_app to current_user;

-- The only mutable row of the log: one per tenant. Its lock gives positions without a gap.
create table log.head (
  tenant_id   text        not null primary key,
  position    bigint      not null,
  digest      bytea       not null check (octet_length(digest) = 32),
  recorded_at timestamptz not null
) with (fillfactor = 50);

create table log.commit (
  tenant_id      text        not null,
  first_position bigint      not null check (first_position > 0),
  last_position  bigint      not null check (last_position >= first_position),
  kind           text        not null,
  batch          uuid        not null,
  recorded_at    timestamptz not null,
  origin         bytea       not null,
  root           bytea       not null check (octet_length(root) = 32),
  digest         bytea       not null check (octet_length(digest) = 32),
  primary key (tenant_id, last_position),
  unique (tenant_id, batch)
);

-- Permanent, while old partitions of log.usage_event may be archived and dropped: an id is unique for ever.
create table log.event_key (
  tenant_id text    not null,
  event_id  text    not null collate "C",
  batch     uuid    not null,
  ordinal   integer not null,
  primary key (tenant_id, event_id)
);

-- Rows as sent. A position is the commit's first_position + ordinal; the row itself is written before it is known.
create table log.usage_event (
  tenant_id   text        not null,
  batch       uuid        not null,
  ordinal     integer     not null check (ordinal >= 0),
  event_id    text        not null collate "C",
  event_name  text        not null collate "C",
  customer_id text        not null collate "C",
  timestamp   timestamptz not null,
  metadata    text        not null,
  primary key (tenant_id, batch, ordinal)
) partition by range (batch);
create index usage_event_by_customer on log.usage_event (tenant_id, customer_id, timestamp);
create table log.usage_event_rest partition of log.usage_event default;

create table log.domain_event (
  tenant_id          text    not null,
  originator_id      text    not null collate "C",
  originator_version bigint  not null,
  position           bigint  not null,
  kind               text    not null collate "C",
  state              bytea   not null,
  primary key (tenant_id, originator_id, originator_version),
  unique (tenant_id, position)
);

create function log.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'the log is immutable: % on %.% is refused', tg_op, tg_table_schema, tg_table_name
    using errcode = 'insufficient_privilege';
end
$$;

create function log.refuse_rewind() returns trigger language plpgsql as $$
begin
  if new.tenant_id = old.tenant_id and new.position > old.position and new.recorded_at >= old.recorded_at then
    return new;
  end if;
  raise exception 'the head of the log only moves forward (tenant %)', old.tenant_id
    using errcode = 'insufficient_privilege';
end
$$;

-- Grants bind the service; these triggers bind the owner of the tables too.
create trigger immutable before update or delete on log.commit for each row execute function log.refuse_change();
create trigger untruncatable before truncate on log.commit for each statement execute function log.refuse_change();
create trigger immutable before update or delete on log.event_key for each row execute function log.refuse_change();
create trigger untruncatable before truncate on log.event_key for each statement execute function log.refuse_change();
create trigger immutable before update or delete on log.domain_event for each row execute function log.refuse_change();
create trigger untruncatable before truncate on log.domain_event
  for each statement execute function log.refuse_change();
create trigger immutable before update or delete on log.usage_event for each row execute function log.refuse_change();
create trigger untruncatable before truncate on log.usage_event for each statement execute function log.refuse_change();
-- A statement trigger is not inherited by partitions, so each one gets its own.
create trigger untruncatable before truncate on log.usage_event_rest
  for each statement execute function log.refuse_change();
create trigger forward_only before update on log.head for each row execute function log.refuse_rewind();
create trigger immutable before delete on log.head for each row execute function log.refuse_change();
create trigger untruncatable before truncate on log.head for each statement execute function log.refuse_change();

create function log.refuse_sealed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from log.commit c
              where (c.tenant_id, c.batch) in (select distinct a.tenant_id, a.batch from added a)) then
    raise exception 'the log is immutable: a sealed batch takes no more rows'
      using errcode = 'insufficient_privilege';
  end if;
  return null;
end
$$;

-- The service needs INSERT for COPY; this keeps it from adding to what is sealed.
create trigger unsealed after insert on log.usage_event
  referencing new table as added for each statement execute function log.refuse_sealed();
create trigger unsealed after insert on log.event_key
  referencing new table as added for each statement execute function log.refuse_sealed();

-- Takes the tenant's head row until the end of the transaction, made at position 0 when missing.
create function log.lock_head(in_tenant text)
returns log.head language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  head log.head;
begin
  select * into head from log.head h where h.tenant_id = in_tenant for update;
  if not found then
    insert into log.head values (in_tenant, 0, decode(repeat('00', 32), 'hex'), 'epoch')
      on conflict (tenant_id) do nothing;
    select * into head from log.head h where h.tenant_id = in_tenant for update;
  end if;
  return head;
end
$$;

-- The bytes a commit's digest covers. The same layout stands in domain/chain.py; a test compares both.
create function log.header(
  kind text, tenant text, first bigint, last bigint, recorded_at timestamptz, root bytea, origin bytea)
returns bytea language sql immutable set search_path = pg_catalog, pg_temp as $$
  select convert_to('taximeter.commit.v1', 'UTF8')
    || int4send(octet_length(kind)) || convert_to(kind, 'UTF8')
    || int4send(octet_length(tenant)) || convert_to(tenant, 'UTF8')
    || int8send(first) || int8send(last)
    || int8send((extract(epoch from recorded_at) * 1000000)::bigint)
    || root
    || int4send(octet_length(origin)) || origin
$$;

-- Extends the tenant's chain by one commit of in_count events and moves its head. Never granted: append_* call it.
create function log.seal(
  in_tenant text, in_kind text, in_batch uuid, in_count integer, in_root bytea, in_now timestamptz, in_origin bytea)
returns log.commit language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  head   log.head;
  sealed log.commit;
begin
  if in_count < 1 then
    raise exception 'a commit holds at least one event';
  end if;
  head := log.lock_head(in_tenant);
  sealed.tenant_id      := in_tenant;
  sealed.first_position := head.position + 1;
  sealed.last_position  := head.position + in_count;
  sealed.kind           := in_kind;
  sealed.batch          := in_batch;
  -- Recording times never decrease, whichever machine's clock is ahead.
  sealed.recorded_at    := greatest(head.recorded_at, in_now);
  sealed.origin         := in_origin;
  sealed.root           := in_root;
  sealed.digest         := sha256(head.digest || log.header(
    in_kind, in_tenant, sealed.first_position, sealed.last_position, sealed.recorded_at, in_root, in_origin));
  insert into log.commit select sealed.*;
  update log.head h
     set position = sealed.last_position, digest = sealed.digest, recorded_at = sealed.recorded_at
   where h.tenant_id = in_tenant;
  return sealed;
end
$$;

-- Seals the rows that this transaction copied under in_batch. The head is locked from here to the commit only.
create function log.append_usage(
  in_tenant text, in_batch uuid, in_count integer, in_root bytea, in_now timestamptz, in_origin bytea)
returns log.commit language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  held record;
begin
  select count(*) as rows, min(u.ordinal) as low, max(u.ordinal) as high into held
    from log.usage_event u where u.tenant_id = in_tenant and u.batch = in_batch;
  -- A hole in the ordinals would be a hole in the positions.
  if held.rows <> in_count or held.low <> 0 or held.high <> in_count - 1 then
    raise exception 'batch % holds % rows (ordinals % to %), not the % to seal',
      in_batch, held.rows, held.low, held.high, in_count;
  end if;
  return log.seal(in_tenant, 'usage', in_batch, in_count, in_root, in_now, in_origin);
end
$$;

-- Appends domain events as one commit, in array order. A version that exists already is a unique violation.
create function log.append_domain(
  in_tenant text, in_batch uuid, in_originators text[], in_versions bigint[], in_kinds text[], in_states bytea[],
  in_root bytea, in_now timestamptz, in_origin bytea)
returns log.commit language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  sealed log.commit;
begin
  sealed := log.seal(in_tenant, 'domain', in_batch, cardinality(in_originators), in_root, in_now, in_origin);
  insert into log.domain_event
    select in_tenant, e.originator, e.version, sealed.first_position + e.ordinal - 1, e.kind, e.state
      from unnest(in_originators, in_versions, in_kinds, in_states)
           with ordinality as e (originator, version, kind, state, ordinal);
  return sealed;
end
$$;

-- Makes the partition of log.usage_event for the month of in_day. Batches begin with their milliseconds, as UUIDv7 do.
create function log.ensure_partition(in_day date)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  start_at date := date_trunc('month', in_day)::date;
  end_at   date := (date_trunc('month', in_day) + interval '1 month')::date;
  part     text := 'usage_event_' || to_char(start_at, 'YYYY_MM');
begin
  if to_regclass('log.' || part) is not null then
    return;
  end if;
  execute format('create table log.%I partition of log.usage_event for values from (%L) to (%L)',
    part, log.first_batch(start_at), log.first_batch(end_at));
  execute format(
    'create trigger untruncatable before truncate on log.%I for each statement execute function log.refuse_change()',
    part);
exception
  -- Two processes made the month at once; one is enough. Or the month began before its partition did, and its
  -- first rows lie in usage_event_rest: they stay there, and so does the rest of that month.
  when duplicate_table or duplicate_object or check_violation then null;
end
$$;

-- The least batch id of a day (UTC): its milliseconds since 1970 in the first 48 bits, zeros after.
create function log.first_batch(in_day date)
returns uuid language sql immutable set search_path = pg_catalog, pg_temp as $$
  select (lpad(to_hex((in_day - date '1970-01-01')::bigint * 86400000), 12, '0') || repeat('0', 20))::uuid
$$;

revoke execute on all functions in schema log from public;
grant usage on schema log, kept to taximeter_app;
grant select on all tables in schema log to taximeter_app;
-- COPY needs INSERT on these two; commits, heads and domain events are reachable through the functions alone.
grant insert on log.usage_event, log.event_key to taximeter_app;
grant execute on function log.lock_head, log.append_usage, log.append_domain, log.ensure_partition to taximeter_app;
