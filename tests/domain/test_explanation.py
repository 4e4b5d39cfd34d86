"""A line explained: whatever the price model, its steps come to what rating says, and what differs is said loudly."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.aggregation import Aggregation, Kind, Last, Summary, quantity
from domain.explanation import AdjustedMeter, Basis, Explanation, Invoiced, explain
from domain.invoice import Document, Subject, compose
from domain.line_steps import CountedUsage, DrawnCredits, GrantDraw
from domain.price import FeeRule, MeterPrice
from domain.rating import (
    Computation,
    CountedOverage,
    CycleFacts,
    MeterUsage,
    RatedProduct,
    Tax,
    adjustment_line,
    computation_of,
    rate,
)
from domain.tier import Tier, TierMode
from tests.app.shop import price_of

START, MIDDLE, END = (datetime(2026, 3, day, tzinfo=UTC) for day in (1, 11, 31))
TIERS = (Tier(up_to="10", price_per_unit="2.5", fixed_price=100), Tier(up_to=None, price_per_unit="1.005"))
KEY = ("p", "m")
CREDITS = {"credit_entitlement_id": "c", "meter_units_per_credit": "2"}

PRICES: list[dict[str, Any]] = [
    {"price_per_unit": "0.1"},
    {"price_per_unit": "0.1", "free_threshold": "1000"},
    {"price_per_unit": "3", "package_size": "10"},
    {"tiers": TIERS, "tier_mode": TierMode.graduated},
    {"tiers": TIERS, "tier_mode": TierMode.volume},
    {"price_per_unit": "1", **CREDITS},
    CREDITS,
]


def basis_of(consumed: Decimal, price: dict[str, Any], **more: Any) -> Basis:
    """One product with one meter that summed up to this."""
    drawn = DrawnCredits("c", 2, (GrantDraw("g1", Decimal(2)), GrantDraw("g2", Decimal("1.5"))))
    burns = "credit_entitlement_id" in price
    meter = MeterPrice(meter_id="m", **price)
    usage = MeterUsage(
        name="Calls",
        measurement_unit="call",
        price=meter,
        consumed=consumed,
        credits=Decimal("3.5") if burns else Decimal(0),
        overage=more.pop("overage", None),
    )
    product = RatedProduct(
        product_id="p",
        name="API",
        quantity=3,
        price=price_of(fixed_price=more.pop("fixed", 0), meters=(meter,)),
        usage=(usage,),
    )
    fields: dict[str, Any] = {
        "currency": "USD",
        "start": START,
        "end": END,
        "planned_start": START,
        "planned_end": END,
        "fee": FeeRule.shared,
        "trial": False,
        "products": (product,),
    }
    counted = CountedUsage(Aggregation(Kind.sum, "n"), Summary(events=4, unmeasured=1, total=consumed), 0)
    return Basis(CycleFacts(**(fields | more)), {KEY: counted}, {KEY: drawn} if burns else {})


def billed(basis: Basis, wallet: int = 0) -> Document:
    subject = Subject(customer_id="ada", subscription_id="s", currency="USD", cycle=("a", "b"))
    return compose(subject, rate(basis.facts), wallet_balance=wallet, position=9, issue=None)


def explained(basis: Basis, wallet: int = 0) -> Explanation:
    return explain(billed(basis, wallet), basis, [], wallet)


@pytest.mark.parametrize("price", PRICES, ids=str)
@given(
    consumed=st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-2000, max_value=2000),
    trial=st.booleans(),
    end=st.sampled_from([MIDDLE, END]),
    begun=st.sampled_from([START, MIDDLE]),
    fee=st.sampled_from(FeeRule),
    overage=st.sampled_from([None, CountedOverage(credits=Decimal("7.5"), price_per_credit=Decimal("1.5"))]),
    taxes=st.lists(
        st.builds(
            Tax,
            name=st.sampled_from(["VAT", "City"]),
            percent=st.sampled_from([Decimal(19), Decimal("7.25")]),
            included=st.booleans(),
        ),
        max_size=2,
    ),
    wallet=st.integers(0, 2000),
)
def test_the_steps_come_to_what_rating_gives(
    price: dict[str, Any],
    consumed: Decimal,
    trial: bool,
    end: datetime,
    begun: datetime,
    fee: FeeRule,
    overage: CountedOverage | None,
    taxes: list[Tax],
    wallet: int,
) -> None:
    # A cycle that began late has a start of its own, and the plan lies around it.
    planned = {"planned_start": datetime(2026, 2, 20, tzinfo=UTC)} if begun is MIDDLE else {}
    basis = basis_of(
        consumed, price, trial=trial, end=end, fee=fee, overage=overage, taxes=tuple(taxes), fixed=1000, **planned
    )
    found = explained(basis, wallet)
    assert found.agrees, (found.disagreements, [line.disagreements for line in found.lines])
    assert len(found.lines) == len(rate(basis.facts).lines)
    for line in found.lines:
        (amount,) = [step for step in line.steps if step.name == "amount"]
        assert amount.result == str(line.line.amount)
        assert [step.operation for step in line.steps].count("rounded") == 1


@pytest.mark.parametrize("kind", Kind)
def test_each_aggregation_has_its_step(kind: Kind) -> None:
    basis = basis_of(Decimal(0), PRICES[0])
    last = Last(START, 7, Decimal(5))
    summary = Summary(events=3, total=Decimal(10), low=Decimal(1), high=Decimal(6), last=last)
    aggregation = Aggregation(kind, None if kind is Kind.count else "n")
    for counted in (CountedUsage(aggregation, summary, 2), CountedUsage(aggregation, Summary(), 0)):
        consumed = quantity(aggregation, counted.summary, counted.distinct)
        (product,) = basis.facts.products
        usage = msgspec.structs.replace(product.usage[0], consumed=consumed)
        facts = msgspec.structs.replace(basis.facts, products=(msgspec.structs.replace(product, usage=(usage,)),))
        found = explained(Basis(facts, {KEY: counted}, {}))
        assert found.agrees, [line.disagreements for line in found.lines]


def test_an_adjustment_is_what_it_comes_to_now_less_what_was_billed() -> None:
    then, now = basis_of(Decimal(7), PRICES[0]), basis_of(Decimal(25), PRICES[0])
    before = computation_of(rate(then.facts).lines)
    half = Computation(consumed_units="1", free_units="0", credit_units="0", paid_units="1", amount=1)
    adjusted = AdjustedMeter(
        basis=now,
        key=KEY,
        product_name="API",
        meter_name="Calls",
        cycle=(START, END),
        invoiced=(Invoiced("i1", "INV-1", before), Invoiced("i2", "INV-2", half)),
    )
    after = computation_of(rate(now.facts).lines)
    billed_before = Computation(
        consumed_units="8", free_units="0", credit_units="0", paid_units="8", amount=before.amount + 1
    )
    line = adjustment_line(
        product_id="p",
        product_name="API",
        meter_id="m",
        meter_name="Calls",
        price_per_unit="0.1",
        cycle_start=START,
        cycle_end=END,
        before=billed_before,
        after=after,
    )
    own = basis_of(Decimal(0), PRICES[1])
    facts = msgspec.structs.replace(own.facts, adjustments=(line,))
    document = billed(Basis(facts, own.counted, {}))
    found = explain(document, own, [adjusted], 0)
    assert found.agrees, [line.disagreements for line in found.lines]
    steps = {step.name: step.result for step in found.lines[-1].steps}
    assert (steps["consumed_units_before"], steps["consumed_units"], steps["amount"]) == ("8", "17", "1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"amount": 4}, "line 1: amount is 4 on the document, the steps come to 3"),
        ({"free_units": "1"}, "line 1: free_units is 1 on the document, the steps come to 0"),
        ({"price_per_unit": "0.2"}, "line 1: price_per_unit is 0.2 on the document, rating gives 0.1"),
    ],
)
def test_a_line_that_says_something_else_is_told(change: dict[str, Any], said: str) -> None:
    basis = basis_of(Decimal(25), PRICES[0])
    document = billed(basis)
    wrong = msgspec.structs.replace(document.lines[0], **change)
    found = explain(msgspec.structs.replace(document, lines=(wrong,)), basis, [], 0)
    assert not found.agrees
    assert said in found.lines[0].disagreements


@pytest.mark.parametrize("change", [{"total_amount": 9}, {"wallet_amount": 1}, {"tax_amount": 1}, {"lines": ()}])
def test_a_sum_that_says_something_else_is_told(change: dict[str, Any]) -> None:
    basis = basis_of(Decimal(25), PRICES[0])
    found = explain(msgspec.structs.replace(billed(basis), **change), basis, [], 0)
    assert found.disagreements
    assert not found.agrees


def test_counted_usage_that_rating_did_not_take_is_told() -> None:
    basis = basis_of(Decimal(25), PRICES[0])
    other = CountedUsage(Aggregation(Kind.sum, "n"), Summary(events=4, total=Decimal(40)), 0)
    found = explain(billed(basis), msgspec.structs.replace(basis, counted={KEY: other}), [], 0)
    assert "line 1: consumed_units is 25 on the document, the steps come to 40" in found.lines[0].disagreements
