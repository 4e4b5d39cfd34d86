"""Rating, told as small stories: given a price, when so much was used, then the line says."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.cycle import Interval, Unit
from domain.price import UNTIL_CANCELLED, MeterPrice, Price
from domain.rating import CycleFacts, Line, MeterUsage, RatedProduct, rate

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


def when_rated(*products: RatedProduct, currency: str = "USD", end: datetime = APRIL) -> tuple[Line, ...]:
    facts = CycleFacts(currency=currency, start=MARCH, end=end, planned_end=APRIL, products=products)
    return rate(facts).lines


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
    facts = CycleFacts(currency="USD", start=MARCH, end=APRIL, planned_end=APRIL, products=tuple(products))
    assert rate(facts).total_amount == 3


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
