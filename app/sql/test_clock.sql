-- The test clock's walk.

-- name: cycles_opened
select count(*) from log.domain_event where tenant_id = $1 and position > $2 and kind = 'cycle.opened';
