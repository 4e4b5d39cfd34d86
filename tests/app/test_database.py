"""Migrations, the schema of the read models, and the roles that work on them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from app import database
from app.database import DatabaseError, check_schema, connect_owner, migrate, migrations, open_pool
from app.event_log import ensure_partitions
from projections.shape import LIVE, NUMBER


@pytest.fixture
async def empty(dsn: str) -> AsyncIterator[str]:
    """The address of a new, empty database on the same server."""
    name = f"db{uuid4().hex[:12]}"
    owner = await connect_owner(dsn)
    await owner.execute(f"create database {name}")
    yield re.sub(r"/[a-z]+\?", f"/{name}?", dsn)
    await owner.execute(f"drop database {name} with (force)")
    await owner.close()


async def test_migrating_again_applies_nothing(empty: str) -> None:
    assert await migrate(empty) == [*(name for name, _ in migrations()), "read models"]
    assert await migrate(empty) == []


async def test_four_at_once_migrate_once(empty: str) -> None:
    applied = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(name for names in applied for name in names if name != "read models") == [
        name for name, _ in migrations()
    ]
    owner = await connect_owner(empty)
    await check_schema(owner)
    await owner.close()


async def test_a_database_that_was_never_migrated_is_not_served(empty: str) -> None:
    owner = await connect_owner(empty)
    with pytest.raises(DatabaseError, match="run `taximeter migrate`"):
        await check_schema(owner)
    await owner.close()


async def test_read_models_of_another_shape_are_not_served(empty: str) -> None:
    await migrate(empty)
    owner = await connect_owner(empty)
    await owner.execute(f"comment on schema {LIVE} is 'read models; shape 0123'")
    with pytest.raises(DatabaseError, match=r"another shape; `taximeter serve` rebuilds them, and so does"):
        await check_schema(owner)
    await owner.execute(f"alter schema {LIVE} rename to read_{NUMBER + 1}")
    with pytest.raises(DatabaseError, match=rf"newer Taximeter .* \(shape {NUMBER + 1}; this one makes {NUMBER}\)"):
        await check_schema(owner)
    assert await migrate(empty) == [], "an older program adds no read models of its own beside those"
    await owner.close()


async def test_an_edited_migration_is_refused(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(empty)
    edited = [(name, text + "-- edited") for name, text in migrations()]
    monkeypatch.setattr(database, "migrations", lambda: edited)
    with pytest.raises(DatabaseError, match="0001_log was applied in another form"):
        await migrate(empty)
    # Those that only look refuse it, too: a projector, a close, a web process.
    owner = await connect_owner(empty)
    with pytest.raises(DatabaseError, match="0001_log was applied in another form"):
        await check_schema(owner)
    await owner.close()


NEWER = ("9999_newer", "-- Locks: none.\n-- Older services: must stop.\ncreate table kept.newer (n int);\n")
HARMLESS = ("9998_harmless", NEWER[1].replace("must stop", "may run").replace("kept.newer", "kept.harmless"))


async def test_a_migration_of_a_newer_program_bars_an_older_one(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(empty)
    with monkeypatch.context() as newer:
        known = migrations()
        newer.setattr(database, "migrations", lambda: [*known, HARMLESS, NEWER])
        assert await migrate(empty) == ["9998_harmless", "9999_newer"]
    owner = await connect_owner(empty)
    for refusing in (check_schema(owner), migrate(empty)):
        with pytest.raises(DatabaseError, match=r"migrated by a newer Taximeter \(9999_newer\)"):
            await refusing
    await owner.close()


async def test_a_migration_that_says_so_bars_nobody(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(empty)
    with monkeypatch.context() as newer:
        known = migrations()
        newer.setattr(database, "migrations", lambda: [*known, HARMLESS])
        assert await migrate(empty) == ["9998_harmless"]
    owner = await connect_owner(empty)
    await check_schema(owner)
    await owner.close()
    assert await migrate(empty) == []


async def test_a_ledger_of_before_the_mark_is_read_and_mended(empty: str) -> None:
    await migrate(empty)
    owner = await connect_owner(empty)
    await owner.execute("alter table public.taximeter_migration drop column older_may_run")
    await check_schema(owner)
    assert await migrate(empty) == []
    assert await owner.fetchval("select count(older_may_run) from public.taximeter_migration") == len(migrations())
    await owner.close()


async def test_a_start_waits_for_nobody_who_reads_the_ledger(empty: str) -> None:
    """A dump reads every table for as long as it takes."""
    await migrate(empty)
    reader = await asyncpg.connect(empty)
    async with reader.transaction():
        await reader.execute("lock table public.taximeter_migration in access share mode")
        async with asyncio.timeout(5):
            assert await migrate(empty) == []
    await reader.close()


async def test_the_service_works_as_the_role_that_cannot_change_the_log(dsn: str) -> None:
    async with open_pool(dsn) as pool:
        assert await pool.fetchval("select current_user") == "taximeter_app"
        assert await pool.fetchval("show synchronous_commit") == "on"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(f"create table {LIVE}.mine (n int)")


async def test_usage_rows_have_a_partition_per_month(empty: str) -> None:
    await migrate(empty)
    owner = await connect_owner(empty)
    for _ in range(2):
        await ensure_partitions(owner, datetime(2031, 12, 31, 23, 59, tzinfo=UTC))
    names = await owner.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'log.usage_event'::regclass"
    )
    assert {row["name"] for row in names} == {
        "log.usage_event_rest",
        "log.usage_event_2031_12",
        "log.usage_event_2032_01",
    }
    await owner.close()


async def test_batches_of_a_month_lie_in_its_partition(empty: str) -> None:
    """The first 48 bits of a batch are its milliseconds: the month's first one is the partition's lower end."""
    await migrate(empty)
    owner = await connect_owner(empty)
    first = await owner.fetchval("select log.first_batch(date '2031-12-01')")
    milliseconds = int(datetime(2031, 12, 1, tzinfo=UTC).timestamp()) * 1000
    assert first.int >> 80 == milliseconds
    await owner.close()


async def test_a_session_that_is_given_back_is_as_it_was(dsn: str) -> None:
    async with open_pool(dsn, size=1) as pool:
        async with pool.acquire() as connection:
            before = await connection.fetch(
                "select name, setting from pg_settings where name <> 'transaction_isolation'"
            )
        async with pool.acquire() as connection:
            left_open = connection.transaction()
            await left_open.start()
            await connection.execute("select set_config('statement_timeout', '7s', true)")
            await connection.execute("select pg_advisory_xact_lock(7)")
        async with pool.acquire() as connection:
            assert await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
            after = await connection.fetch(
                "select name, setting from pg_settings where name <> 'transaction_isolation'"
            )
    assert after == before
