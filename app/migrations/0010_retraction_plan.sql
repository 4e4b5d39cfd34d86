-- Retracting asks for the events one by one. See docs/decisions/0039-plans.md.
-- Locks: replaces a function only. Duration: under a second.
-- Older services: may run.

-- As in 0003, but for the plan: of a tenant that is newer than the statistics the planner thinks that it has one row, and
-- read all its commits for each of its keys.
create or replace function log.append_retraction(
  in_tenant text, in_batch uuid, in_events text[], in_reason text, in_root bytea, in_now timestamptz, in_origin bytea)
returns log.commit language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  sealed log.commit;
  held   bigint;
begin
  sealed := log.seal(in_tenant, 'retraction', in_batch, cardinality(in_events), in_root, in_now, in_origin);
  insert into log.retraction
    select in_tenant, e.event_id, in_batch, e.ordinal - 1, sealed.first_position + e.ordinal - 1, in_reason
      from unnest(in_events) with ordinality as e (event_id, ordinal)
     cross join lateral (
       select batch, ordinal from log.event_key where tenant_id = (select in_tenant) and event_id = e.event_id
       offset 0) as k
     cross join lateral (
       select first_position, last_position from log.commit where tenant_id = (select in_tenant) and batch = k.batch
       offset 0) as c
     -- A key alone is no event: a commit has to reach as far as its ordinal.
     where c.first_position + k.ordinal <= c.last_position;
  get diagnostics held = row_count;
  -- A hole in the ordinals would be a hole in the positions.
  if held <> cardinality(in_events) then
    raise exception 'only % of the % events to retract are in the log of tenant %',
      held, cardinality(in_events), in_tenant;
  end if;
  return sealed;
end
$$;
