"""What each migration says of itself is true: its locks, measured beside a log that grows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from app.database import connect_owner, migrations
from app.engine.launcher import Engine
from domain.event import UsageEvent
from projections.database import Database
from tests.app.log_rows import record_usage

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operating-upgrade.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\d{4}_\w+)` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE))
"""The locks of each migration, as the page has them."""

NAMES = [name for name, _ in migrations()]
FIRST_THAT_SAYS = "0006"
"""From here on a migration says whether services that do not know it may run."""

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
LOCKS = """
select l.mode, n.nspname || '.' || c.relname as name
  from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
 where l.pid = $1 and c.relkind in ('r', 'p') and c.oid = any($2::oid[])
   and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
 order by 1, 2
"""
TABLES = """
select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p')
"""


@pytest.mark.parametrize(("name", "text"), migrations(), ids=NAMES)
def test_a_migration_says_what_it_locks_and_how_long(name: str, text: str) -> None:
    head = text.split("\n\n")[0].split("create ")[0]
    assert re.search(r"^-- Locks: \S.+\. Duration: \S.+\.", head, re.MULTILINE), f"{name} says nothing of its locks"
    if name >= FIRST_THAT_SAYS:
        says = re.search(r"^-- Older services: (may run|must stop)\.$", head, re.MULTILINE)
        assert says, f"{name} does not say whether older services may run"


def test_the_page_lists_every_migration() -> None:
    assert list(ROWS) == NAMES


@pytest.fixture
async def owner(engine: Engine) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The owner of a new database, whose transactions wait for no lock longer than a second."""
    name = f"db{uuid4().hex[:12]}"
    creator = await connect_owner(engine.dsn)
    await creator.execute(f"create database {name} template template0")
    connection = await asyncpg.connect(engine.dsn_for(name), server_settings={"lock_timeout": "1s"})
    yield connection
    await connection.close()
    await creator.execute(f"drop database {name} with (force)")
    await creator.close()


@pytest.fixture
async def beside(owner: asyncpg.Connection[asyncpg.Record], engine: Engine) -> AsyncIterator[Database]:
    """The service's connection to the same database."""
    name = await owner.fetchval("select current_database()")
    connection = await asyncpg.connect(engine.dsn_for(name), server_settings={"lock_timeout": "1s"})
    yield connection  # type: ignore[misc]
    await connection.close()


async def record(database: Database, batch: str) -> None:
    """Ten events, as every version of the program has appended them."""
    events = [UsageEvent(f"{batch}{n}", "call", "ada", NOON - timedelta(hours=n), '{"n": 1}') for n in range(10)]
    assert (await record_usage(database, "t", events, NOON)).ingested_count == 10


@pytest.mark.parametrize("name", NAMES)
async def test_it_locks_what_it_says_and_holds_up_no_other_event(
    owner: asyncpg.Connection[asyncpg.Record], beside: Database, name: str
) -> None:
    number = NAMES.index(name)
    for _, text in migrations()[:number]:
        await owner.execute(text)
    if number >= 1:
        await record(beside, "before")
    if number >= 2:
        await owner.execute("insert into kept.api_key values (sha256('k'), 't', 'key_1', 'write', '', now())")
    there = [row["oid"] for row in await owner.fetch(TABLES)]
    async with owner.transaction():
        await owner.execute(migrations()[number][1])
        pid = await owner.fetchval("select pg_backend_pid()")
        locks = await owner.fetch(LOCKS, pid, there)
        said = ", ".join(f"{row['mode']} on `{row['name']}`" for row in locks) or "none"
        assert said == ROWS[name]
        # The migration has not committed, and holds all that it will hold.
        if "`log." in said:
            with pytest.raises(asyncpg.LockNotAvailableError):
                await record(beside, "during")
        elif number >= 1:
            await record(beside, "during")
    if number >= 1:
        await record(beside, "after")


async def test_a_lock_on_the_log_would_be_noticed(owner: asyncpg.Connection[asyncpg.Record], beside: Database) -> None:
    for _, text in migrations():
        await owner.execute(text)
    there = [row["oid"] for row in await owner.fetch(TABLES)]
    async with owner.transaction():
        await owner.execute("create index slow on log.event_key (batch)")
        locks = await owner.fetch(LOCKS, await owner.fetchval("select pg_backend_pid()"), there)
        assert [(row["mode"], row["name"]) for row in locks] == [("ShareLock", "log.event_key")]
        with pytest.raises(asyncpg.LockNotAvailableError):
            await record(beside, "during")
