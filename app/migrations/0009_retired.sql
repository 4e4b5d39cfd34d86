-- Months of usage whose rows lie in an archive. See docs/decisions/0035-retired-months.md.
-- Locks: creates new objects only. Duration: under a second.
-- Older services: must stop.
-- They would count without the rows of such a month.

-- One row for each tenant and month. A commit is retired when its batch lies in the span of the month's partition. What
-- happened before settled_until is invoiced for good: no command may change it any more.
create table kept.retired_usage (
  tenant_id      text        not null,
  month          date        not null,
  since_batch    uuid        not null,
  until_batch    uuid        not null,
  first_position bigint      not null,
  last_position  bigint      not null,
  events         bigint      not null,
  low_timestamp  timestamptz not null,
  high_timestamp timestamptz not null,
  settled_until  timestamptz not null,
  archive        bytea       not null check (octet_length(archive) = 32),
  primary key (tenant_id, month)
);
grant select on kept.retired_usage to taximeter_app;

-- The one place that says no. TX410 is told as 410 USAGE_ARCHIVED.
create function log.say_retired(tenant text, found kept.retired_usage)
returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception
    'usage of tenant % that was recorded in % (positions % to %) lies in an archive; `taximeter audit bring-back` puts it back',
    tenant, to_char(found.month, 'YYYY-MM'), found.first_position, found.last_position using errcode = 'TX410';
end
$$;

-- True when every row with a timestamp in [since, until) is here; raises TX410 when some may lie in an archive.
create function log.here_between(tenant text, since timestamptz, until timestamptz)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found kept.retired_usage;
begin
  select r.* into found from kept.retired_usage r
   where r.tenant_id = tenant and r.high_timestamp >= coalesce(since, '-infinity')
     and r.low_timestamp < coalesce(until, 'infinity')
   limit 1;
  if found.tenant_id is not null then
    perform log.say_retired(tenant, found);
  end if;
  return true;
end
$$;

-- The same for the rows of the positions (after, up_to].
create function log.here_from(tenant text, after bigint, up_to bigint)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found kept.retired_usage;
begin
  select r.* into found from kept.retired_usage r
   where r.tenant_id = tenant and r.last_position > after and r.first_position <= up_to
   limit 1;
  if found.tenant_id is not null then
    perform log.say_retired(tenant, found);
  end if;
  return true;
end
$$;

-- The same for the rows of one batch.
create function log.here_batch(tenant text, in_batch uuid)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found kept.retired_usage;
begin
  select r.* into found from kept.retired_usage r
   where r.tenant_id = tenant and in_batch >= r.since_batch and in_batch < r.until_batch
   limit 1;
  if found.tenant_id is not null then
    perform log.say_retired(tenant, found);
  end if;
  return true;
end
$$;

-- True when what happened at an instant may still change; raises TX410 when a cycle there was settled with retired rows.
create function log.unsettled_at(tenant text, at timestamptz)
returns boolean language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found kept.retired_usage;
begin
  select r.* into found from kept.retired_usage r
   where r.tenant_id = tenant and at < r.settled_until
   order by r.settled_until desc
   limit 1;
  if found.tenant_id is not null then
    perform log.say_retired(tenant, found);
  end if;
  return true;
end
$$;

revoke execute on function log.say_retired, log.here_between, log.here_from, log.here_batch, log.unsettled_at from public;
grant execute on function log.say_retired, log.here_between, log.here_from, log.here_batch, log.unsettled_at to taximeter_app;
