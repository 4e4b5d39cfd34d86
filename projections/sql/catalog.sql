-- The read models of the aggregates: one row each, written from the aggregate as it now stands.

-- name: put_tenant
insert into tenant (tenant_id, settings, test_clock) values ($1, $2, $3)
on conflict (tenant_id) do update set settings = excluded.settings, test_clock = excluded.test_clock;

-- name: move_clock
update tenant set test_clock = $2 where tenant_id = $1;

-- name: put_meter
insert into meter (
  tenant_id, meter_id, name, event_name, aggregation, filter, measurement_unit, description, created_at, updated_at,
  archived, created_position, archived_positions, unarchived_positions)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12::bigint, 0), $13::bigint[], $14::bigint[])
on conflict (tenant_id, meter_id) do update set
  name                 = excluded.name,
  measurement_unit     = excluded.measurement_unit,
  description          = excluded.description,
  updated_at           = excluded.updated_at,
  archived             = excluded.archived,
  -- Positions only ever add up: where it was created stays.
  archived_positions   = meter.archived_positions || excluded.archived_positions,
  unarchived_positions = meter.unarchived_positions || excluded.unarchived_positions;

-- name: put_product
insert into product (
  tenant_id, product_id, name, tax_category, description, metadata, versions, created_at, updated_at, archived)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (tenant_id, product_id) do update set
  name = excluded.name, tax_category = excluded.tax_category, description = excluded.description,
  metadata = excluded.metadata, versions = excluded.versions, updated_at = excluded.updated_at,
  archived = excluded.archived;

-- name: put_customer
insert into customer (
  tenant_id, customer_id, personal, time_zone, preferred_locale, metadata, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (tenant_id, customer_id) do update set
  personal = excluded.personal, time_zone = excluded.time_zone, preferred_locale = excluded.preferred_locale,
  metadata = excluded.metadata, updated_at = excluded.updated_at;

-- name: put_subscription
insert into subscription (
  tenant_id, subscription_id, customer_id, items, product_ids, currency, period, payment_interval, anchor, trial_days,
  billing, metadata, status, cancel_at_next_billing_date, ended_at, cycle_start, cycle_end, due_at, advance_at,
  settled_position, created_at, updated_at, paused_at, scheduled_plan, scheduled_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
on conflict (tenant_id, subscription_id) do update set
  items = excluded.items, product_ids = excluded.product_ids, period = excluded.period,
  payment_interval = excluded.payment_interval, anchor = excluded.anchor, billing = excluded.billing,
  metadata = excluded.metadata, status = excluded.status,
  cancel_at_next_billing_date = excluded.cancel_at_next_billing_date, ended_at = excluded.ended_at,
  cycle_start = excluded.cycle_start, cycle_end = excluded.cycle_end, due_at = excluded.due_at,
  advance_at = excluded.advance_at, settled_position = excluded.settled_position, updated_at = excluded.updated_at,
  paused_at = excluded.paused_at, scheduled_plan = excluded.scheduled_plan, scheduled_at = excluded.scheduled_at;

-- name: put_invoice
insert into invoice (
  tenant_id, invoice_id, number, customer_id, subscription_id, cycle_start, cycle_end, type, status, document, issued_at,
  position)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12::bigint, 0))
on conflict (tenant_id, invoice_id) do update set status = excluded.status;

-- name: put_credit_entitlement
insert into credit_entitlement (
  tenant_id, credit_entitlement_id, precision_digits, terms, deleted, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (tenant_id, credit_entitlement_id) do update set
  terms = excluded.terms, deleted = excluded.deleted, updated_at = excluded.updated_at;

-- name: put_credit_account
insert into credit_account (tenant_id, credit_entitlement_id, customer_id, created_at, updated_at)
values ($1, $2, $3, $4, $5)
on conflict (tenant_id, credit_entitlement_id, customer_id) do update set updated_at = excluded.updated_at;

-- name: put_wallet
insert into wallet (tenant_id, customer_id, currency, balance, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6)
on conflict (tenant_id, customer_id, currency) do update set
  balance = excluded.balance, updated_at = excluded.updated_at;

-- name: put_alert
insert into alert (
  tenant_id, alert_id, customer_id, kind, meter_id, credit_entitlement_id, threshold, subscription_id, created_at, deleted)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (tenant_id, alert_id) do update set deleted = excluded.deleted;

-- name: put_alert_firing
-- Without "on conflict": that one fires twice for a cycle is a defect, which the key of the table stops.
insert into alert_firing (
  tenant_id, alert_id, customer_id, kind, meter_id, credit_entitlement_id, threshold, position, subscription_id,
  cycle_start, cycle_end, value, known_position, fired_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: begin_looking
-- An insert that meets a row waits for whoever is changing that row, also to do nothing: so it is tried only without one.
insert into progress (tenant_id, projection, position)
select $1, 'alerts', 0
 where not exists (select from progress where tenant_id = $1 and projection = 'alerts')
on conflict do nothing;

-- name: mark
insert into progress (tenant_id, projection, position) values ($1, 'catalog', $2)
on conflict (tenant_id, projection) do update set position = excluded.position
 where progress.position < excluded.position;
