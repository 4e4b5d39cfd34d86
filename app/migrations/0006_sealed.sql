-- A sealed batch is guarded by what reads it, no longer by a trigger that looks at every row that is written.
-- Locks: ACCESS EXCLUSIVE on log.usage_event and log.event_key: appends wait for this moment. Duration: under a second.
-- Older services: may run.

-- A row added to a sealed batch has an ordinal that no commit reaches (those below are taken, by the primary key), so it has
-- no position, and no statement that reads usage takes it for an event. To see each row twice took a tenth of the append.
drop trigger unsealed on log.usage_event;
drop trigger unsealed on log.event_key;
drop function log.refuse_sealed();
