"""Simulations of small histories, each amount reckoned by hand, and what a run does to the service: nothing."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from app.invoicing import void
from app.simulating.question import Question
from app.simulating.running import Advanced, Begun, simulate
from app.voiding import void_events
from domain.aggregation import read_aggregation
from domain.errors import Conflict, Invalid
from domain.instant import EPOCH
from domain.meter import Meter
from domain.price import IncludedCredits, MeterPrice
from domain.proposal import ProductChange, Proposal, Span
from domain.rating import LineKind
from tests.app.shop import APRIL, MARCH, MAY, Shop, sms_line, sms_price
from tests.app.simulating.asking import EVER, cycles_of, repriced, simulated
from tests.conftest import MovingClock

JUNE = datetime.fromisoformat("2026-06-01T00:00:00Z")


def march(day: int, seconds: int = 0) -> datetime:
    return MARCH + timedelta(days=day - 1, seconds=seconds)


async def closed_march(shop: Shop, clock: MovingClock, calls: int = 12) -> str:
    """A subscription whose March had so many calls and is invoiced."""
    subscription_id = await shop.subscribe()
    await shop.use(*[march(2, second) for second in range(calls)])
    clock.now = APRIL + timedelta(hours=2)
    await shop.close(subscription_id, MARCH)
    return subscription_id


async def test_another_price_changes_the_one_line(shop: Shop, clock: MovingClock) -> None:
    await closed_march(shop, clock)
    (march, april) = await cycles_of(shop, repriced("2", free_threshold="2"))
    # 10 calls beyond 2: 5 minor units at half a one each, 20 at two.
    assert [line.amount for line in march.current.lines] == [5]
    assert [line.amount for line in march.proposed.lines] == [20]
    assert march.reproduced
    assert (march.difference, april.difference) == (15, 0)
    assert april.recorded is None


async def test_another_threshold_changes_the_units_alone(shop: Shop, clock: MovingClock) -> None:
    await closed_march(shop, clock)
    (march, _) = await cycles_of(shop, Proposal({"api": ProductChange(thresholds={"calls": "7"})}))
    (line,) = march.proposed.lines
    assert (line.free_units, line.paid_units, line.price_per_unit, line.amount) == ("7", "5", "0.5", 3)


async def test_another_fee_and_a_line_left_out(shop: Shop, clock: MovingClock) -> None:
    await closed_march(shop, clock)
    change = ProductChange(fixed_price=250, without=("calls",))
    (march, _) = await cycles_of(shop, Proposal({"api": change}))
    assert [(line.kind, line.amount) for line in march.proposed.lines] == [(LineKind.fixed, 250)]


async def test_late_usage_counts_in_its_own_cycle(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await closed_march(shop, clock)
    await shop.use(march(31), march(31, 1))
    (march_cycle, _) = await cycles_of(shop, repriced("1", free_threshold="2"))
    # Not corrected on an invoice yet: 12 calls are paid, and the invoice knows 10.
    assert (march_cycle.current.subtotal_amount, march_cycle.proposed.subtotal_amount) == (6, 12)
    assert march_cycle.reproduced is False
    clock.now = MAY + timedelta(hours=2)
    await shop.close(subscription_id)
    (march_cycle, april, _) = await cycles_of(shop, repriced("1", free_threshold="2"))
    assert march_cycle.recorded is not None
    assert (march_cycle.recorded.amount, march_cycle.reproduced) == (6, True)
    # The correction stands on April's invoice, and is none of its own lines.
    assert (april.current.subtotal_amount, april.reproduced) == (0, True)


async def test_retracted_usage_counts_nowhere(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await closed_march(shop, clock)
    await void_events(shop.service, shop.caller, ["e0", "e1"], "sent twice")
    clock.now = MAY + timedelta(hours=2)
    await shop.close(subscription_id)
    (march, _, _) = await cycles_of(shop)
    assert (march.current.subtotal_amount, march.reproduced) == (4, True)


async def test_a_voided_invoice_is_an_open_cycle_until_it_is_issued_again(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await closed_march(shop, clock)
    (bill, _) = await cycles_of(shop)
    assert bill.recorded is not None
    await void(shop.service, shop.caller, str(bill.recorded.document.invoice_id), None)
    assert [cycle.recorded for cycle in await cycles_of(shop)] == [None, None]
    again = await shop.close(subscription_id, MARCH)
    (march, _) = await cycles_of(shop)
    assert march.recorded is not None
    assert (march.recorded.document.invoice_id, march.reproduced) == (again.invoice_id, True)


async def test_a_closed_cycle_keeps_the_price_that_its_invoice_knew(shop: Shop, clock: MovingClock) -> None:
    await closed_march(shop, clock)
    price = sms_price(None, MeterPrice(meter_id="calls", price_per_unit="9"))
    await shop.reprice(price, MARCH)
    (march, april) = await cycles_of(shop, Proposal({"api": ProductChange(thresholds={"calls": "0"})}))
    assert march.reproduced
    assert (march.proposed.lines[0].price_per_unit, april.proposed.lines[0].price_per_unit) == ("0.5", "9")


async def test_the_span_is_of_the_cycles_that_end_in_it(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await closed_march(shop, clock)
    clock.now = MAY + timedelta(hours=2)
    await shop.close(subscription_id)
    starts = {
        span: [cycle.current.cycle_start[:10] for cycle in await cycles_of(shop, span=span)]
        for span in (EVER, Span(APRIL, MAY), Span(end=APRIL), Span(start=MAY, end=JUNE), Span(open_only=True))
    }
    assert list(starts.values()) == [
        ["2026-03-01", "2026-04-01", "2026-05-01"],
        ["2026-03-01"],
        [],
        ["2026-04-01"],
        ["2026-05-01"],
    ]


async def test_what_a_month_leaves_of_more_credits_flows_into_the_next(shop: Shop, clock: MovingClock) -> None:
    """Ten credits a month, rolled over; twelve calls in March and fifteen in April. With twenty a month all is free."""
    await shop.entitle()
    included = {"rollover_enabled": True, "rollover_percentage": 100}
    await shop.sell("texts", sms_price("10", sms_line(), **included))
    subscription_id = await shop.subscribe(products=["texts"])
    await shop.use(*[march(2, second) for second in range(12)])
    clock.now = APRIL + timedelta(hours=2)
    await shop.close(subscription_id)
    await shop.use(*[APRIL + timedelta(days=2, seconds=second) for second in range(26)])
    clock.now = MAY + timedelta(hours=2)
    await shop.close(subscription_id)
    more = IncludedCredits(credit_entitlement_id="sms", credits_amount="20", **included)
    (first, second, third) = await cycles_of(shop, Proposal({"texts": ProductChange(credits=(more,))}))
    assert [cycle.reproduced for cycle in (first, second, third)] == [True, True, None]
    assert [line.credit_units for cycle in (first, second) for line in cycle.current.lines] == ["10", "10"]
    # 8 of March's 20 are left, so April has 28 for its 26 calls.
    assert [line.credit_units for cycle in (first, second) for line in cycle.proposed.lines] == ["12", "26"]
    assert (first.proposed.subtotal_amount, second.proposed.subtotal_amount) == (0, 0)
    # What is outside of the span stays: without March, its rest is what it was, and April has 20 of its own.
    (april,) = await cycles_of(
        shop, Proposal({"texts": ProductChange(credits=(more,))}), Span(start=MAY, end=MAY + timedelta(days=1))
    )
    assert april.proposed.lines[0].credit_units == "20"


async def test_debits_by_hand_stay_when_other_credits_are_included(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle()
    await shop.sell("texts", sms_price("10", sms_line()))
    subscription_id = await shop.subscribe(products=["texts"])
    await shop.debit("4")
    await shop.use(*[march(2, second) for second in range(12)])
    clock.now = APRIL + timedelta(hours=2)
    await shop.close(subscription_id)
    fewer = IncludedCredits(credit_entitlement_id="sms", credits_amount="5")
    (cycle, _) = await cycles_of(shop, Proposal({"texts": ProductChange(credits=(fewer,))}))
    assert cycle.reproduced
    assert (cycle.current.lines[0].credit_units, cycle.proposed.lines[0].credit_units) == ("6", "1")


async def test_the_wallet_pays_what_it_would_have_had_left(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await shop.pay_in(12)
    await shop.use(*[march(2, second) for second in range(12)])
    clock.now = APRIL + timedelta(hours=2)
    await shop.close(subscription_id)
    await shop.use(*[APRIL + timedelta(seconds=second) for second in range(12)])
    clock.now = MAY + timedelta(hours=2)
    await shop.close(subscription_id)
    (first, second, _) = await cycles_of(shop, repriced("0.8", free_threshold="2"))
    assert [cycle.current.wallet_amount for cycle in (first, second)] == [5, 5]
    assert [cycle.proposed.wallet_amount for cycle in (first, second)] == [8, 4]
    # The difference is of what is owed, whoever pays it.
    assert [cycle.difference for cycle in (first, second)] == [3, 3]


@pytest.mark.parametrize(
    ("aggregation", "condition", "quantity"),
    [
        ({"type": "count"}, "", "6"),
        ({"type": "sum", "key": "n"}, "", "15"),
        ({"type": "max", "key": "n"}, "", "5"),
        ({"type": "last", "key": "n"}, "", "5"),
        ({"type": "unique", "key": "n"}, "", "6"),
        (
            {"type": "count"},
            '{"conjunction":"and","clauses":[{"key":"n","operator":"greater_than","value":3}]}',
            "2",
        ),
    ],
)
async def test_a_new_meter_counts_what_was_sent_before_it(
    shop: Shop, clock: MovingClock, aggregation: dict[str, str], condition: str, quantity: str
) -> None:
    await shop.subscribe()
    await shop.record([(march(2, second), f'{{"n": {second}}}') for second in range(6)])
    # One before the cycle, one of somebody else, and one that was taken back.
    await shop.record([(MARCH - timedelta(microseconds=1), '{"n": 100}')])
    await shop.use(march(3), customer_id="bob", metadata='{"n": 100}')
    await shop.use(march(3), metadata='{"n": 100}')
    await void_events(shop.service, shop.caller, ["e8"], "")
    meter = Meter.create(
        "proposed",
        name="Proposed",
        event_name="call",
        aggregation=read_aggregation(aggregation),
        filter=condition,
        measurement_unit="unit",
        description=None,
        at=EPOCH,
    )
    change = ProductChange(meters=(MeterPrice(meter_id="proposed", price_per_unit="3"),), without=("calls",))
    (cycle,) = await cycles_of(shop, Proposal({"api": change}, {"proposed": meter}))
    (line,) = cycle.proposed.lines
    assert (line.consumed_units, line.amount) == (quantity, 3 * int(quantity))
    assert line.description.startswith("API: Proposed")


async def test_the_totals_say_who_pays_more_and_who_less(shop: Shop, clock: MovingClock) -> None:
    for customer_id, calls in (("bob", 1), ("cyd", 30)):
        await shop.customer(customer_id)
        await shop.subscribe(customer_id)
        await shop.use(*[march(2, second) for second in range(calls)], customer_id=customer_id)
    await closed_march(shop, clock)
    # Everybody pays a fee of 4, and nothing for the first 20 calls.
    change = ProductChange(fixed_price=4, thresholds={"calls": "20"})
    customers, totals = await simulated(shop, Proposal({"api": change}), Span(end=MAY))
    differences = {one.customer_id: [amounts.difference for amounts in one.amounts()] for one in customers}
    assert differences == {"ada": [-1], "bob": [4], "cyd": [-5]}
    (usd,) = totals.by_currency.values()
    assert (usd.more, usd.less, usd.same) == (1, 2, 0)
    assert (usd.amounts.current, usd.amounts.proposed, usd.amounts.difference) == (19, 17, -2)
    assert (totals.customers, totals.cycles, totals.invoices, totals.reproduced) == (3, 3, 1, 1)


async def test_only_the_customers_that_are_named(shop: Shop, clock: MovingClock) -> None:
    await shop.customer("bob")
    for customer_id in ("ada", "bob"):
        await shop.subscribe(customer_id)
    question = Question(Proposal(), EVER, ["bob", "nobody"])
    steps = [step async for step in simulate(shop.service, shop.caller, question, rests=0)]
    assert isinstance(steps[0], Begun)
    assert steps[0].customers == 1
    assert [step.customers for step in steps if isinstance(step, Advanced)] == [1]


async def test_nothing_is_recorded(shop: Shop, clock: MovingClock) -> None:
    await closed_march(shop, clock)
    before = await shop.head_position(), await shop.numbers_given()
    await simulated(shop, repriced("2"))
    assert (await shop.head_position(), await shop.numbers_given()) == before


async def test_a_second_one_is_refused_until_the_first_has_ended(shop: Shop, clock: MovingClock) -> None:
    await closed_march(shop, clock)
    first = simulate(shop.service, shop.caller, Question(), rests=0)
    await anext(first)
    with pytest.raises(Conflict, match="another simulation is running"):
        await simulated(shop)
    await first.aclose()
    await simulated(shop)


async def test_one_that_is_cancelled_at_work_leaves_room_for_the_next(shop: Shop, clock: MovingClock) -> None:
    await closed_march(shop, clock)
    begun = asyncio.Event()

    async def listen() -> None:
        async for _ in simulate(shop.service, shop.caller, Question(), rests=1_000_000):
            begun.set()

    listening = asyncio.create_task(listen())
    await begun.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await simulated(shop)


async def test_a_span_that_is_too_large_is_refused(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await closed_march(shop, clock)
    monkeypatch.setattr("app.simulating.running.SIMULATED_CYCLES_MAX", 1)
    with pytest.raises(Invalid, match="more than 1 cycles"):
        await simulated(shop)
