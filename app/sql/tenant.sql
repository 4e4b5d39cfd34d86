-- A tenant's settings and clock.

-- name: rules
select settings, test_clock from tenant where tenant_id = $1;

-- name: has_usage
select exists (select from log.commit where tenant_id = $1 and kind = 'usage');

-- name: tenants_on_time
-- Those whose time passes by itself: a test clock stands still.
select tenant_id from tenant where test_clock is null order by tenant_id;
