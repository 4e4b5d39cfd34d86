-- The read models. Derived: created in the schema of the search path, never migrated, rebuilt from the log.
-- Each key starts with the tenant, so that every table can be distributed by it.

create table progress (
  tenant_id  text   not null,
  projection text   not null,
  position   bigint not null,
  primary key (tenant_id, projection)
);

create table tenant (
  tenant_id text not null primary key,
  settings  text not null
);

-- What the log says of archiving is kept as positions: a usage event counts by where it stands, not by when it is folded.
create table meter (
  tenant_id            text        not null,
  meter_id             text        not null collate "C",
  name                 text        not null,
  event_name           text        not null collate "C",
  aggregation          text        not null,
  filter               text        not null,
  measurement_unit     text        not null,
  description          text,
  created_at           timestamptz not null,
  updated_at           timestamptz not null,
  archived             boolean     not null,
  created_position     bigint      not null,
  archived_positions   bigint[]    not null,
  unarchived_positions bigint[]    not null,
  primary key (tenant_id, meter_id)
);

create table product (
  tenant_id    text        not null,
  product_id   text        not null collate "C",
  name         text        not null,
  tax_category text        not null,
  description  text,
  metadata     text        not null,
  versions     text        not null,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  archived     boolean     not null,
  primary key (tenant_id, product_id)
);

create table customer (
  tenant_id        text        not null,
  customer_id      text        not null collate "C",
  personal         text        not null,
  time_zone        text        not null,
  preferred_locale text,
  metadata         text        not null,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  primary key (tenant_id, customer_id)
);

-- due_at is the end of the earliest cycle that is not closed, advance_at the instant at which the next one opens.
create table subscription (
  tenant_id                   text        not null,
  subscription_id             text        not null collate "C",
  customer_id                 text        not null collate "C",
  items                       text        not null,
  product_ids                 text[]      not null,
  currency                    text        not null,
  period                      text        not null,
  anchor                      text        not null,
  payment_interval            text        not null,
  billing                     text        not null,
  metadata                    text        not null,
  status                      text        not null,
  cancel_at_next_billing_date boolean     not null,
  ended_at                    timestamptz,
  cycle_start                 timestamptz,
  cycle_end                   timestamptz,
  due_at                      timestamptz,
  advance_at                  timestamptz,
  created_at                  timestamptz not null,
  updated_at                  timestamptz not null,
  primary key (tenant_id, subscription_id)
);
create index subscription_by_customer on subscription (tenant_id, customer_id);
create index subscription_by_due on subscription (tenant_id, due_at) where due_at is not null;
create index subscription_by_advance on subscription (tenant_id, advance_at) where advance_at is not null;

-- position is where the invoice was issued: the order of the numbers, which are texts.
create table invoice (
  tenant_id       text        not null,
  invoice_id      text        not null collate "C",
  number          text        not null,
  customer_id     text        not null collate "C",
  subscription_id text        not null collate "C",
  cycle_start     timestamptz not null,
  status          text        not null,
  document        text        not null,
  issued_at       timestamptz not null,
  position        bigint      not null,
  primary key (tenant_id, invoice_id),
  unique (tenant_id, subscription_id, cycle_start)
);
create index invoice_by_customer on invoice (tenant_id, customer_id);

-- One summary per meter, customer and hour (UTC): every cheap aggregation at once, the meter only picks a column.
create table quantity (
  tenant_id      text        not null,
  meter_id       text        not null collate "C",
  customer_id    text        not null collate "C",
  hour           timestamptz not null,
  events         bigint      not null,
  unmeasured     bigint      not null,
  total          numeric     not null,
  low            numeric,
  high           numeric,
  last_timestamp timestamptz,
  last_position  bigint,
  last_value     numeric,
  primary key (tenant_id, meter_id, customer_id, hour)
) with (fillfactor = 70);

-- The distinct values of `unique` meters, by the SHA-256 of their canonical bytes.
create table distinct_value (
  tenant_id   text        not null,
  meter_id    text        not null collate "C",
  customer_id text        not null collate "C",
  hour        timestamptz not null,
  digest      bytea       not null,
  primary key (tenant_id, meter_id, customer_id, hour, digest)
);

-- Events that match a meter but have no usable value for its key.
create table unmeasured_event (
  tenant_id text   not null,
  meter_id  text   not null collate "C",
  position  bigint not null,
  event_id  text   not null,
  primary key (tenant_id, meter_id, position)
);
