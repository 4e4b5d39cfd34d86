"""The scheduler: what is due closes by itself, with any number of schedulers running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from app import billing, due, scheduling
from app.close_progress import close_telling
from app.due import Dealt, close_due_everywhere
from app.engine.launcher import Engine
from app.keys import create_key, system_caller
from app.retries import PAUSE_SECONDS, Retries
from app.scheduling import run_scheduler
from app.service import Caller, Service
from domain.subscription import Subscription
from tests.app.shop import Shop
from tests.conftest import MovingClock
from tests.projections.histories import new_database

PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    """A database of their own: a scheduler closes what is due of every tenant, also of those of other tests."""
    return await new_database(engine, "scheduling")


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.open()
    await opened.customer()
    return opened


def still() -> float:
    """Seconds that do not pass."""
    return 0.0


async def run_of(service: Service, retries: Retries | None = None) -> list[Dealt]:
    return [dealt async for dealt in close_due_everywhere(service, retries or Retries(still))]


def failures(run: list[Dealt]) -> list[str]:
    return [dealt.subscription_id or dealt.tenant_id for dealt in run if dealt.failure]


async def invoices(shop: Shop) -> int:
    return await shop.service.pool.fetchval("select count(*) from invoice where tenant_id = $1", shop.caller.tenant_id)


async def until(shop: Shop, count: int) -> None:
    """Wait for so many invoices."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await invoices(shop) < count:
            await asyncio.sleep(0.01)


async def test_two_schedulers_catch_up_after_a_long_stop(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three months stood still: exactly the due cycles close, each once, their numbers without a gap."""
    monkeypatch.setattr(scheduling, "TICK_SECONDS", 0.01)
    for _ in range(4):
        await shop.subscribe()
    clock.advance(days=91)  # 9 June: March, April and May have ended.
    stop = asyncio.Event()
    running = [asyncio.create_task(run_scheduler(shop.service, stop)) for _ in range(2)]
    await until(shop, 12)
    # Ticks go by in which nothing is due.
    await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*running)
    rows = await shop.stored_invoices()
    assert [row["number"] for row in rows] == [f"INV-{number:06d}" for number in range(1, 13)]
    assert await shop.numbers_given() == 12


async def test_a_scheduler_that_is_stopped_ends_after_the_subscription_at_hand(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await shop.subscribe()
    clock.advance(days=40)
    stop = asyncio.Event()
    deal = close_due_everywhere

    async def stopping(service: Service, retries: Retries) -> AsyncIterator[Dealt]:
        async for dealt in deal(service, retries):
            if dealt.tenant_id == shop.tenant_id:
                stop.set()
            yield dealt

    monkeypatch.setattr(scheduling, "close_due_everywhere", stopping)
    await run_scheduler(shop.service, stop)
    assert await invoices(shop) == 1


@pytest.mark.parametrize("defect", [asyncpg.ConnectionDoesNotExistError, RuntimeError])
async def test_a_failing_tick_is_tried_again(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
) -> None:
    monkeypatch.setattr(scheduling, "TICK_SECONDS", 0.01)
    failed = 0

    async def failing_once(service: Service, retries: Retries) -> AsyncIterator[Dealt]:
        nonlocal failed
        if not failed:
            failed += 1
            raise defect("the database went away")
        async for dealt in close_due_everywhere(service, retries):
            yield dealt

    monkeypatch.setattr(scheduling, "close_due_everywhere", failing_once)
    await shop.subscribe()
    clock.advance(days=40)
    stop = asyncio.Event()
    running = asyncio.create_task(run_scheduler(shop.service, stop))
    await until(shop, 1)
    stop.set()
    await running
    assert failed == 1


def break_closing(monkeypatch: pytest.MonkeyPatch, broken: str, defect: Exception) -> None:
    """Let the facts of one subscription be beyond reading."""
    reckon = billing.reckon

    async def failing(aggregates: Any, subscription: Subscription, *rest: Any) -> Any:
        if subscription.object_id == broken:
            raise defect
        return await reckon(aggregates, subscription, *rest)

    monkeypatch.setattr(billing, "reckon", failing)


@pytest.mark.parametrize("defect", [ValueError("a defect"), asyncpg.NumericValueOutOfRangeError("too large")])
async def test_a_subscription_that_cannot_be_closed_does_not_hold_up_the_others(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, defect: Exception
) -> None:
    subscriptions = sorted([await shop.subscribe() for _ in range(3)])
    clock.advance(days=40)
    break_closing(monkeypatch, subscriptions[0], defect)
    assert failures(await run_of(shop.service)) == [subscriptions[0]]
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
    rules_of = due.rules_of

    async def failing(database: Any, service: Service, tenant_id: str) -> Any:
        if tenant_id == before:
            raise ValueError("a defect")
        return await rules_of(database, service, tenant_id)

    monkeypatch.setattr(due, "rules_of", failing)
    assert failures(await run_of(shop.service)) == [before]
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
        await run_of(Service(lost, clock, shop.service.rules))


async def test_what_keeps_failing_is_told_once_and_left_alone_for_a_while(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    subscription_id = await shop.subscribe()
    clock.advance(days=40)
    seconds = 0.0
    retries = Retries(lambda: seconds)

    async def failed_after(pause: float, reason: str) -> bool:
        nonlocal seconds
        seconds += pause
        with monkeypatch.context() as patched:
            break_closing(patched, subscription_id, ValueError(reason))
            return failures(await run_of(shop.service, retries)) == [subscription_id]

    assert await failed_after(0, "one")
    assert not await failed_after(PAUSE_SECONDS - 1, "one")
    assert await failed_after(1, "one")
    assert not await failed_after(PAUSE_SECONDS, "another")
    assert await failed_after(PAUSE_SECONDS, "another")
    told = [record.exc_text or "" for record in caplog.records if subscription_id in record.getMessage()]
    assert ["another" in text for text in told] == [False, True]
    # Mended, it closes with the next try.
    seconds += 4 * PAUSE_SECONDS
    assert failures(await run_of(shop.service, retries)) == []
    assert await invoices(shop) == 1


async def test_what_another_process_closed_is_forgotten(shop: Shop, clock: MovingClock) -> None:
    retries = Retries(still)
    retries.failed((shop.tenant_id, "sub_none"), "a defect")
    await run_of(shop.service, retries)
    assert retries.ready((shop.tenant_id, "sub_none"))


async def test_a_run_by_hand_tells_how_far_it_is(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.close_progress.REPORT_SECONDS", 0)
    subscriptions = sorted([await shop.subscribe() for _ in range(3)])
    clock.advance(days=70)
    break_closing(monkeypatch, subscriptions[2], ValueError("a defect"))
    lines: list[str] = []
    done = await close_telling(shop.service, lines.append)
    mine = [dealt for dealt in done.failures if dealt.tenant_id == shop.tenant_id]
    assert [(dealt.subscription_id, dealt.failure) for dealt in mine] == [(subscriptions[2], "ValueError: a defect")]
    assert await invoices(shop) == 4
    assert done.closed >= 4
    assert done.subscriptions == done.due >= 3
    assert any(subscriptions[2] in line and "a defect" in line for line in lines)
    assert f"{done.subscriptions} of {done.due} subscriptions" in lines[-1]
    assert subscriptions[2] in done.text()
