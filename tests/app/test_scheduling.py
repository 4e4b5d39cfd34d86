"""The scheduler: what is due closes by itself, with any number of schedulers running."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from app import scheduling
from app.scheduling import run_scheduler
from app.service import Caller, Service
from tests.app.shop import Shop
from tests.conftest import MovingClock

PATIENCE_SECONDS = 30.0


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.open()
    await opened.customer()
    return opened


async def invoices(shop: Shop) -> int:
    return await shop.service.pool.fetchval("select count(*) from invoice where tenant_id = $1", shop.caller.tenant_id)


async def test_two_schedulers_close_what_is_due_once(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "TICK_SECONDS", 0.01)
    await shop.subscribe()
    clock.advance(days=70)
    stop = asyncio.Event()
    running = [asyncio.create_task(run_scheduler(shop.service, stop)) for _ in range(2)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await invoices(shop) < 2:
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*running)
    assert await invoices(shop) == 2


async def test_a_failing_tick_is_tried_again(shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "TICK_SECONDS", 0.01)
    close_due_everywhere, failures = scheduling.close_due_everywhere, 0

    async def failing_once(service: Service) -> int:
        nonlocal failures
        if not failures:
            failures += 1
            raise asyncpg.ConnectionDoesNotExistError("the database went away")
        return await close_due_everywhere(service)

    monkeypatch.setattr(scheduling, "close_due_everywhere", failing_once)
    await shop.subscribe()
    clock.advance(days=40)
    stop = asyncio.Event()
    running = asyncio.create_task(run_scheduler(shop.service, stop))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await invoices(shop):
            await asyncio.sleep(0.01)
    stop.set()
    await running
    assert failures == 1
