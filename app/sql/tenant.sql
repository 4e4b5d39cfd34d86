-- A tenant's settings and clock.

-- name: rules
select settings, test_clock from tenant where tenant_id = $1;

-- name: has_usage
-- The first one by its index: `exists` would walk through other tenants' commits until one fits.
select count(*) > 0
  from (select from log.commit where tenant_id = $1 and kind = 'usage' order by last_position limit 1) as c;

-- name: tenants_on_time
-- Those whose time passes by itself: a test clock stands still.
select tenant_id from tenant where test_clock is null order by tenant_id;
