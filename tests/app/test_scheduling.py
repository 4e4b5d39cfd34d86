"""The scheduler: what is due closes by itself, with any number of schedulers running."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from app import billing, scheduling
from app.billing import ClosedEverywhere, close_due_everywhere
from app.keys import create_key, system_caller
from app.scheduling import run_scheduler
from app.service import Caller, Service
from domain.subscription import Subscription
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


@pytest.mark.parametrize("defect", [asyncpg.ConnectionDoesNotExistError, RuntimeError])
async def test_a_failing_tick_is_tried_again(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
) -> None:
    monkeypatch.setattr(scheduling, "TICK_SECONDS", 0.01)
    failures = 0

    async def failing_once(service: Service) -> ClosedEverywhere:
        nonlocal failures
        if not failures:
            failures += 1
            raise defect("the database went away")
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


def break_closing(monkeypatch: pytest.MonkeyPatch, broken: str, defect: Exception) -> None:
    """Let the facts of one subscription be beyond reading."""
    cycle_facts = billing.cycle_facts

    async def failing(database: Any, tenant_id: str, subscription: Subscription, *rest: Any) -> Any:
        if subscription.object_id == broken:
            raise defect
        return await cycle_facts(database, tenant_id, subscription, *rest)

    monkeypatch.setattr(billing, "cycle_facts", failing)


@pytest.mark.parametrize("defect", [ValueError("a defect"), asyncpg.NumericValueOutOfRangeError("too large")])
async def test_a_subscription_that_cannot_be_closed_does_not_hold_up_the_others(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, defect: Exception
) -> None:
    subscriptions = sorted([await shop.subscribe() for _ in range(3)])
    clock.advance(days=40)
    break_closing(monkeypatch, subscriptions[0], defect)
    assert (await close_due_everywhere(shop.service)).failed == 1
    assert await invoices(shop) == 2
    (told,) = [record for record in caplog.records if subscriptions[0] in record.getMessage()]
    assert told.exc_info is not None
    # Who asks for one tenant is told by the answer.
    with pytest.raises(type(defect)):
        await shop.close_due()


async def test_a_tenant_that_cannot_be_closed_does_not_hold_up_the_others(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = f"a{shop.tenant_id}"
    await create_key(shop.service, system_caller(before), scope="write")
    await shop.subscribe()
    clock.advance(days=40)
    rules_of = billing.rules_of

    async def failing(database: Any, service: Service, tenant_id: str) -> Any:
        if tenant_id == before:
            raise ValueError("a defect")
        return await rules_of(database, service, tenant_id)

    monkeypatch.setattr(billing, "rules_of", failing)
    assert (await close_due_everywhere(shop.service)).failed == 1
    assert await invoices(shop) == 1


class LostPool:
    """A pool whose database does not take calls any more when it is asked whether it lives."""

    def __init__(self, pool: Any) -> None:
        self.acquire, self.fetch = pool.acquire, pool.fetch

    async def execute(self, *_: object) -> str:
        raise ConnectionRefusedError("nobody is there")


async def test_a_lost_database_ends_the_run(shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else could be closed either, and one line says it better than one for each tenant."""
    subscription_id = await shop.subscribe()
    clock.advance(days=40)

    lost: Any = LostPool(shop.service.pool)
    break_closing(monkeypatch, subscription_id, ConnectionResetError("it hung up"))
    with pytest.raises(ConnectionRefusedError):
        await close_due_everywhere(Service(lost, clock, shop.service.rules))
