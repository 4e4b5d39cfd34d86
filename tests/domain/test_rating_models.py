"""Rating by tiers, packages and credits: given a price and credits drawn, when so much was used, then the line says."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cycle import Interval, Unit
from domain.price import UNTIL_CANCELLED, FeeRule, MeterPrice, Price
from domain.rating import CountedOverage, CycleFacts, Line, LineKind, MeterUsage, RatedProduct, rate
from domain.tier import Tier, TierMode

MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
TIERS = (
    Tier(up_to="10", price_per_unit="2"),
    Tier(up_to="100", price_per_unit="1.25", fixed_price=50),
    Tier(up_to=None, price_per_unit="0.5"),
)
GRADUATED: dict[str, Any] = {"tier_mode": TierMode.graduated, "tiers": TIERS}
VOLUME: dict[str, Any] = {"tier_mode": TierMode.volume, "tiers": TIERS}
PACKAGE: dict[str, Any] = {"tier_mode": TierMode.package, "price_per_unit": "30", "package_size": "100"}
CREDITS: dict[str, Any] = {"credit_entitlement_id": "cde_1", "meter_units_per_credit": "10"}


def when_used(
    consumed: str,
    price: dict[str, Any],
    *,
    drawn: str = "0",
    overage: tuple[str, str | None] | None = None,
    trial: bool = False,
    currency: str = "USD",
) -> tuple[Line, ...]:
    meter = MeterPrice(meter_id="mtr_calls", **price)
    counted = None
    if overage is not None:
        beyond, per_credit = overage
        counted = CountedOverage(
            credits=Decimal(beyond), price_per_credit=None if per_credit is None else Decimal(per_credit)
        )
    usage = MeterUsage(
        name="Calls",
        measurement_unit="call",
        price=meter,
        consumed=Decimal(consumed),
        credits=Decimal(drawn),
        overage=counted,
    )
    product = RatedProduct(
        product_id="pdt_api",
        name="API",
        quantity=1,
        price=Price(
            currency=currency,
            fixed_price=900 if trial else 0,
            cycle=Interval(count=1, unit=Unit.Month),
            subscription_period=UNTIL_CANCELLED,
            meters=(meter,),
        ),
        usage=(usage,),
    )
    facts = CycleFacts(
        currency=currency,
        start=MARCH,
        end=APRIL,
        planned_start=MARCH,
        planned_end=APRIL,
        fee=FeeRule.shared,
        trial=trial,
        products=(product,),
    )
    return rate(facts).lines


def units(line: Line) -> tuple[str, str, str, str]:
    return line.consumed_units, line.free_units, line.credit_units, line.paid_units


@pytest.mark.parametrize(
    ("consumed", "amount", "price_per_unit", "tiers"),
    [
        ("-3", 0, "2", 0),
        ("0", 0, "2", 0),
        ("5", 0, "2", 0),
        ("15", 20, "2", 1),
        # 20 + 1 * 1.25 + 50 = 71.25
        ("16", 71, "1.25", 2),
        # 20 + 2 * 1.25 + 50 = 72.5, rounded once
        ("17", 73, "1.25", 2),
        ("106", 183, "0.5", 3),
    ],
)
def test_graduated_tiers_count_paid_units_from_zero(
    consumed: str, amount: int, price_per_unit: str, tiers: int
) -> None:
    (line,) = when_used(consumed, {**GRADUATED, "free_threshold": "5"})
    assert (line.amount, line.price_per_unit, len(line.tiers)) == (amount, price_per_unit, tiers)


@pytest.mark.parametrize(
    ("consumed", "amount", "price_per_unit"),
    [("0", 0, "2"), ("10", 20, "2"), ("11", 64, "1.25"), ("100", 175, "1.25"), ("101", 51, "0.5")],
)
def test_volume_the_last_tier_reached_prices_all(consumed: str, amount: int, price_per_unit: str) -> None:
    (line,) = when_used(consumed, VOLUME)
    assert (line.amount, line.price_per_unit) == (amount, price_per_unit)


@pytest.mark.parametrize(
    ("consumed", "amount"),
    [("0", 0), ("-1", 0), ("0.001", 30), ("99.5", 30), ("100", 30), ("100.000001", 60), ("101", 60), ("1000", 300)],
)
def test_a_started_package_is_paid_whole(consumed: str, amount: int) -> None:
    (line,) = when_used(consumed, PACKAGE)
    assert (line.amount, line.price_per_unit, line.package_size) == (amount, "30", "100")
    assert line.paid_units == str(max(Decimal(0), Decimal(consumed)))


def test_people_read_how_a_line_is_priced() -> None:
    assert when_used("1", GRADUATED)[0].description == "API: Calls, graduated price per call"
    assert when_used("1", VOLUME)[0].description == "API: Calls, volume price per call"
    assert when_used("1", PACKAGE)[0].description == "API: Calls, 0.30 USD per package of 100 call"
    assert when_used("1", PACKAGE, currency="KWD")[0].description == "API: Calls, 0.030 KWD per package of 100 call"
    assert when_used("1", CREDITS)[0].description == "API: Calls, in credits, 10 call per credit"


@pytest.mark.parametrize(
    ("consumed", "drawn", "expected", "amount"),
    [
        ("25", "0", ("25", "5", "0", "20"), 10),
        ("25", "1.5", ("25", "5", "15", "5"), 3),
        # Credits in whole pieces may be worth more than is left; no more than that is taken.
        ("25", "3", ("25", "5", "20", "0"), 0),
        ("5", "3", ("5", "5", "0", "0"), 0),
        ("-5", "0", ("-5", "0", "0", "0"), 0),
    ],
)
def test_credits_come_after_the_threshold_and_before_the_price(
    consumed: str, drawn: str, expected: tuple[str, str, str, str], amount: int
) -> None:
    (line,) = when_used(consumed, {**CREDITS, "price_per_unit": "0.5", "free_threshold": "5"}, drawn=drawn)
    assert (units(line), line.amount) == (expected, amount)


def test_tiers_and_packages_count_what_credits_leave() -> None:
    (line,) = when_used("31", {**CREDITS, **GRADUATED}, drawn="2")
    assert (units(line), line.amount) == (("31", "0", "20", "11"), 71)
    (line,) = when_used("220", {**CREDITS, **PACKAGE}, drawn="12")
    assert (units(line), line.amount) == (("220", "0", "120", "100"), 30)


def test_without_a_price_of_its_own_a_line_costs_nothing() -> None:
    (line,) = when_used("100", CREDITS, drawn="4")
    assert (units(line), line.price_per_unit, line.amount) == (("100", "0", "40", "60"), "0", 0)


def test_overage_is_a_line_of_its_own_in_credits() -> None:
    usage, overage = when_used("100", CREDITS, drawn="4", overage=("6", "12.5"))
    assert (usage.kind, usage.amount) == (LineKind.usage, 0)
    assert overage == Line(
        kind=LineKind.overage,
        product_id="pdt_api",
        meter_id="mtr_calls",
        description="API: Calls, overage, 0.125 USD per credit",
        consumed_units="6",
        free_units="0",
        credit_units="0",
        paid_units="6",
        price_per_unit="12.5",
        amount=75,
    )


def test_overage_is_rounded_once() -> None:
    assert when_used("1", CREDITS, overage=("0.1", "5"))[1].amount == 1
    assert when_used("1", CREDITS, overage=("0.1", "4.99"))[1].amount == 0


@pytest.mark.parametrize(
    ("price", "overage", "trial"),
    [
        (CREDITS, ("6", None), False),
        (CREDITS, ("0", "5"), False),
        (CREDITS, ("6", "5"), True),
        # The line's own price has taken what credits did not cover.
        ({**CREDITS, "price_per_unit": "1"}, ("6", "5"), False),
    ],
)
def test_no_overage_line_where_none_is_charged(
    price: dict[str, Any], overage: tuple[str, str | None], trial: bool
) -> None:
    assert [line.kind for line in when_used("60", price, overage=overage, trial=trial)] == ["usage"]


@pytest.mark.parametrize("price", [{"price_per_unit": "7"}, GRADUATED, VOLUME, PACKAGE, {**CREDITS}])
def test_in_a_trial_only_credits_are_used_and_nothing_is_paid(price: dict[str, Any]) -> None:
    burning = {**price, **CREDITS, "free_threshold": "5"}
    (line,) = when_used("105", burning, drawn="4", trial=True)
    assert (units(line), line.amount, line.tiers) == (("105", "65", "40", "0"), 0, ())


def test_a_line_leaves_out_what_it_has_none_of() -> None:
    (flat,) = when_used("3", {"price_per_unit": "1"})
    assert list(msgspec.to_builtins(flat)) == [
        "kind",
        "product_id",
        "meter_id",
        "description",
        "consumed_units",
        "free_units",
        "credit_units",
        "paid_units",
        "price_per_unit",
        "amount",
    ]
    assert list(msgspec.to_builtins(when_used("3", PACKAGE)[0]))[-1] == "package_size"
    assert list(msgspec.to_builtins(when_used("3", VOLUME)[0]))[-1] == "tiers"


@pytest.mark.parametrize("price", [{"price_per_unit": "7"}, GRADUATED, VOLUME, PACKAGE, CREDITS])
def test_lines_survive_their_json(price: dict[str, Any]) -> None:
    lines = when_used("150", price, overage=("15", "2"))
    assert msgspec.json.decode(msgspec.json.encode(lines), type=tuple[Line, ...]) == lines


numbers = st.decimals(min_value=-(10**9), max_value=10**9, places=6, allow_nan=False)
drawn_credits = st.decimals(min_value=0, max_value=10**9, places=3, allow_nan=False)
thresholds = st.integers(0, 10**9)
models = st.sampled_from([{"price_per_unit": "0.7"}, GRADUATED, VOLUME, PACKAGE, {}])


@given(numbers, drawn_credits, thresholds, models, st.booleans())
def test_units_always_add_up(consumed: Decimal, drawn: Decimal, free: int, model: dict[str, Any], trial: bool) -> None:
    price = {**CREDITS, **model, "free_threshold": str(free)}
    (line,) = when_used(f"{consumed:f}", price, drawn=f"{drawn:f}", trial=trial)
    consumed_units, *parts = (Fraction(text) for text in units(line))
    assert all(part >= 0 for part in parts)
    assert sum(parts) == max(consumed_units, 0)
    assert Fraction(line.credit_units) <= Fraction(drawn) * 10


@given(numbers, models)
def test_the_tiers_shown_add_up_to_the_amount(consumed: Decimal, model: dict[str, Any]) -> None:
    (line,) = when_used(f"{consumed:f}", {**CREDITS, **model})
    if line.tiers:
        exact = sum(Fraction(use.amount) for use in line.tiers)
        assert abs(line.amount - exact) <= Fraction(1, 2)
        assert sum(Fraction(use.units) for use in line.tiers) == Fraction(line.paid_units)


@given(numbers, st.integers(1, 10**4), st.integers(0, 10**4))
def test_packages_cost_at_least_the_flat_price_and_less_than_one_more(consumed: Decimal, size: int, price: int) -> None:
    package = {"tier_mode": TierMode.package, "price_per_unit": str(price), "package_size": str(size)}
    (line,) = when_used(f"{consumed:f}", package)
    flat = Fraction(line.paid_units) * price / size
    assert flat <= line.amount <= flat + price
    assert line.amount % max(price, 1) == 0


@given(numbers, drawn_credits, drawn_credits)
def test_more_credits_never_cost_more(consumed: Decimal, one: Decimal, other: Decimal) -> None:
    few, many = sorted((one, other))
    price = {**CREDITS, **GRADUATED}
    (dear,) = when_used(f"{consumed:f}", price, drawn=f"{few:f}")
    (cheap,) = when_used(f"{consumed:f}", price, drawn=f"{many:f}")
    assert cheap.amount <= dear.amount


def test_credits_pay_for_the_units_that_they_stand_for_and_the_rest_is_paid() -> None:
    """40 units want 13.33 credits of a precision of two: they stand for 39.99 units."""
    price = {"price_per_unit": "100", "credit_entitlement_id": "cde_1", "meter_units_per_credit": "3"}
    (line,) = when_used("40", price, drawn="13.33")
    assert (line.credit_units, line.paid_units, line.amount) == ("39.99", "0.01", 1)
