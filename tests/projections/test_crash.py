"""A database that is killed: what was answered stays; what was derived is derived again, nothing lost or doubled."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncpg

from app.commands import open_service, prepare
from app.engine.launcher import Engine, embedded
from app.keys import create_key, system_caller
from app.projecting import project_all
from app.service import Caller, Service
from projections.quantities import projected_position
from tests.app.shop import Shop
from tests.conftest import RULES

TENANT = "crash"


async def shop_of(service: Service) -> Shop:
    key_id, _ = await create_key(service, system_caller(TENANT), scope="write")
    shop = Shop(service, Caller(TENANT, key_id, "write", "test"))
    await shop.customer()
    await shop.open()
    return shop


async def counted(service: Service) -> tuple[int, int]:
    """How far the quantities are, and what they count, read in one snapshot."""
    async with service.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        position = await projected_position(connection, TENANT)
        events = await connection.fetchval(
            "select coalesce(sum(events), 0) from quantity where tenant_id = $1 and meter_id = 'calls'", TENANT
        )
    return position, int(events)


async def recorded(service: Service, until: int) -> int:
    """The usage events that the log holds up to a position."""
    return await service.pool.fetchval(
        "select count(*) from log.commit c join log.usage_event u on u.tenant_id = c.tenant_id and u.batch = c.batch"
        " where c.tenant_id = $1 and c.first_position + u.ordinal <= $2",
        TENANT,
        until,
    )


async def flush_late(engine: Engine) -> None:
    """Let nothing be written to disk that nobody waits for."""
    owner = await asyncpg.connect(engine.dsn)
    try:
        await owner.execute("alter system set wal_writer_delay = '10s'")
        await owner.execute("select pg_reload_conf()")
    finally:
        await owner.close()


def kill_at_once(engine: Engine) -> None:
    """Every process of the server, so that none can write what is in memory only."""
    postmaster = int((engine.data_directory / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for pid in [postmaster, *map(int, children)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_derived_pages_that_a_crash_takes_away_are_folded_again(tmp_path: Path) -> None:
    async with embedded(tmp_path / "home") as engine:
        await prepare(engine.dsn)
        await flush_late(engine)
        async with open_service(engine.dsn, RULES) as service:
            shop = await shop_of(service)
            await shop.use(service.clock(), service.clock())
            await project_all(service)
            await shop.use(*[service.clock()] * 5)
            answered = await shop.head_position()
            before, _ = await counted(service)
            # The walwriter sleeps at most so long before it has read its new setting.
            await asyncio.sleep(0.5)
            await project_all(service)
            assert await counted(service) == (answered, 7)
            kill_at_once(engine)
    async with embedded(tmp_path / "home") as engine, open_service(engine.dsn, RULES) as service:
        position, events = await counted(service)
        assert before <= position < answered, "the page was on disk: this test shows nothing"
        assert events == await recorded(service, position)
        assert await recorded(service, answered) == 7
        await project_all(service)
        assert await counted(service) == (answered, 7)
