"""A line's steps come to the line's amount, whatever the price model."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.dashboard.line_steps import Step, explain
from domain.price import FeeRule, MeterPrice
from domain.rating import CountedOverage, CycleFacts, Line, LineKind, MeterUsage, RatedProduct, adjustment_line, rate
from domain.rating import computation_of as computed
from domain.tier import Tier, TierMode
from tests.app.shop import price_of

START, MIDDLE, END = (datetime(2026, 3, day, tzinfo=UTC) for day in (1, 11, 31))
TIERS = (Tier(up_to="10", price_per_unit="2.5", fixed_price=100), Tier(up_to=None, price_per_unit="1.005"))


def line_of(consumed: str, *, end: datetime = END, trial: bool = False, fixed: int = 0, **price: Any) -> list[Line]:
    overage = price.pop("overage", None)
    credits = Decimal(price.pop("credits", "0"))
    meter = MeterPrice(meter_id="m", **price)
    usage = MeterUsage(
        name="Calls",
        measurement_unit="call",
        price=meter,
        consumed=Decimal(consumed),
        credits=credits,
        overage=overage,
    )
    product = RatedProduct(
        product_id="p", name="API", quantity=3, price=price_of(fixed_price=fixed, meters=(meter,)), usage=(usage,)
    )
    facts = CycleFacts(
        currency="USD",
        start=START,
        end=end,
        planned_start=START,
        planned_end=END,
        fee=FeeRule.shared,
        trial=trial,
        products=(product,),
    )
    return list(rate(facts).lines)


def steps(line: Line) -> dict[str, Step]:
    return {step.label: step for step in explain(line, "USD", "call").steps}


@pytest.mark.parametrize(
    ("consumed", "more"),
    [
        ("0", {"price_per_unit": "0.1"}),
        ("-4", {"price_per_unit": "0.1"}),
        ("1280.5", {"price_per_unit": "0.1", "free_threshold": "1000"}),
        ("7", {"price_per_unit": "0.5", "trial": True}),
        ("25", {"price_per_unit": "3", "package_size": "10"}),
        ("25.5", {"tiers": TIERS, "tier_mode": TierMode.graduated}),
        ("25.5", {"tiers": TIERS, "tier_mode": TierMode.volume}),
        ("25", {"price_per_unit": "1", "credits": "5", "credit_entitlement_id": "c", "meter_units_per_credit": "2"}),
        ("25", {"credits": "5", "credit_entitlement_id": "c", "meter_units_per_credit": "2"}),
        ("5", {"price_per_unit": "1", "fixed": 1000, "end": MIDDLE}),
    ],
)
def test_the_steps_end_at_the_amount(consumed: str, more: dict[str, Any]) -> None:
    for line in line_of(consumed, **more):
        explained = explain(line, "USD", "call")
        assert explained.amount == line.amount
        assert explained.steps[-1].label == "Amount"


def test_an_overage_has_its_own_steps() -> None:
    over = CountedOverage(credits=Decimal("7.5"), price_per_credit=Decimal("1.5"))
    usage, line = line_of("25", credit_entitlement_id="c", meter_units_per_credit="2", overage=over)
    assert (usage.kind, line.kind) == (LineKind.usage, LineKind.overage)
    assert "matter of overage" in steps(usage)["Units \u00d7 price"].note
    found = steps(line)
    assert found["Credits not covered \u00d7 price per credit"].computed == "7.5 \u00d7 0.015 USD"
    assert found["Amount"].result == "0.11 USD"
    assert explain(line, "USD").amount == line.amount


def test_units_become_money_step_by_step() -> None:
    (line,) = line_of("1280.5", price_per_unit="0.1", free_threshold="1000")
    assert [(step.label, step.computed, step.result) for step in explain(line, "USD", "call").steps] == [
        ("Used", "", "1,280.5 call"),
        ("Free", "", "\u2212 1,000"),
        ("To pay", "", "280.5 call"),
        ("Units \u00d7 price", "280.5 \u00d7 0.001 USD", "0.2805 USD"),
        ("Amount", "0.2805 rounded", "0.28 USD"),
    ]


def test_packages_are_counted_whole() -> None:
    (line,) = line_of("25", price_per_unit="3", package_size="10")
    found = steps(line)
    assert (found["Packages"].computed, found["Packages"].result) == ("25 ÷ 10", "3")
    assert found["Packages \u00d7 price"].computed == "3 \u00d7 0.03 USD"


def test_tiers_are_told_one_by_one() -> None:
    (line,) = line_of("25.5", tiers=TIERS, tier_mode=TierMode.graduated)
    found = steps(line)
    assert found["Tier up to 10"].computed == "10 \u00d7 0.025 USD + 1.00 USD"
    assert found["Last tier"].computed == "15.5 \u00d7 0.01005 USD"
    assert found["All tiers"].computed == "1.25 + 0.155775"
    assert found["Amount"].result == "1.41 USD"


def test_an_adjustment_compares() -> None:
    before, after = (computed(line_of(units, price_per_unit="100")) for units in ("7", "5"))
    line = adjustment_line(
        product_id="p",
        product_name="API",
        meter_id="m",
        meter_name="Calls",
        price_per_unit="100",
        cycle_start=START,
        cycle_end=END,
        before=before,
        after=after,
    )
    explained = explain(line, "USD", "call")
    assert explained.amount == line.amount == -200
    assert [(one.label, one.before, one.after, one.difference) for one in explained.compared] == [
        ("Used", "7", "5", "\u22122"),
        ("Free", "0", "0", "0"),
        ("In credits", "0", "0", "0"),
        ("To pay", "7", "5", "\u22122"),
        ("Amount", "7.00 USD", "5.00 USD", "\u22122.00 USD"),
    ]
