"""Credits on real cycles: who draws what, what is left, what it costs, late or on time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from app.invoicing import void
from app.service import Caller, Service
from app.voiding import void_events
from domain.entitlement import BurnOrder, Overage, OverageBehavior, Rollover
from domain.errors import Insufficient
from domain.invoice import Document
from domain.price import MeterPrice
from domain.rating import Line, LineKind
from tests.app.shop import APRIL, MARCH, MAY, Shop, sms_line, sms_price
from tests.conftest import MovingClock

JUNE = datetime.fromisoformat("2026-06-01T00:00:00Z")
SOON = timedelta(hours=2)
DAY = timedelta(days=1)


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.customer()
    return opened


async def calls(shop: Shop, count: int, at: datetime = MARCH + DAY) -> None:
    await shop.use(*[at + timedelta(seconds=number) for number in range(count)])


def units(document: Document, meter_id: str = "calls") -> tuple[str, str, str, int]:
    """Free, credit and paid units of the meter's line, and its amount."""
    (line,) = [one for one in document.lines if one.meter_id == meter_id and one.kind is LineKind.usage]
    return line.free_units, line.credit_units, line.paid_units, line.amount


def of_kind(document: Document, kind: LineKind) -> list[Line]:
    return [line for line in document.lines if line.kind is kind]


async def balance(shop: Shop) -> tuple[Decimal, Decimal]:
    found = await shop.balance()
    return found.credits, found.overage


# What credits cover.


async def test_the_threshold_first_then_credits_then_money(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle()
    await shop.open(sms_price("5", sms_line(free_threshold="2", meter_units_per_credit="2")))
    subscription_id = await shop.subscribe()
    await calls(shop, 15)
    assert await balance(shop) == (0, 0)
    clock.now = APRIL
    assert units(await shop.close(subscription_id)) == ("2", "10", "3", 3)


async def test_what_is_left_lapses_with_the_cycle(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle()
    await shop.open(sms_price("5"))
    subscription_id = await shop.subscribe()
    await calls(shop, 2)
    assert await balance(shop) == (3, 0)
    clock.now = APRIL + SOON
    assert await balance(shop) == (5, 0)
    await calls(shop, 7, APRIL)
    assert units(await shop.close(subscription_id)) == ("0", "2", "0", 0)
    clock.now = MAY
    assert units(await shop.close(subscription_id)) == ("0", "5", "2", 2)


async def test_an_expiry_is_judged_at_the_time_of_the_usage(shop: Shop, clock: MovingClock) -> None:
    """The grant by hand is valid from 10 to 20 March, whenever the cycle is closed, and both subscriptions share it."""
    await shop.entitle()
    await shop.open(sms_price(None))
    first, second = sorted([await shop.subscribe(), await shop.subscribe()])
    await shop.credit("7", expires_at=MARCH + 19 * DAY)
    await calls(shop, 3, MARCH + DAY)
    clock.now = MARCH + 25 * DAY
    await calls(shop, 4, MARCH + 12 * DAY)
    await calls(shop, 5, MARCH + 24 * DAY)
    await shop.credit("1")
    clock.now = APRIL
    expected = (await shop.estimate(second)).lines
    assert units(await shop.close(first)) == ("0", "4", "8", 8)
    clock.now = MAY + 90 * DAY
    await shop.credit("1000")
    late = await shop.close(second, MARCH)
    assert (units(late), late.lines) == (("0", "3", "9", 9), expected)


async def test_a_debit_takes_only_what_usage_leaves(shop: Shop) -> None:
    await shop.entitle()
    await shop.open(sms_price("5"))
    await shop.subscribe()
    await calls(shop, 2)
    with pytest.raises(Insufficient):
        await shop.debit("3.01")
    await shop.debit("3")
    await calls(shop, 4, MARCH + 2 * DAY)
    assert await balance(shop) == (0, 0)


async def test_claims_settle_by_cycle_end_then_subscription_then_line(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle()
    tokens = sms_line("tokens", meter_units_per_credit="2")
    await shop.open(sms_price(None, sms_line(), tokens))
    early = await shop.subscribe(anchor=date(2026, 2, 15))
    late = await shop.subscribe(anchor=date(2026, 3, 1))
    await shop.credit("10")
    at = clock.now + timedelta(minutes=1)
    clock.advance(hours=1)
    await calls(shop, 4, at)
    clock.now = MAY
    # The cycle that ends on 15 March wants 4 + 2 and gets all; of the other, calls get 4 and tokens none.
    assert [line.credit_units for line in (await shop.close(late, MARCH)).lines] == ["4", "0"]
    assert [
        line.credit_units for line in (await shop.close(early, datetime.fromisoformat("2026-02-15T00:00Z"))).lines
    ] == [
        "4",
        "4",
    ]


@pytest.mark.parametrize(("order", "left"), [(BurnOrder.oldest, 5), (BurnOrder.earliest_expiry, 10)])
async def test_which_grant_is_drawn_on_first(shop: Shop, clock: MovingClock, order: BurnOrder, left: int) -> None:
    await shop.entitle(burn_order=order)
    await shop.open(sms_price(None))
    await shop.subscribe()
    await shop.credit("10")
    clock.advance(hours=1)
    await shop.credit("5", expires_at=APRIL)
    clock.advance(hours=1)
    await calls(shop, 5, clock.now)
    clock.now = APRIL
    assert await balance(shop) == (left, 0)


# What is not covered.


@pytest.mark.parametrize(
    ("behavior", "price", "amounts", "outstanding"),
    [
        (OverageBehavior.forgive_at_reset, None, [], 0),
        (OverageBehavior.invoice_at_billing, "3", [12], 0),
        (OverageBehavior.carry_deficit, "3", [], 4),
        (OverageBehavior.carry_deficit_auto_repay, "3", [], 0),
    ],
)
@pytest.mark.parametrize("priced", [True, False])
async def test_overage_by_behavior(
    shop: Shop,
    clock: MovingClock,
    behavior: OverageBehavior,
    price: str | None,
    amounts: list[int],
    outstanding: int,
    priced: bool,
) -> None:
    """5 credits, 11 calls, a limit of 4. A line with a price of its own has no overage."""
    await shop.entitle(
        overage=Overage(enabled=True, behavior=behavior, limit="4"), currency="USD", price_per_unit=price
    )
    await shop.open(sms_price("5", sms_line(price_per_unit="1" if priced else None)))
    subscription_id = await shop.subscribe()
    await calls(shop, 11)
    assert await balance(shop) == (0, 0 if priced else 4)
    clock.now = APRIL + SOON
    estimate = await shop.estimate(subscription_id)
    document = await shop.close(subscription_id)
    assert document.lines == estimate.lines
    assert units(document) == ("0", "5", "6", 6 if priced else 0)
    assert [line.amount for line in of_kind(document, LineKind.overage)] == ([] if priced else amounts)
    repays = behavior is OverageBehavior.carry_deficit_auto_repay and not priced
    assert await balance(shop) == (1 if repays else 5, 0 if priced else outstanding)


# What lives on.


async def test_a_rollover_by_percentage_and_count(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle(rollover=Rollover(enabled=True, percentage=50, max_count=1))
    await shop.open(sms_price("9"))
    subscription_id = await shop.subscribe()
    await calls(shop, 4)
    clock.now = APRIL + SOON
    await shop.close(subscription_id)
    assert await balance(shop) == (Decimal("2.5") + 9, 0)
    rolled = (await shop.credits()).account.rolled
    clock.now = MAY + SOON
    # The child of March has been rolled over as often as it may be; half of April's 9 lives on.
    assert await balance(shop) == (Decimal("4.5") + 9, 0)
    await shop.close(subscription_id)
    assert await balance(shop) == (Decimal("4.5") + 9, 0)
    assert list(rolled.values()) == [Decimal("2.5")]


@pytest.mark.parametrize("later_first", [False, True])
async def test_cycles_that_are_closed_out_of_order_roll_over_alike(
    shop: Shop, clock: MovingClock, later_first: bool
) -> None:
    await shop.entitle(rollover=Rollover(enabled=True))
    await shop.open(sms_price("9"))
    subscription_id = await shop.subscribe()
    await calls(shop, 4)
    await calls_ahead(shop, clock, 12, APRIL + DAY)
    clock.now = MAY + SOON
    order = (APRIL, MARCH) if later_first else (MARCH, APRIL)
    closed = {start: await shop.close(subscription_id, start) for start in order}
    assert units(closed[MARCH]) == ("0", "4", "0", 0)
    assert units(closed[APRIL]) == ("0", "12", "0", 0)
    assert await balance(shop) == (2 + 9, 0)
    recorded = [grant for grant in (await shop.credits()).account.grants.values() if grant.rollover_count]
    # What was rolled over is drawn on first, so of April's own 9 are 2 left.
    assert sorted((grant.begins, grant.amount) for grant in recorded) == [(APRIL, 5), (MAY, 2)]
    await calls(shop, 1, MARCH + 2 * DAY)
    clock.now = JUNE
    assert [line.amount for line in of_kind(await shop.close(subscription_id), LineKind.adjustment)] == [1]


async def calls_ahead(shop: Shop, clock: MovingClock, count: int, at: datetime) -> None:
    clock.now = at
    await calls(shop, count, at)


async def test_a_rollover_waits_for_nothing_that_the_price_says_now(shop: Shop, clock: MovingClock) -> None:
    """The grant of a version that was replaced since is rolled over when its cycle closes, all the same."""
    await shop.entitle(rollover=Rollover(enabled=True, max_count=1))
    await shop.open(sms_price("9"))
    subscription_id = await shop.subscribe()
    await shop.reprice(sms_price(None, MeterPrice(meter_id="calls", price_per_unit="1")), MARCH)
    clock.now = APRIL + SOON
    await shop.close(subscription_id)
    account = (await shop.credits()).account
    assert list(account.rolled.values()) == [9]
    assert await balance(shop) == (9, 0)


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_cut_cycle_rolls_over_into_the_one_after_it(shop: Shop, clock: MovingClock, at_once: bool) -> None:
    await shop.entitle(rollover=Rollover(enabled=True, max_count=1))
    await shop.open(sms_price("9"))
    await shop.sell("more", sms_price("20"))
    subscription_id = await shop.subscribe(anchor=date(2026, 1, 1))
    clock.now = APRIL + 9 * DAY
    if not at_once:
        await shop.close_due()
    await shop.replan(subscription_id, "more")
    children = [one for one in (await shop.credits()).settlement.grants.values() if one.rollover_count]
    newest = max((one for one in children if one.begins <= clock.now), key=lambda one: one.begins)
    assert (newest.begins, newest.expires) == (APRIL + 9 * DAY, datetime.fromisoformat("2026-05-10T00:00:00Z"))


# Late usage.


async def closed_march(shop: Shop, clock: MovingClock, count: int) -> str:
    """10 credits a cycle and 100 by hand for ever; March has so many calls and is closed."""
    await shop.entitle()
    await shop.open(sms_price("10"))
    subscription_id = await shop.subscribe()
    await calls(shop, count)
    clock.now = APRIL + SOON
    await shop.close(subscription_id)
    await shop.credit("100")
    return subscription_id


async def test_late_usage_burns_only_what_lapsed(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await closed_march(shop, clock, 7)
    await calls(shop, 5, MARCH + 3 * DAY)
    clock.now = MAY
    document = await shop.close(subscription_id)
    (line,) = of_kind(document, LineKind.adjustment)
    assert (line.credit_units, line.paid_units, line.amount) == ("3", "2", 2)
    assert await balance(shop) == (110, 0)
    await calls(shop, 1, MARCH + 4 * DAY)
    clock.now = JUNE
    (line,) = of_kind(await shop.close(subscription_id), LineKind.adjustment)
    assert (line.credit_units, line.paid_units, line.amount) == ("0", "1", 1)


async def test_a_retraction_frees_credits_that_lapse_at_once(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await closed_march(shop, clock, 12)
    await void_events(shop.service, shop.caller, [f"e{number}" for number in range(5)], "sent twice")
    clock.now = MAY
    document = await shop.close(subscription_id)
    (line,) = of_kind(document, LineKind.adjustment)
    assert (line.credit_units, line.paid_units, line.amount) == ("-3", "-2", -2)
    assert (await balance(shop), await shop.wallet()) == ((110, 0), 2)


async def test_corrections_that_stand_when_their_cycle_is_void(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await closed_march(shop, clock, 7)
    march = (await shop.stored_invoices())[0]["document"]
    await calls(shop, 5, MARCH + 3 * DAY)
    clock.now = MAY
    april = await shop.close(subscription_id)
    await shop.credits()
    await void(shop.service, shop.caller, march.split('"')[3], None)
    await shop.credits()
    again = await shop.close(subscription_id, MARCH)
    assert units(again) == ("0", "10", "2", 2)
    assert [line.amount for line in of_kind(again, LineKind.adjustment)] == [-2]
    burned = (await shop.credits()).settlement.standing
    assert sorted(sum(line.draws.values()) for line in burned.values()) == [10]
    await void(shop.service, shop.caller, str(april.invoice_id), None)
    april = await shop.close(subscription_id, APRIL)
    # The correction that took the first one back is taken back in turn.
    assert [line.amount for line in of_kind(april, LineKind.adjustment)] == [2]
    burned = (await shop.credits()).settlement.standing
    assert sorted(sum(line.draws.values()) for line in burned.values()) == [10]
