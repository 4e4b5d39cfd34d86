"""The projector's loop: rung, sweeping, surviving; and waiting for a position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from app import projecting
from app.limits import POOL_SIZE
from app.projecting import Doorbell, NotProjected, project_most, run_projector, wait_for
from app.service import Caller, Service
from domain.errors import Invalid
from domain.event import UsageEvent
from projections.quantities import SQL as QUANTITIES
from projections.quantities import projected_position
from tests.app.log_rows import record_usage
from tests.app.shop import Shop
from tests.conftest import Api

PATIENCE_SECONDS = 10.0
"""Less than a reader waits for its position."""


async def use(service: Service, caller: Caller, event_id: str) -> int:
    """Record one event; its position."""
    event = UsageEvent(event_id, "api.call", "ada", None, "")
    async with service.pool.acquire() as connection:
        return (await record_usage(connection, caller.tenant_id, [event], service.clock())).position


@asynccontextmanager
async def projector(service: Service, dsn: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(run_projector(service, dsn, stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def projected(service: Service, caller: Caller, position: int) -> None:
    await wait_for(service, caller.tenant_id, position)


async def test_the_bell_wakes_the_projector(
    service: Service, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "SWEEP_SECONDS", 3_600.0)
    async with projector(service, dsn):
        await projected(service, caller, await use(service, caller, "0"))
        bell = Doorbell(service)
        for number in range(1, 4):
            position = await use(service, caller, str(number))
            bell.ring(caller.tenant_id)
            await projected(service, caller, position)


async def test_a_lost_ring_is_found_by_the_sweep(service: Service, caller: Caller, dsn: str) -> None:
    async with projector(service, dsn):
        for number in range(3):
            await projected(service, caller, await use(service, caller, str(number)))


async def test_a_projector_that_loses_its_connection_goes_on(
    service: Service, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "RETRY_SECONDS", 0.01)
    async with projector(service, dsn):
        await projected(service, caller, await use(service, caller, "1"))
        killer = await asyncpg.connect(dsn)
        killed = await killer.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name = 'taximeter projector' and datname = current_database()"
        )
        await killer.close()
        assert killed == 1
        await projected(service, caller, await use(service, caller, "2"))


async def test_a_projector_whose_connection_is_cut_as_it_asks_goes_on(
    service: Service, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver has an error of its own for that, which is none of the database's."""
    monkeypatch.setattr(projecting, "RETRY_SECONDS", 0.01)
    lagging, failures = projecting.lagging, [asyncpg.InternalClientError("cannot switch to state 12")]

    async def failing(database: Any) -> Any:
        if failures:
            raise failures.pop()
        return await lagging(database)

    monkeypatch.setattr(projecting, "lagging", failing)
    async with projector(service, dsn):
        await projected(service, caller, await use(service, caller, "1"))
    assert failures == []


async def test_a_position_that_does_not_come_is_told_after_a_while(
    service: Service, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "WAIT_FOR_POSITION_SECONDS", 0.05)
    position = await use(service, caller, "1")
    with pytest.raises(NotProjected, match=f"position {position} is not projected"):
        await projected(service, caller, position)


async def test_a_position_past_the_log_is_refused_at_once(service: Service, caller: Caller) -> None:
    position = await use(service, caller, "1")
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(Invalid, match=f"at_least: must not be past the end of the log, .* {position}$"):
            await projected(service, caller, position + 1)


async def test_those_who_wait_leave_the_connections_to_others(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More estimates and ``at_least`` readers than connections wait; another request is answered meanwhile."""
    shop = Shop(service, api.caller)
    await shop.open()
    await shop.customer()
    subscription_id = await shop.subscribe()
    position = await use(service, api.caller, "1")
    paths = [f"/meters/calls/usage?at_least={position}"] * POOL_SIZE
    paths += [f"/subscriptions/{subscription_id}/estimate"] * POOL_SIZE
    waiting, polled = [asyncio.create_task(api.get(path)) for path in paths], asyncio.Event()
    looks, look = 0, projecting.projected_position

    async def counted(database: Any, tenant_id: str) -> int:
        nonlocal looks
        looks += 1
        if looks > 2 * len(paths):
            polled.set()
        return await look(database, tenant_id)

    monkeypatch.setattr(projecting, "projected_position", counted)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await polled.wait()
            assert await service.pool.fetchval("select 1") == 1
            assert not any(task.done() for task in waiting)
            await api.project()
            assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("defect", [RuntimeError, asyncpg.NumericValueOutOfRangeError])
async def test_a_tenant_that_cannot_be_projected_does_not_hold_up_the_others(
    service: Service, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
) -> None:
    broken = f"broken{caller.tenant_id}"
    await use(service, Caller(broken, "", "write", ""), "1")
    project_page = projecting.project_page

    async def failing(database: Any, tenant_id: str) -> bool:
        if tenant_id == broken:
            raise defect("a defect")
        return await project_page(database, tenant_id)

    monkeypatch.setattr(projecting, "project_page", failing)
    async with projector(service, dsn):
        await projected(service, caller, await use(service, caller, "1"))


async def test_projecting_before_a_lock_ends_where_the_log_ended_as_it_began(
    service: Service, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where usage never stops, there would be no end."""
    position = await use(service, caller, "0")
    pages, catch_up = 0, projecting.catch_up

    async def with_usage(*args: Any, **more: Any) -> int:
        nonlocal pages
        pages += 1
        await use(service, caller, str(pages))
        return await catch_up(*args, **more)

    monkeypatch.setattr(projecting, "catch_up", with_usage)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await project_most(service, caller.tenant_id)
    assert pages >= 1
    async with service.pool.acquire() as connection:
        assert await projected_position(connection, caller.tenant_id) == position


async def test_projecting_before_a_lock_waits_for_whoever_projects(service: Service, caller: Caller) -> None:
    """Else it would be waited for with the head locked."""
    position = await use(service, caller, "0")
    async with service.pool.acquire() as other:
        await other.execute(QUANTITIES["begin_progress"], caller.tenant_id)
        async with other.transaction():
            assert await other.fetchval(QUANTITIES["lock_progress"], caller.tenant_id) < position
            waiting = asyncio.create_task(project_most(service, caller.tenant_id))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await service.pool.fetchval("select exists (select from pg_locks where not granted)"):
                    await asyncio.sleep(0.01)
            assert not waiting.done()
    await waiting
    async with service.pool.acquire() as connection:
        assert await projected_position(connection, caller.tenant_id) == position
