"""Rating, told as small stories: given a price, when so much was used, then the line says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cycle import Interval, Unit
from domain.price import UNTIL_CANCELLED, FeeRule, MeterPrice, Price
from domain.rating import (
    Computation,
    CycleFacts,
    Line,
    LineKind,
    MeterUsage,
    RatedProduct,
    Tax,
    TaxLine,
    adjustment_line,
    computation_of,
    rate,
)

MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
MONTHLY = Interval(count=1, unit=Unit.Month)


def given_product(
    *, consumed: str = "0", price: str = "0.5", free: str = "0", fixed: int = 0, quantity: int = 1, name: str = "API"
) -> RatedProduct:
    meter_price = MeterPrice(meter_id="mtr_calls", price_per_unit=price, free_threshold=free)
    return RatedProduct(
        product_id=f"pdt_{name}",
        name=name,
        quantity=quantity,
        price=Price(
            currency="USD",
            fixed_price=fixed,
            cycle=MONTHLY,
            subscription_period=UNTIL_CANCELLED,
            meters=(meter_price,),
        ),
        usage=(MeterUsage(name="Calls", measurement_unit="call", price=meter_price, consumed=Decimal(consumed)),),
    )


def given_cycle(*products: RatedProduct, **changes: Any) -> CycleFacts:
    fields: dict[str, Any] = {
        "currency": "USD",
        "start": MARCH,
        "end": APRIL,
        "planned_start": MARCH,
        "planned_end": APRIL,
        "fee": FeeRule.shared,
        "trial": False,
    }
    return CycleFacts(products=products, **(fields | changes))


def when_rated(*products: RatedProduct, **changes: Any) -> tuple[Line, ...]:
    return rate(given_cycle(*products, **changes)).lines


def test_units_up_to_the_threshold_are_free() -> None:
    (line,) = when_rated(given_product(consumed="10000", free="10000", price="0.1"))
    assert (line.consumed_units, line.free_units, line.paid_units, line.amount) == ("10000", "10000", "0", 0)


def test_units_beyond_the_threshold_are_paid() -> None:
    (line,) = when_rated(given_product(consumed="12500", free="10000", price="0.1"))
    assert (line.consumed_units, line.free_units, line.paid_units, line.amount) == ("12500", "10000", "2500", 250)


def test_half_a_cent_is_rounded_away_from_zero_once_per_line() -> None:
    (line,) = when_rated(given_product(consumed="1", price="0.5"))
    assert line.amount == 1
    (line,) = when_rated(given_product(consumed="1", price="0.499999999999"))
    assert line.amount == 0


def test_the_total_is_the_sum_of_the_rounded_lines() -> None:
    products = [given_product(consumed="1", price="0.5", name=name) for name in ("A", "B", "C")]
    assert rate(given_cycle(*products)).subtotal_amount == 3


def test_a_correction_below_zero_is_not_paid_out() -> None:
    (line,) = when_rated(given_product(consumed="-5", price="1"))
    assert (line.consumed_units, line.free_units, line.paid_units, line.amount) == ("-5", "0", "0", 0)


def test_a_fraction_of_a_unit_is_exact() -> None:
    (line,) = when_rated(given_product(consumed="0.000000000000000001", price="99999.999999999999"))
    assert (line.paid_units, line.amount) == ("0.000000000000000001", 0)


def test_the_fixed_price_is_times_quantity_and_nothing_else_is() -> None:
    fixed, usage = when_rated(given_product(consumed="10", price="1", fixed=500, quantity=3))
    assert (fixed.kind, fixed.paid_units, fixed.price_per_unit, fixed.amount) == ("fixed", "3", "500", 1500)
    assert usage.amount == 10


def test_no_fixed_line_without_a_fixed_price() -> None:
    assert [line.kind for line in when_rated(given_product())] == ["usage"]


def test_a_cut_cycle_shares_the_fixed_price_by_time_and_keeps_the_whole_threshold() -> None:
    fixed, usage = when_rated(
        given_product(consumed="100", free="100", price="1", fixed=3100), end=datetime(2026, 3, 11, tzinfo=UTC)
    )
    assert (fixed.kind, fixed.amount) == ("proration", 1000)
    assert (usage.free_units, usage.amount) == ("100", 0)


def test_a_cycle_that_began_late_shares_the_fixed_price_of_its_planned_span() -> None:
    late = datetime(2026, 3, 11, tzinfo=UTC)
    fixed, _ = when_rated(given_product(fixed=3100), start=late)
    assert (fixed.kind, fixed.amount) == ("proration", 2100)
    assert fixed.description == "API: fixed price per cycle, from 2026-03-11 00:00:00 UTC"
    between, _ = when_rated(given_product(fixed=3100), start=late, end=datetime(2026, 3, 21, tzinfo=UTC))
    assert between.amount == 1000
    assert between.description == (
        "API: fixed price per cycle, from 2026-03-11 00:00:00 UTC, until 2026-03-21 00:00:00 UTC"
    )


def test_a_full_fee_is_charged_however_short_the_cycle() -> None:
    fixed, _ = when_rated(given_product(fixed=3100), end=datetime(2026, 3, 2, tzinfo=UTC), fee=FeeRule.full)
    assert (fixed.kind, fixed.paid_units, fixed.amount) == ("fixed", "1", 3100)
    assert fixed.description == "API: fixed price per cycle"


def test_a_waived_fee_has_no_line_and_usage_is_paid() -> None:
    (usage,) = when_rated(given_product(fixed=3100, consumed="10", price="1"), fee=FeeRule.waived)
    assert (usage.kind, usage.amount) == ("usage", 10)


@pytest.mark.parametrize("fee", FeeRule)
def test_a_trial_costs_nothing_whatever_the_fee(fee: FeeRule) -> None:
    (usage,) = when_rated(given_product(fixed=3100, consumed="10", price="1"), fee=fee, trial=True)
    assert (usage.free_units, usage.paid_units, usage.amount) == ("10", "0", 0)


cuts = st.lists(st.integers(1, 10**6), min_size=1, max_size=5, unique=True).map(sorted)


@given(cuts, st.integers(1, 10**6))
def test_the_parts_of_a_cut_cycle_share_its_fee(seconds: list[int], fee: int) -> None:
    """Each part is rounded once, so together they are off by half a minor unit each at most."""
    ends = [MARCH + timedelta(seconds=second) for second in seconds]
    parts = [
        when_rated(given_product(fixed=fee), start=start, end=end)[0].amount
        for start, end in pairwise([MARCH, *ends, APRIL])
    ]
    assert abs(sum(parts) - fee) <= Fraction(len(parts), 2) + Fraction(1, 1000)


TWO = Computation(consumed_units="12", free_units="2", credit_units="0", paid_units="10", amount=100)


def given_adjustment(after: Computation) -> Line:
    return adjustment_line(
        product_id="pdt_API",
        product_name="API",
        meter_id="mtr_calls",
        meter_name="Calls",
        price_per_unit="10",
        cycle_start=datetime(2026, 2, 1, tzinfo=UTC),
        cycle_end=MARCH,
        before=TWO,
        after=after,
    )


def test_an_adjustment_is_the_difference_and_shows_both_computations() -> None:
    more = Computation(consumed_units="15.5", free_units="2", credit_units="1.5", paid_units="12", amount=120)
    line = given_adjustment(more)
    assert (line.kind, line.amount) == (LineKind.adjustment, 20)
    assert (line.consumed_units, line.free_units, line.credit_units, line.paid_units) == ("3.5", "0", "1.5", "2")
    assert (line.before, line.after) == (TWO, more)
    assert (line.cycle_start, line.cycle_end) == ("2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z")
    assert line.description == (
        "API: Calls, adjustment of the cycle from 2026-02-01 00:00:00 UTC until 2026-03-01 00:00:00 UTC"
    )
    assert msgspec.json.decode(msgspec.json.encode(line), type=Line) == line


def test_less_usage_is_a_negative_adjustment() -> None:
    none = Computation(consumed_units="0", free_units="0", credit_units="0", paid_units="0", amount=0)
    line = given_adjustment(none)
    assert (line.consumed_units, line.free_units, line.paid_units, line.amount) == ("-12", "-2", "-10", -100)


def test_adjustments_come_last_as_they_are_and_count() -> None:
    line = given_adjustment(msgspec.structs.replace(TWO, amount=40))
    rated = rate(given_cycle(given_product(consumed="10", price="1", fixed=5), adjustments=(line,)))
    assert rated.lines[-1] == line
    assert ([each.kind for each in rated.lines], rated.subtotal_amount) == (["fixed", "usage", "adjustment"], -45)


def test_a_computation_takes_usage_and_overage_together() -> None:
    fixed, usage = when_rated(given_product(consumed="12", free="2", price="10", fixed=7))
    overage = msgspec.structs.replace(usage, kind=LineKind.overage, consumed_units="4", paid_units="4", amount=9)
    assert computation_of([usage]) == TWO
    assert computation_of([fixed, usage, overage]) == msgspec.structs.replace(TWO, amount=109)
    assert computation_of([]).amount == 0


def test_a_computation_of_lines_rated_again_is_no_adjustment() -> None:
    (usage,) = when_rated(given_product(consumed="12", free="2", price="10"))
    assert given_adjustment(computation_of([usage])).amount == 0


def taxed(subtotal: int, *taxes: Tax) -> tuple[tuple[int, ...], int]:
    line = given_adjustment(msgspec.structs.replace(TWO, amount=TWO.amount + subtotal))
    rated = rate(given_cycle(adjustments=(line,), taxes=taxes))
    assert rated.subtotal_amount == subtotal
    return tuple(tax.amount for tax in rated.tax_lines), rated.tax_amount


@pytest.mark.parametrize(
    ("subtotal", "percent", "included", "amount"),
    [
        (0, "19", False, 0),
        (1000, "0", False, 0),
        (1000, "19", False, 190),
        (1000, "100", True, 500),
        # Half a minor unit, away from zero on both sides.
        (50, "19", False, 10),
        (-50, "19", False, -10),
        (50, "18.9999", False, 9),
        (1190, "19", True, 190),
        (-1190, "19", True, -190),
        (3, "20", True, 1),
        (10**12, "7.7", False, 77 * 10**9),
    ],
)
def test_a_tax_is_rounded_once_on_the_subtotal(subtotal: int, percent: str, included: bool, amount: int) -> None:
    tax = Tax(name="VAT", percent=Decimal(percent), included=included)
    assert taxed(subtotal, tax) == ((amount,), 0 if included else amount)


def test_taxes_are_listed_and_only_those_on_top_are_added() -> None:
    state = Tax(name="State", percent=Decimal("6.250"), included=False)
    county = Tax(name="County", percent=Decimal("1.5"), included=False)
    contained = Tax(name="VAT", percent=Decimal("10"), included=True)
    assert taxed(1100, state, county, contained) == ((69, 17, 100), 86)
    rated = rate(given_cycle(taxes=(state,)))
    assert rated.tax_lines == (TaxLine(name="State", percent="6.25", amount=0, included=False),)


@given(st.integers(-(10**12), 10**12), st.decimals(min_value=0, max_value=100, places=4), st.booleans())
def test_a_tax_is_what_exact_fractions_say(subtotal: int, percent: Decimal, included: bool) -> None:
    ((amount,), _) = taxed(subtotal, Tax(name="VAT", percent=percent, included=included))
    exact = Fraction(subtotal) * Fraction(percent) / (100 + Fraction(percent) if included else 100)
    assert abs(amount - exact) <= Fraction(1, 2)
    assert abs(amount) >= abs(exact) or abs(amount - exact) < Fraction(1, 2)


def test_people_read_the_price_in_major_units() -> None:
    (line,) = when_rated(given_product(price="0.1"))
    assert line.description == "API: Calls, 0.001 USD per call"
    (yen,) = when_rated(given_product(price="0.1"), currency="JPY")
    assert yen.description == "API: Calls, 0.1 JPY per call"


numbers = st.decimals(min_value=-(10**12), max_value=10**12, places=6, allow_nan=False)
prices = st.decimals(min_value=0, max_value=99999, places=12, allow_nan=False)
thresholds = st.integers(0, 10**12)


@given(numbers, thresholds, prices)
def test_the_line_is_what_exact_fractions_say(consumed: Decimal, free: int, price: Decimal) -> None:
    (line,) = when_rated(given_product(consumed=f"{consumed:f}", free=str(free), price=f"{price:f}"))
    paid = max(Fraction(0), Fraction(consumed) - free)
    exact = paid * Fraction(price)
    assert Fraction(line.paid_units) == paid
    assert Fraction(line.free_units) + paid == max(Fraction(consumed), paid, Fraction(0))
    assert abs(line.amount - exact) <= Fraction(1, 2)
    assert line.amount - exact != Fraction(-1, 2)


@given(numbers, numbers, thresholds, prices)
def test_more_usage_never_costs_less(one: Decimal, other: Decimal, free: int, price: Decimal) -> None:
    low, high = sorted((one, other))
    (less,) = when_rated(given_product(consumed=f"{low:f}", free=str(free), price=f"{price:f}"))
    (more,) = when_rated(given_product(consumed=f"{high:f}", free=str(free), price=f"{price:f}"))
    assert less.amount <= more.amount


def test_the_lines_survive_their_json() -> None:
    lines = when_rated(given_product(consumed="3", fixed=1))
    assert msgspec.json.decode(msgspec.json.encode(lines), type=tuple[Line, ...]) == lines
