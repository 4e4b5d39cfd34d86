"""When a web process calls itself not ready, by the real thing each time, and that it is ready again by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from app.commands import open_service, prepare
from app.draining import Draining
from app.engine.launcher import Engine, embedded
from app.health import progress, readiness, write_path
from app.health.lag import Lag
from app.health.readiness import Readiness, Verdict
from app.limits import POOL_SIZE
from app.projecting import project_all, run_projector
from app.service import Service
from domain.event import UsageEvent
from projections.shape import LIVE
from tests.app.log_rows import record_usage
from tests.conftest import RULES

PATIENCE_SECONDS = 20.0
READY = Verdict({}, 0)


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question is a look of its own, and nobody waits long: neither for a lock nor for an answer."""
    monkeypatch.setattr(write_path, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(readiness, "CACHED_SECONDS", 0.0)
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 1.0)


@pytest.fixture
async def own_dsn(dsn: str) -> AsyncIterator[str]:
    """A database that nothing else projects, locks or breaks."""
    name = f"health_{uuid4().hex[:12]}"
    owner = await asyncpg.connect(dsn)
    await owner.execute(f"create database {name}")
    url = dsn.replace("/taximeter?", f"/{name}?") if "?" in dsn else dsn.rpartition("/")[0] + f"/{name}"
    await prepare(url)
    yield url
    await owner.execute(f"drop database {name} with (force)")
    await owner.close()


@pytest.fixture
async def own(own_dsn: str) -> AsyncIterator[Service]:
    async with open_service(own_dsn, RULES) as opened:
        yield opened


@pytest.fixture
async def owner(own_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_dsn)
    yield connection
    await connection.close()


def looking(service: Service) -> Readiness:
    return Readiness(service, Lag(), Draining())


async def until(looks: Readiness, wanted: Verdict) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await looks.verdict() != wanted:
            await asyncio.sleep(0.05)


async def use(service: Service, tenant_id: str, event_id: str) -> None:
    async with service.pool.acquire() as connection:
        await record_usage(connection, tenant_id, [UsageEvent(event_id, "api.call", "ada", None, "")], service.clock())


async def test_it_is_ready_and_leaves_nothing_behind(own: Service, owner: asyncpg.Connection) -> None:
    looks = looking(own)
    for _ in range(3):
        assert await looks.verdict() == READY
    for table in ("log.head", "log.commit", "log.event_key", "log.usage_event", "log.domain_event"):
        assert await owner.fetchval(f"select count(*) from {table}") == 0


@pytest.mark.parametrize("table", ["log.head", "log.event_key", "log.usage_event"])
async def test_a_lock_on_what_an_append_writes(own: Service, owner: asyncpg.Connection, table: str) -> None:
    looks = looking(own)
    async with owner.transaction():
        await owner.execute(f"lock table {table} in exclusive mode")
        told = Verdict({"database": "a write waits for a lock that somebody else holds"})
        # The server ends the write, so the connection is free again though the lock is still held.
        for _ in range(POOL_SIZE + 1):
            assert await looks.verdict() == told
    await until(looks, READY)


async def test_a_database_that_is_read_only(own: Service, own_dsn: str, owner: asyncpg.Connection) -> None:
    database = await owner.fetchval("select current_database()")
    await owner.execute(f"alter database {database} set default_transaction_read_only = on")
    async with open_service(own_dsn, RULES) as opened:
        looks = looking(opened)
        assert await looks.verdict() == Verdict({"database": "the database is read-only"})
    await owner.execute("set default_transaction_read_only = off")
    await owner.execute(f"alter database {database} reset default_transaction_read_only")
    assert await looking(own).verdict() == READY


async def test_a_pool_without_a_free_connection(own: Service) -> None:
    looks = looking(own)
    async with AsyncExitStack() as taken:
        for _ in range(POOL_SIZE):
            await taken.enter_async_context(own.pool.acquire())
        told = {"pool": "no connection to the database is free after 1 s"}
        assert (await looks.verdict()).faults == told
        # Who asks again meanwhile is told at once, and does not queue up as well.
        for _ in range(50):
            assert (await looks.verdict()).faults == told
        assert own.pool.waiting == 1  # type: ignore[attr-defined]
    await until(looks, READY)


async def test_a_projector_that_does_not_run(own: Service, own_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STALL_SECONDS", 0.3)
    looks = looking(own)
    await use(own, "ada", "call-1")
    assert (await looks.verdict()).faults == {}
    await asyncio.sleep(0.4)
    verdict = await looks.verdict()
    assert verdict.lag == 1
    assert list(verdict.faults) == ["projection"]
    assert verdict.faults["projection"].startswith("nothing was projected for ")
    stop = asyncio.Event()
    running = asyncio.create_task(run_projector(own, own_dsn, stop))
    await until(looks, READY)
    stop.set()
    await running


async def test_a_projector_that_works_on_a_long_page_is_not_stalled(
    own: Service, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "STALL_SECONDS", 0.2)
    looks = looking(own)
    await use(own, "ada", "call-1")
    await project_all(own)
    await use(own, "ada", "call-2")
    await looks.verdict()
    async with owner.transaction():
        await owner.execute(f"select * from {LIVE}.progress where tenant_id = 'ada' for update")
        await asyncio.sleep(0.3)
        assert (await looks.verdict()).faults == {}
    assert list((await looks.verdict()).faults) == ["projection"]


async def test_a_projection_that_is_far_behind(own: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "READY_LAG_EVENTS", 2)
    looks = looking(own)
    for number in range(3):
        await use(own, "ada", f"call-{number}")
    assert await looks.verdict() == Verdict({"projection": "the projection is 3 events behind"}, 3)
    await project_all(own)
    assert await looks.verdict() == READY


async def test_a_missing_migration(own: Service, owner: asyncpg.Connection) -> None:
    looks = looking(own)
    gone = await owner.fetchrow("delete from public.taximeter_migration where name = '0002_kept' returning *")
    told = "migrations are missing (0002_kept); run `taximeter migrate`"
    assert await looks.verdict() == Verdict({"schema": told})
    await owner.execute("insert into public.taximeter_migration values ($1, $2, $3, $4)", *gone.values())
    assert await looks.verdict() == READY


async def test_read_models_of_another_shape(own: Service, owner: asyncpg.Connection) -> None:
    looks = looking(own)
    before = await owner.fetchval(f"select obj_description('{LIVE}'::regnamespace, 'pg_namespace')")
    await owner.execute(f"comment on schema {LIVE} is 'read models of another program; shape 00ff'")
    assert list((await looks.verdict()).faults) == ["schema"]
    await owner.execute(f"comment on schema {LIVE} is '{before}'")
    assert await looks.verdict() == READY


async def test_who_is_about_to_stop_asks_the_database_nothing() -> None:
    draining = Draining()
    draining.begin()
    nothing: Any = None
    looks = Readiness(nothing, Lag(), draining)
    assert await looks.verdict() == Verdict({"draining": "the process is about to stop"})


async def test_a_look_that_hangs_is_ended_with_the_process(own: Service, owner: asyncpg.Connection) -> None:
    looks = looking(own)
    await looks.end()
    async with owner.transaction():
        await owner.execute("lock table log.head in exclusive mode")
        asking = asyncio.create_task(looks.verdict())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await owner.fetchval("select count(*) from pg_locks where not granted"):
                await asyncio.sleep(0.01)
            await looks.end()
            await asyncio.gather(asking, return_exceptions=True)
    await until(looks, READY)


async def test_many_who_ask_at_once_are_told_of_one_look(own: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "CACHED_SECONDS", 60.0)
    written = 0

    async def counted(database: Any) -> None:
        nonlocal written
        written += 1
        await try_write(database)

    try_write = readiness.try_write
    monkeypatch.setattr(readiness, "try_write", counted)
    looks = looking(own)
    assert await asyncio.gather(*(looks.verdict() for _ in range(50))) == [READY] * 50
    assert await looks.verdict() == READY
    assert written == 1


@asynccontextmanager
async def engine_of_its_own() -> AsyncIterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="taximeter-test-") as home:
        async with embedded(Path(home) / "home") as running:
            await prepare(running.dsn)
            yield running


async def test_a_database_that_is_stopped_and_one_that_hangs() -> None:
    """The server's processes are stopped as by a machine that stands still, and then go on."""
    async with engine_of_its_own() as engine, open_service(engine.dsn, RULES) as opened:
        looks = looking(opened)
        assert await looks.verdict() == READY
        backend = await opened.pool.fetchval("select pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)
        try:
            assert (await looks.verdict()).faults == {"database": "the database has not answered after 1 s"}
        finally:
            os.kill(backend, signal.SIGCONT)
        await until(looks, READY)
        # Killed, the server recovers by itself: until then it takes no calls.
        os.kill(await opened.pool.fetchval("select pg_backend_pid()"), signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await looks.verdict()).faults:
                await asyncio.sleep(0.001)
        await until(looks, READY)
