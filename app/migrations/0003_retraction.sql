-- Retractions: usage events taken back by their ids. See docs/decisions/0013-late-usage.md.
-- Locks: creates new objects only. Duration: under a second. The service may run meanwhile.

-- One row for each event that was retracted; the event's own row stays as it was sent. The key keeps an event from being
-- retracted twice.
create table log.retraction (
  tenant_id text    not null,
  event_id  text    not null collate "C",
  batch     uuid    not null,
  ordinal   integer not null check (ordinal >= 0),
  position  bigint  not null,
  reason    text    not null,
  primary key (tenant_id, event_id),
  unique (tenant_id, position)
);

-- Grants bind the service; these triggers bind the owner of the table too.
create trigger immutable before update or delete on log.retraction for each row execute function log.refuse_change();
create trigger untruncatable before truncate on log.retraction for each statement execute function log.refuse_change();

-- Appends the retractions of in_events as one commit, in array order. An event that the tenant's log does not hold is
-- refused; one that is retracted already is a unique violation.
create function log.append_retraction(
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
      join log.event_key k on k.tenant_id = in_tenant and k.event_id = e.event_id
      -- A key alone is no event: a commit has to reach as far as its ordinal.
      join log.commit c on c.tenant_id = in_tenant and c.batch = k.batch
       and c.first_position + k.ordinal <= c.last_position;
  get diagnostics held = row_count;
  -- A hole in the ordinals would be a hole in the positions.
  if held <> cardinality(in_events) then
    raise exception 'only % of the % events to retract are in the log of tenant %',
      held, cardinality(in_events), in_tenant;
  end if;
  return sealed;
end
$$;

revoke execute on function log.append_retraction from public;
grant select on log.retraction to taximeter_app;
grant execute on function log.append_retraction to taximeter_app;
