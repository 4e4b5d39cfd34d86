"""Forecasts: quantities carried on in a straight line, and rated like any usage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.aggregation import Kind
from domain.forecast import EARLIEST_SHARE, Drawn, carried_on, carried_on_claim, foreseen, tells
from domain.rating import CycleFacts, rate
from tests.domain.test_claim import claim, day
from tests.domain.test_rating import APRIL, MARCH, given_cycle, given_product

QUARTER = MARCH + (APRIL - MARCH) / 4
METER = "mtr_calls"


def amount_of(facts: CycleFacts, at: datetime, kind: Kind = Kind.count, drawn: Drawn | None = None) -> int:
    settled = {} if drawn is None else {("pdt_API", METER): drawn}
    return rate(foreseen(facts, {METER: kind}, settled, at)).subtotal_amount


def test_a_quarter_of_the_cycle_foretells_four_times_its_usage() -> None:
    facts = given_cycle(given_product(consumed="100", price="0.5"))
    assert amount_of(facts, QUARTER) == 200


def test_the_threshold_is_passed_once_and_the_fee_is_paid_once() -> None:
    facts = given_cycle(given_product(consumed="100", price="0.5", free="300", fixed=1_000))
    # Four times the money of now would be 4,000; usage of 400 passes the threshold by 100.
    assert rate(facts).subtotal_amount == 1_000
    assert amount_of(facts, QUARTER) == 1_050


def test_credits_cover_what_they_will_cover() -> None:
    (product,) = given_cycle(given_product(consumed="100", price="0.5")).products
    (usage,) = product.usage
    price = msgspec.structs.replace(usage.price, credit_entitlement_id="sms", meter_units_per_credit="10")
    burning = msgspec.structs.replace(product, usage=(msgspec.structs.replace(usage, price=price),))
    # 400 units by the end, 300 of them in credits.
    assert amount_of(given_cycle(burning), QUARTER, drawn=(Decimal(30), None)) == 50


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.count, Kind.sum}))
def test_what_does_not_grow_with_time_stays(kind: Kind) -> None:
    assert carried_on(kind, Decimal("7.5"), MARCH, QUARTER, APRIL) == Decimal("7.5")


def test_events_are_counted_whole_and_sums_to_twelve_places() -> None:
    third = MARCH + (APRIL - MARCH) / 3
    assert carried_on(Kind.count, Decimal(1), MARCH, third, APRIL) == 3
    assert carried_on(Kind.count, Decimal(1), MARCH, MARCH + timedelta(days=20), APRIL) == 2
    assert carried_on(Kind.sum, Decimal(1), MARCH, MARCH + timedelta(days=30), APRIL) == Decimal("1.033333333333")
    assert carried_on(Kind.sum, Decimal(-2), MARCH, QUARTER, APRIL) == -8


@pytest.mark.parametrize("now", [MARCH - timedelta(days=1), MARCH, APRIL, APRIL + timedelta(days=1)])
def test_outside_of_the_cycle_nothing_is_carried_on(now: datetime) -> None:
    facts = given_cycle(given_product(consumed="100", price="0.5"))
    assert foreseen(facts, {METER: Kind.count}, {}, now) == facts


def test_a_forecast_waits_until_enough_has_passed_and_ends_with_the_cycle() -> None:
    first = MARCH + (APRIL - MARCH) / EARLIEST_SHARE
    instant = timedelta(microseconds=1)
    assert not tells(MARCH, APRIL, first - instant)
    assert tells(MARCH, APRIL, first)
    assert tells(MARCH, APRIL, APRIL - instant)
    assert not tells(MARCH, APRIL, APRIL)


def test_a_claim_keeps_the_steps_that_have_passed_and_carries_on_the_others() -> None:
    # Four days, two of them have passed with 3 and 6 units; one unit of each is free in the whole cycle.
    asked = claim(2, 5, 5, 5)
    carried = carried_on_claim(asked, Kind.sum, [Decimal(3), Decimal(6), Decimal(6), Decimal(6)], Decimal(1), day(2))
    assert [step.chargeable for step in carried.steps] == [2, 5, 8, 11]
    assert [step.until for step in carried.steps] == [step.until for step in asked.steps]


def test_a_claim_of_a_cycle_that_has_not_begun_stays() -> None:
    asked = claim(0, 0)
    begun_later = datetime(1999, 1, 1, tzinfo=UTC)
    assert carried_on_claim(asked, Kind.count, [Decimal(0)] * 2, Decimal(0), begun_later) == asked


quantities = st.decimals(min_value=0, max_value=10**9, places=3)
moments = st.integers(1, 99).map(lambda percent: MARCH + (APRIL - MARCH) * percent / 100)


@given(quantities, moments, moments)
def test_the_line_rises_and_goes_through_now(consumed: Decimal, now: datetime, until: datetime) -> None:
    at_end = carried_on(Kind.sum, consumed, MARCH, now, APRIL)
    between = carried_on(Kind.sum, consumed, MARCH, now, max(now, until))
    assert consumed <= between <= at_end
    assert carried_on(Kind.sum, consumed, MARCH, now, now) == consumed
