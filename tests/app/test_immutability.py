"""Nobody changes the log: not the service's role, which lacks the right, nor the owner, whom triggers refuse.

Where the owner is refused, the test takes the trigger away in a transaction that is rolled back and sees the same
statement succeed: what refused was the trigger, nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from asyncpg import Connection, Record

from app.database import connect_owner
from app.event_log import NO_ORIGIN, append_retraction
from app.http.events import SQL as EVENTS
from app.identity import new_batch
from app.service import Caller, Service
from domain.event import UsageEvent
from projections.log_reader import head
from projections.quantities import SQL as QUANTITIES
from tests.app.log_rows import record_usage

KEPT_FOR_EVER = ("commit", "usage_event", "event_key", "domain_event", "retraction")
"""The tables of the log in which no row ever changes."""

LOCK_WAIT = "set local lock_timeout = '5s'"
"""A trigger is dropped under a lock of the whole table; a test that cannot get it fails instead of hanging."""


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def tenant_id(service: Service, caller: Caller) -> str:
    """A tenant with a domain commit, a usage commit and a retraction."""
    events = [UsageEvent("a", "api.call", "ada", service.clock(), ""), UsageEvent("b", "api.call", "ada", None, "")]
    async with service.pool.acquire() as connection:
        await record_usage(connection, caller.tenant_id, events, service.clock())
        await append_retraction(connection, caller.tenant_id, ["b"], "", service.clock(), NO_ORIGIN)
    return caller.tenant_id


@asynccontextmanager
async def rolled_back(connection: Any) -> AsyncIterator[None]:
    """A transaction that leaves nothing, whatever becomes of the block."""
    running = connection.transaction()
    await running.start()
    try:
        await connection.execute(LOCK_WAIT)
        yield
    finally:
        await running.rollback()


async def tables_with_partitions(connection: Any) -> list[str]:
    """The immutable tables and every partition of the usage rows there is."""
    partitions = await connection.fetch(
        "select relid::regclass::text as name from pg_partition_tree('log.usage_event') where level > 0"
    )
    return [f"log.{table}" for table in KEPT_FOR_EVER] + [row["name"] for row in partitions]


async def partition_of(connection: Any, tenant_id: str) -> str:
    """The partition that holds the tenant's usage rows."""
    return str(
        await connection.fetchval(
            "select distinct tableoid::regclass::text from log.usage_event where tenant_id = $1", tenant_id
        )
    )


def changes(table: str) -> list[tuple[str, tuple[str, ...]]]:
    """Statements that would change the tenant's rows: the condition takes the tenant."""
    return [
        (f"update {table} set tenant_id = tenant_id where tenant_id = $1", ("immutable",)),
        (f"delete from {table} where tenant_id = $1", ("immutable",)),
    ]


async def refused(connection: Any, statement: str, *values: Any) -> str:
    """The message with which the database refuses the statement."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as raised:
        async with connection.transaction():
            await connection.execute(statement, *values)
    return str(raised.value)


async def test_the_usage_rows_lie_in_partitions_with_their_own_guard(owner: Connection[Record], tenant_id: str) -> None:
    """The other tests would prove little if nothing had been partitioned."""
    tables = await tables_with_partitions(owner)
    assert "log.usage_event_rest" in tables
    assert len([table for table in tables if table.startswith("log.usage_event_2")]) >= 2
    assert await partition_of(owner, tenant_id) in tables


async def test_the_service_may_not_change_the_log(service: Service, owner: Connection[Record], tenant_id: str) -> None:
    async with service.pool.acquire() as connection:
        for table in await tables_with_partitions(owner):
            for statement, _ in changes(table):
                assert "permission denied" in await refused(connection, statement, tenant_id), statement
            assert "permission denied" in await refused(connection, f"truncate {table}"), table
        for statement in ("update log.head set position = position + 1", "delete from log.head", "truncate log.head"):
            assert "permission denied" in await refused(connection, statement), statement


async def test_a_right_given_by_mistake_does_not_get_past_the_triggers(
    owner: Connection[Record], tenant_id: str
) -> None:
    async with rolled_back(owner):
        await owner.execute("grant update, delete, truncate on all tables in schema log to taximeter_app")
        await owner.execute("set local role taximeter_app")
        for table in KEPT_FOR_EVER:
            assert "immutable" in await refused(owner, f"delete from log.{table} where tenant_id = $1", tenant_id)


@pytest.mark.parametrize("table", KEPT_FOR_EVER)
@pytest.mark.parametrize("change", [0, 1], ids=["update", "delete"])
async def test_the_owner_may_not_change_rows(
    owner: Connection[Record], tenant_id: str, table: str, change: int
) -> None:
    statement, (trigger,) = changes(f"log.{table}")[change]
    assert "the log is immutable" in await refused(owner, statement, tenant_id)
    async with rolled_back(owner):
        await owner.execute(f"drop trigger {trigger} on log.{table}")
        done = await owner.execute(statement, tenant_id)
    assert int(done.split()[-1]) >= 1
    assert await owner.fetchval(f"select count(*) from log.{table} where tenant_id = $1", tenant_id) >= 1


@pytest.mark.parametrize("change", [0, 1], ids=["update", "delete"])
async def test_the_owner_may_not_change_rows_through_a_partition(
    owner: Connection[Record], tenant_id: str, change: int
) -> None:
    statement, (trigger,) = changes(await partition_of(owner, tenant_id))[change]
    assert "the log is immutable" in await refused(owner, statement, tenant_id)
    async with rolled_back(owner):
        await owner.execute(f"drop trigger {trigger} on log.usage_event")
        assert int((await owner.execute(statement, tenant_id)).split()[-1]) == 2


async def test_the_owner_may_not_truncate(owner: Connection[Record], tenant_id: str) -> None:
    for table in await tables_with_partitions(owner):
        assert "the log is immutable" in await refused(owner, f"truncate {table}"), table
        async with rolled_back(owner):
            # Truncating the parent fires the triggers of every partition too.
            for guarded in await tables_with_partitions(owner) if table == "log.usage_event" else [table]:
                await owner.execute(f"drop trigger untruncatable on {guarded}")
            assert await owner.execute(f"truncate {table}") == "TRUNCATE TABLE"
            assert await owner.fetchval(f"select count(*) from {table}") == 0
    assert await owner.fetchval("select count(*) from log.usage_event where tenant_id = $1", tenant_id) == 2


async def test_a_new_partition_is_guarded(service: Service, owner: Connection[Record]) -> None:
    async with rolled_back(owner):
        await owner.execute("select log.ensure_partition('2031-05-17')")
        assert "the log is immutable" in await refused(owner, "truncate log.usage_event_2031_05")
        await owner.execute("drop trigger untruncatable on log.usage_event_2031_05")
        assert await owner.execute("truncate log.usage_event_2031_05") == "TRUNCATE TABLE"


@pytest.mark.parametrize(
    "change",
    [
        "position = position - 1",
        "position = position",
        "position = position + 1, recorded_at = recorded_at - interval '1 microsecond'",
        "position = position + 1, tenant_id = tenant_id || 'x'",
        "digest = decode(repeat('00', 32), 'hex')",
    ],
)
async def test_the_head_only_moves_forward(owner: Connection[Record], tenant_id: str, change: str) -> None:
    statement = f"update log.head set {change} where tenant_id = $1"
    assert "only moves forward" in await refused(owner, statement, tenant_id)
    async with rolled_back(owner):
        await owner.execute("drop trigger forward_only on log.head")
        assert await owner.execute(statement, tenant_id) == "UPDATE 1"


@pytest.mark.parametrize(
    ("statement", "trigger"),
    [
        ("delete from log.head where tenant_id = '{tenant_id}'", "immutable"),
        ("truncate log.head", "untruncatable"),
    ],
)
async def test_the_head_does_not_go(
    owner: Connection[Record], service: Service, tenant_id: str, statement: str, trigger: str
) -> None:
    before = await head(service.pool, tenant_id)
    assert "the log is immutable" in await refused(owner, statement.format(tenant_id=tenant_id))
    async with rolled_back(owner):
        await owner.execute(f"drop trigger {trigger} on log.head")
        await owner.execute(statement.format(tenant_id=tenant_id))
        assert (await head(owner, tenant_id)).position == 0
    assert await head(service.pool, tenant_id) == before


SEAL = "select log.seal($1, 'usage', $2, 1, decode(repeat('11', 32), 'hex'), now(), ''::bytea)"
INSERT_COMMIT = """
insert into log.commit
  select $1::text, position + 1, position + 1, 'usage', $2::uuid, now(), ''::bytea, digest, digest
    from log.head where tenant_id = $1
"""
INSERT_DOMAIN_EVENT = """
insert into log.domain_event
  values ($1::text, 'meter:' || ($2::uuid), 1, 1000000, 'meter.archived', '\\x7b7d')
"""
INSERT_RETRACTION = """
insert into log.retraction values ($1::text, 'a', $2::uuid, 0, 1000000, '')
"""
INSERT_HEAD = """
insert into log.head values ($1::text || ($2::uuid), 1, decode(repeat('11', 32), 'hex'), now())
"""


@pytest.mark.parametrize(
    ("statement", "grant"),
    [
        (SEAL, "grant execute on function log.seal to taximeter_app"),
        (INSERT_COMMIT, "grant insert on log.commit to taximeter_app"),
        (INSERT_DOMAIN_EVENT, "grant insert on log.domain_event to taximeter_app"),
        (INSERT_RETRACTION, "grant insert on log.retraction to taximeter_app"),
        (INSERT_HEAD, "grant insert on log.head to taximeter_app"),
    ],
    ids=["seal", "commit", "domain_event", "retraction", "head"],
)
async def test_the_service_appends_through_the_functions_alone(
    service: Service, owner: Connection[Record], tenant_id: str, statement: str, grant: str
) -> None:
    async with service.pool.acquire() as connection:
        assert await connection.fetchval("select current_user") == "taximeter_app"
        assert "permission denied" in await refused(connection, statement, tenant_id, new_batch())
    async with rolled_back(owner):
        # With the right, the same statement works: it was the missing right that refused it.
        await owner.execute(grant)
        await owner.execute("set local role taximeter_app")
        await owner.execute(statement, tenant_id, new_batch())


@pytest.mark.parametrize(
    "statement",
    [
        "drop trigger immutable on log.commit",
        "alter table log.commit disable trigger immutable",
        "create or replace function log.refuse_change() returns trigger language plpgsql as 'begin return new; end'",
        "drop table log.commit cascade",
        "set session_replication_role = replica",
    ],
)
async def test_the_service_cannot_take_the_guards_away(
    service: Service, owner: Connection[Record], statement: str
) -> None:
    async with service.pool.acquire() as connection:
        await refused(connection, statement)
    async with rolled_back(owner):
        await owner.execute(statement)


async def test_the_service_cannot_give_itself_rights(service: Service, owner: Connection[Record]) -> None:
    # PostgreSQL only warns here; what counts is that nothing was granted.
    await service.pool.execute("grant delete on log.commit to taximeter_app")
    may_delete = "select has_table_privilege('taximeter_app', 'log.commit', 'delete')"
    assert await owner.fetchval(may_delete) is False
    async with rolled_back(owner):
        await owner.execute("grant delete on log.commit to taximeter_app")
        assert await owner.fetchval(may_delete) is True


async def test_rows_beside_a_sealed_batch_are_no_events(owner: Connection[Record], tenant_id: str) -> None:
    """COPY needs the right to insert. What is added to a sealed batch has no position: it is not seen, nor counted."""
    forged = (
        "insert into log.usage_event"
        " select tenant_id, batch, 99, 'forged', event_name, customer_id, timestamp, metadata"
        " from log.usage_event where tenant_id = $1 and ordinal = 0"
    )
    key = (
        "insert into log.event_key select tenant_id, 'forged', batch, 99"
        " from log.event_key where tenant_id = $1 and ordinal = 0"
    )
    taken = forged.replace("99, 'forged'", "ordinal, 'forged'")
    async with rolled_back(owner):
        await owner.execute("set local role taximeter_app")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with owner.transaction():
                await owner.execute(taken, tenant_id)
        assert await owner.execute(forged, tenant_id) != "INSERT 0 0"
        assert await owner.execute(key, tenant_id) != "INSERT 0 0"
        positions = await owner.fetch(EVENTS["events"], tenant_id, None, None, None, 1000, 0)
        assert "forged" not in {row["event_id"] for row in positions}
        end = (await head(owner, tenant_id)).position
        counted = await owner.fetch(QUANTITIES["usage_of_commits"], tenant_id, 0, end, ["api.call"], [], [], None)
        assert sum(row["events"] for row in counted) == len(positions)
        assert counted
