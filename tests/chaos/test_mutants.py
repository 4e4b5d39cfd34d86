"""Mutants of the guarantees: each is a service that lacks one, and the checker has to notice what comes of it.

Every story is told twice, of the service as it is and of the mutant, so that the story itself breaks nothing. Mutants
are made in a database of their own, or in a copy of the source.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from app import event_log
from app.commands import open_service
from app.engine.launcher import Engine
from app.keys import create_key, system_caller
from app.service import Caller, Service
from domain.event import UsageEvent
from projections.fault_points import FAULTS
from tests.app.log_rows import record_usage
from tests.app.shop import Shop
from tests.chaos.check import check
from tests.conftest import RULES
from tests.projections.histories import new_database

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
TENANT = "mutant"
PATIENCE_SECONDS = 60.0

both = pytest.mark.parametrize("mutant", [False, True], ids=["as it is", "mutant"])


@pytest.fixture
async def database(engine: Engine, request: pytest.FixtureRequest) -> str:
    """A database of the story's own."""
    return await new_database(engine, re.sub(r"\W+", "_", request.node.name))


@asynccontextmanager
async def shop_on(dsn: str) -> AsyncIterator[Shop]:
    """A shop that counts calls."""
    async with open_service(dsn, RULES) as service:
        key_id, _ = await create_key(service, system_caller(TENANT), scope="write")
        shop = Shop(service, Caller(TENANT, key_id, "write", "test"))
        await shop.open()
        yield shop


async def alter(dsn: str, statement: str) -> None:
    """Change the database as its owner."""
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute(statement)
    finally:
        await owner.close()


async def append(service: Service, *event_ids: str) -> None:
    events = [UsageEvent(event_id, "call", "ada", AT, '{"n": 1}') for event_id in event_ids]
    async with service.pool.acquire() as connection:
        await record_usage(connection, TENANT, events, AT)


async def broken(dsn: str) -> list[str]:
    """What the checker says."""
    return (await check(dsn, {})).broken


@both
async def test_no_unique_key_on_event_ids(database: str, mutant: bool) -> None:
    """An event that is sent again counts twice."""
    async with shop_on(database) as shop:
        if mutant:
            await alter(database, "alter table log.event_key drop constraint event_key_pkey")
        await append(shop.service, "e-1", "e-2")
        await append(shop.service, "e-2", "e-3")
    said = await broken(database)
    assert any("event 'e-2' is stored 2 times" in one for one in said) if mutant else said == []


@both
async def test_no_lock_of_the_head(database: str, mutant: bool) -> None:
    """Two appends at once are given the same positions."""
    async with shop_on(database) as shop:
        if mutant:
            owner = await asyncpg.connect(database)
            (function,) = await owner.fetchrow("select pg_get_functiondef('log.lock_head'::regproc)")
            assert function.count(" for update;") == 2
            await owner.execute(function.replace(" for update;", ";"))
            await owner.close()
        async with shop.service.pool.acquire() as slow, slow.transaction():
            await record_usage(slow, TENANT, [UsageEvent("e-1", "call", "ada", AT, "")], AT)
            other = asyncio.create_task(append(shop.service, "e-2", "e-3"))
            # The other one has read the head, or waits for it, before this one commits.
            await a_session_waits(database)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await other
    said = await broken(database)
    assert any("does not follow position" in one for one in said) if mutant else said == []


WAITING = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())"


async def a_session_waits(dsn: str) -> None:
    """Return when some session of the database waits for a lock: only the owner sees that of another."""
    owner = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await owner.fetchval(WAITING):
                await asyncio.sleep(0.01)
    finally:
        await owner.close()


def copy_of_the_source(place: Path, file: str, *change: tuple[str, str]) -> Path:
    """The source with something else in one file, which each change has to find there once."""
    for layer in ("app", "projections", "domain"):
        shutil.copytree(ROOT / layer, place / layer, ignore=shutil.ignore_patterns("__pycache__"))
    text = (place / file).read_text()
    for old, new in change:
        assert text.count(old) == 1, f"{file} does not hold {old!r} once: the mutant has to be made anew"
        text = text.replace(old, new)
    (place / file).write_text(text)
    return place


PROJECT = """
import asyncio, os, sys
from datetime import timedelta
from app.commands import open_service
from app.projecting import project_all
from domain.tenant import Rules
from projections.fault_points import arm

RULES = Rules(event_ahead_max=None, event_age_max=None, close_grace=timedelta(), number_prefix="", company={})

async def project():
    async with open_service(sys.argv[1], RULES) as service:
        await project_all(service)

arm(os.environ, "test")
asyncio.run(project())
"""
"""What the copied source is run with."""


def project(source: Path, dsn: str, faults: str = "") -> int:
    """Project with this source until nothing is left, or until a fault kills; the exit status."""
    ended = subprocess.run(
        [sys.executable, "-c", PROJECT, dsn],
        cwd=source,
        env={**os.environ, FAULTS: faults},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return ended.returncode


@both
async def test_a_checkpoint_outside_of_the_transaction(database: str, mutant: bool, tmp_path: Path) -> None:
    """A projector that is killed between rows and checkpoint counts them again."""
    change = ("    async with database.transaction():\n        position", "    if True:\n        position")
    source = copy_of_the_source(tmp_path, "projections/quantities.py", *([change] if mutant else []))
    async with shop_on(database) as shop:
        await append(shop.service, "e-1", "e-2")
    assert await asyncio.to_thread(project, source, database, "page.folded=kill") == -9
    assert await asyncio.to_thread(project, source, database) == 0
    said = await broken(database)
    assert any("counts 4 events" in one for one in said) if mutant else said == []


BY_TIME = (
    "   and c.last_position > $2 and c.last_position <= $3\n",
    "   and u.batch > coalesce((select b.batch from log.commit b where b.tenant_id = $1 and b.last_position <= $2"
    " and b.kind = 'usage' order by b.batch desc limit 1), '00000000-0000-0000-0000-000000000000')"
    " and c.last_position <= $3\n",
)
"""A cursor over when a batch was begun, which is not the order in which batches commit."""


@both
async def test_a_cursor_over_time(database: str, mutant: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun early and committed late is never counted."""
    source = copy_of_the_source(tmp_path, "projections/sql/quantity.sql", *([BY_TIME] if mutant else []))
    batches = [UUID(int=2 << 96), UUID(int=1 << 96)]
    async with shop_on(database) as shop:
        for event_id, batch in zip(("e-1", "e-2"), batches, strict=True):
            monkeypatch.setattr(event_log, "new_batch", lambda batch=batch: batch)
            await append(shop.service, event_id)
            assert await asyncio.to_thread(project, source, database) == 0
    said = await broken(database)
    assert any("where there are 2" in one for one in said) if mutant else said == []
