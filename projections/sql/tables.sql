-- The read models. Derived: created in the schema of the search path, never migrated, rebuilt from the log.
-- Each key starts with the tenant, so that every table can be distributed by it.

create table progress (
  tenant_id  text   not null,
  projection text   not null,
  position   bigint not null,
  primary key (tenant_id, projection)
);

-- test_clock is the now of a tenant in test mode; without one, time passes by itself.
create table tenant (
  tenant_id  text        not null primary key,
  settings   text        not null,
  test_clock timestamptz
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
create index customer_by_creation on customer (tenant_id, created_at, customer_id);

-- due_at is when the earliest cycle that is not closed becomes billable, advance_at when the next one opens.
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
  trial_days                  integer     not null,
  billing                     text        not null,
  metadata                    text        not null,
  status                      text        not null,
  cancel_at_next_billing_date boolean     not null,
  ended_at                    timestamptz,
  paused_at                   timestamptz,
  scheduled_plan              text,
  scheduled_at                timestamptz,
  cycle_start                 timestamptz,
  cycle_end                   timestamptz,
  due_at                      timestamptz,
  advance_at                  timestamptz,
  settled_position            bigint      not null,
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
  cycle_end       timestamptz not null,
  type            text        not null,
  status          text        not null,
  document        text        not null,
  issued_at       timestamptz not null,
  position        bigint      not null,
  primary key (tenant_id, invoice_id)
);
-- A cycle has one invoice that stands; voided ones stay beside it, and corrections have documents of their own.
create unique index invoice_of_cycle on invoice (tenant_id, subscription_id, cycle_start)
  where type = 'invoice' and status <> 'void';
create index invoice_by_subscription on invoice (tenant_id, subscription_id);
create index invoice_by_customer on invoice (tenant_id, customer_id, cycle_end);

-- terms is JSON; the precision stands beside it because it never changes.
create table credit_entitlement (
  tenant_id             text        not null,
  credit_entitlement_id text        not null collate "C",
  precision_digits      integer     not null,
  terms                 text        not null,
  deleted               boolean     not null,
  created_at            timestamptz not null,
  updated_at            timestamptz not null,
  primary key (tenant_id, credit_entitlement_id)
);

-- Who has an account of which credits. What is in it is computed: it depends on usage that is not in any stream.
create table credit_account (
  tenant_id             text        not null,
  credit_entitlement_id text        not null collate "C",
  customer_id           text        not null collate "C",
  created_at            timestamptz not null,
  updated_at            timestamptz not null,
  primary key (tenant_id, credit_entitlement_id, customer_id)
);
create index credit_account_by_customer on credit_account (tenant_id, customer_id);

create table wallet (
  tenant_id   text        not null,
  customer_id text        not null collate "C",
  currency    text        not null,
  balance     numeric     not null,
  created_at  timestamptz not null,
  updated_at  timestamptz not null,
  primary key (tenant_id, customer_id, currency)
);

-- Without subscription_id an alert holds for each subscription of the customer by itself.
create table alert (
  tenant_id             text        not null,
  alert_id              text        not null collate "C",
  customer_id           text        not null collate "C",
  subscription_id       text        collate "C",
  kind                  text        not null,
  meter_id              text        collate "C",
  credit_entitlement_id text        collate "C",
  threshold             text        not null,
  deleted               boolean     not null,
  created_at            timestamptz not null,
  primary key (tenant_id, alert_id)
);
create index alert_by_customer on alert (tenant_id, customer_id) where not deleted;

-- position is that of the firing, known_position that of the log's prefix in which the value was reached.
create table alert_firing (
  tenant_id             text        not null,
  position              bigint      not null,
  alert_id              text        not null collate "C",
  customer_id           text        not null collate "C",
  subscription_id       text        not null collate "C",
  kind                  text        not null,
  meter_id              text        collate "C",
  credit_entitlement_id text        collate "C",
  threshold             text        not null,
  value                 text        not null,
  cycle_start           timestamptz not null,
  cycle_end             timestamptz not null,
  known_position        bigint      not null,
  fired_at              timestamptz not null,
  primary key (tenant_id, position),
  unique (tenant_id, alert_id, subscription_id, cycle_start)
);
create index alert_firing_by_customer on alert_firing (tenant_id, customer_id, position);

-- One summary per meter, customer and hour (UTC): the cheap aggregations at once, the latest value where the meter asks
-- for it.
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

-- Hours that changed after a cycle reaching into them was closed: the last such position, and when it was recorded.
create table late_hour (
  tenant_id   text        not null,
  customer_id text        not null collate "C",
  meter_id    text        not null collate "C",
  hour        timestamptz not null,
  position    bigint      not null,
  recorded_at timestamptz not null,
  primary key (tenant_id, customer_id, meter_id, hour)
);
create index late_hour_by_position on late_hour (tenant_id, customer_id, position);
