-- Two schemas of read models side by side. The names in braces are ours, never a caller's.

-- name: key_of_table
select string_agg(quote_ident(a.attname), ', ' order by k.place)
  from pg_index i
 cross join unnest(i.indkey) with ordinality as k (number, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
 where i.indrelid = to_regclass($1) and i.indisprimary;

-- name: compare_table
-- A row is equal when every column is. "Is distinct from" compares whole rows, and a side that lacks one is null. "Is not
-- null" would ask that each of its columns is not.
with beside as materialized (
  select {key}, live, replayed
    from (select * from {a}.{table} where tenant_id = $1 and {which}) as live
    full join (select * from {b}.{table} where tenant_id = $1 and {which}) as replayed using ({key})
   where live is distinct from replayed)
select count(*) filter (where live is null) as missing,
       count(*) filter (where replayed is null) as extra,
       count(*) filter (where not (live is null or replayed is null)) as changed,
       (select coalesce(jsonb_agg(jsonb_build_array(live, replayed)), '[]')
          from (select live, replayed from beside order by {key} limit $2) as first) as rows
  from beside;
