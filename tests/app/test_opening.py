"""Included credits are granted as cycles open, once, and end with their cycle wherever that comes to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from app.service import Caller, Service
from domain import instant
from domain.plan import ChangeMode
from domain.subscription_events import Status
from tests.app.shop import APRIL, MARCH, MAY, Shop, sms_line, sms_price
from tests.conftest import MovingClock

JANUARY = datetime.fromisoformat("2026-01-01T00:00:00Z")
FEBRUARY = datetime.fromisoformat("2026-02-01T00:00:00Z")
MIDDLE = APRIL + timedelta(days=9, hours=12)


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    """The product ``api`` with 10 credits a cycle, and ``more`` with 25."""
    opened = Shop(service, caller)
    await opened.entitle()
    await opened.open(sms_price("10"))
    await opened.sell("more", sms_price("25"))
    await opened.customer()
    return opened


async def grants(shop: Shop) -> list[tuple[datetime, datetime | None, str]]:
    """Every grant that is ever valid: its beginning, its expiry, its amount."""
    account = (await shop.credits()).account
    usable = [grant for grant in account.grants.values() if grant.expires is None or grant.begins < grant.expires]
    return sorted((grant.begins, grant.expires, str(grant.amount)) for grant in usable)


async def test_cycles_that_open_at_once_are_each_granted_once(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe(anchor=date(2026, 1, 1))
    expected = [(JANUARY, FEBRUARY, "10"), (FEBRUARY, MARCH, "10"), (MARCH, APRIL, "10")]
    assert await grants(shop) == expected
    clock.now = APRIL + timedelta(minutes=1)
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(shop.close_due() for _ in range(3)),
            *(shop.close(subscription_id, JANUARY) for _ in range(3)),
            *(shop.estimate(subscription_id, APRIL) for _ in range(2)),
        )
    assert await grants(shop) == [*expected, (APRIL, MAY, "10")]


async def test_reading_grants_in_memory_only(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await shop.use(MARCH + timedelta(days=1))
    clock.now = MIDDLE
    before = await shop.head_position()
    assert (await shop.balance()).credits == 10
    assert (await shop.estimate(subscription_id, APRIL)).cycle_start == instant.text(APRIL)
    assert await shop.head_position() == before


async def test_a_grant_stays_what_it_was_when_the_price_changes(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await shop.reprice(sms_price(None), MARCH)
    await shop.use(*[MARCH + timedelta(days=1)] * 4)
    assert (await shop.balance()).credits == 6
    await shop.change(subscription_id, status=Status.cancelled)
    assert await grants(shop) == [(MARCH, clock.now, "10")]
    clock.advance(hours=2)
    assert await shop.close_due() != []
    assert await grants(shop) == [(MARCH, datetime.fromisoformat("2026-03-10T12:00:00Z"), "10")]


async def paused(shop: Shop, subscription_id: str) -> None:
    await shop.change(subscription_id, status=Status.paused)


async def cancelled(shop: Shop, subscription_id: str) -> None:
    await shop.change(subscription_id, status=Status.cancelled)


@pytest.mark.parametrize("interrupt", [paused, cancelled])
@pytest.mark.parametrize("opened_before", [True, False])
async def test_what_cuts_a_cycle_ends_its_grant(
    shop: Shop, clock: MovingClock, interrupt: Callable[[Shop, str], Awaitable[None]], opened_before: bool
) -> None:
    subscription_id = await shop.subscribe()
    clock.now = MIDDLE
    if opened_before:
        await shop.close_due()
    await interrupt(shop, subscription_id)
    assert await grants(shop) == [(MARCH, APRIL, "10"), (APRIL, MIDDLE, "10")]
    assert (await shop.balance()).credits == 0


@pytest.mark.parametrize("interrupt", [paused, cancelled])
async def test_a_cycle_that_never_was_grants_nothing(
    shop: Shop, clock: MovingClock, interrupt: Callable[[Shop, str], Awaitable[None]]
) -> None:
    subscription_id = await shop.subscribe()
    clock.now = APRIL
    await shop.close_due()
    assert (await shop.balance()).credits == 10
    await interrupt(shop, subscription_id)
    assert (await shop.balance()).credits == 0
    assert await grants(shop) == [(MARCH, APRIL, "10")]


@pytest.mark.parametrize("later", [timedelta(0), timedelta(days=3)])
async def test_a_pause_and_a_resumption_grant_one_cycle_once(shop: Shop, clock: MovingClock, later: timedelta) -> None:
    subscription_id = await shop.subscribe()
    clock.now = APRIL
    await shop.close_due()
    await paused(shop, subscription_id)
    clock.now += later
    await shop.change(subscription_id, status=Status.active)
    assert (await shop.balance()).credits == 10
    assert [(begins, amount) for begins, _, amount in await grants(shop)] == [(MARCH, "10"), (APRIL + later, "10")]


async def test_a_plan_change_ends_the_old_grant_and_makes_the_new(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    clock.now = MIDDLE
    await shop.replan(subscription_id, "more")
    next_month = datetime.fromisoformat("2026-05-10T12:00:00Z")
    assert await grants(shop) == [(MARCH, APRIL, "10"), (APRIL, MIDDLE, "10"), (MIDDLE, next_month, "25")]
    assert (await shop.balance()).credits == 25


async def test_a_plan_change_that_keeps_the_cycle(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    clock.now = MIDDLE
    await shop.replan(subscription_id, "more", ChangeMode.prorated_immediately_keep_cycle)
    assert await grants(shop) == [(MARCH, APRIL, "10"), (APRIL, MIDDLE, "10"), (MIDDLE, MAY, "25")]


@pytest.mark.parametrize("mode", ChangeMode)
async def test_a_plan_change_at_the_very_start_takes_the_grants_place(
    shop: Shop, clock: MovingClock, mode: ChangeMode
) -> None:
    subscription_id = await shop.subscribe()
    clock.now = APRIL
    await shop.close_due()
    await shop.replan(subscription_id, "more", mode)
    assert await grants(shop) == [(MARCH, APRIL, "10"), (APRIL, MAY, "25")]
    await shop.replan(subscription_id, "api", mode)
    assert await grants(shop) == [(MARCH, APRIL, "10"), (APRIL, MAY, "10")]


async def test_a_cycle_that_never_was_rolls_nothing_over(shop: Shop, clock: MovingClock) -> None:
    await shop.sell("rolling", sms_price("40", rollover_enabled=True, max_rollover_count=1))
    subscription_id = await shop.subscribe(products=["rolling"])
    clock.now = APRIL
    await shop.close(subscription_id)
    await shop.replan(subscription_id, "more")
    # Of March all lives on; of April, whose grant was replaced as it began, nothing does.
    assert (await shop.balance()).credits == 40 + 25
    clock.now = MAY + timedelta(hours=2)
    await shop.close_due()
    assert (await shop.balance()).credits == 25


@pytest.mark.parametrize("to", [APRIL + timedelta(days=20), datetime.fromisoformat("2026-05-20T00:00:00Z")])
async def test_a_grant_follows_its_cycles_moved_end(shop: Shop, clock: MovingClock, to: datetime) -> None:
    subscription_id = await shop.subscribe()
    clock.now = MIDDLE
    await shop.change(subscription_id, next_billing_date=to)
    assert await grants(shop) == [(MARCH, APRIL, "10"), (APRIL, to, "10")]
    clock.now = to
    await shop.close_due()
    assert (await shop.balance()).credits == 10
    assert len(await grants(shop)) == 3


async def test_a_grant_that_expires_in_days_never_outlives_a_cut(shop: Shop, clock: MovingClock) -> None:
    await shop.sell("short", sms_price("7", expires_after_days=20))
    subscription_id = await shop.subscribe(products=["short"])
    ends = MARCH + timedelta(days=20)
    assert await grants(shop) == [(MARCH, ends, "7")]
    await shop.change(subscription_id, next_billing_date=APRIL + timedelta(days=30))
    assert await grants(shop) == [(MARCH, ends, "7")]
    await cancelled(shop, subscription_id)
    assert await grants(shop) == [(MARCH, clock.now, "7")]


@pytest.mark.parametrize(
    ("terms", "in_trial", "afterwards"),
    [
        ({}, 0, 10),
        ({"trial_credits": "3"}, 3, 10),
        ({"trial_credits": "3", "trial_credits_expire_after_trial": False}, 3, 13),
    ],
)
async def test_a_trial_grants_its_own_credits(
    shop: Shop, clock: MovingClock, terms: dict[str, object], in_trial: int, afterwards: int
) -> None:
    await shop.sell("trial", sms_price("10", sms_line(), fixed_price=500, **terms))
    subscription_id = await shop.subscribe(anchor=None, products=["trial"], trial_days=5)
    assert (await shop.balance()).credits == in_trial
    clock.advance(days=5)
    assert (await shop.balance()).credits == afterwards
    (line,) = (await shop.close(subscription_id)).lines
    assert (line.kind, line.amount) == ("usage", 0)
    assert (await shop.balance()).credits == afterwards


async def test_usage_in_a_trial_beyond_its_credits_is_free(shop: Shop, clock: MovingClock) -> None:
    await shop.sell("trial", sms_price("10", trial_credits="3", overage_enabled=True))
    subscription_id = await shop.subscribe(anchor=None, products=["trial"], trial_days=5)
    await shop.use(*[clock.now + timedelta(days=1)] * 8)
    clock.advance(days=5)
    document = await shop.close(subscription_id)
    (line,) = document.lines
    assert (line.credit_units, line.paid_units, line.free_units, document.total_amount) == ("3", "0", "5", 0)
    balance = await shop.balance()
    assert (balance.credits, balance.overage) == (Decimal(10), Decimal(0))


async def test_grants_that_begin_together_burn_in_one_order_whoever_opened_them(
    service: Service, caller: Caller, clock: MovingClock
) -> None:
    """Which subscription's cycle was opened first says nothing of which credits are used first."""
    shop = Shop(service, caller)
    await shop.entitle()
    await shop.open(sms_price("10", expires_after_days=10))
    await shop.sell("lasting", sms_price("10"))
    await shop.customer()
    first = await shop.subscribe()
    second = await shop.subscribe(products=["lasting"])
    clock.now = MAY
    await shop.use(*[APRIL + timedelta(days=1)] * 10, *[APRIL + timedelta(days=20)] * 10)
    expected = [(await shop.estimate(one, APRIL)).lines for one in (first, second)]
    closed = {one: (await shop.close(one, APRIL)).lines for one in sorted((first, second), reverse=True)}
    assert [closed[first], closed[second]] == expected
