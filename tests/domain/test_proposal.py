"""What a proposal makes of a price version, and which cycles a span holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.plan import OpenedCycle
from domain.price import FeeRule, IncludedCredits, MeterPrice
from domain.proposal import ProductChange, Proposal, Span
from tests.app.shop import price_of

CALLS = MeterPrice(meter_id="calls", price_per_unit="1", free_threshold="5")
TOKENS = MeterPrice(meter_id="tokens", price_per_unit="2")
CREDITS = (IncludedCredits(credit_entitlement_id="sms", credits_amount="10"),)
PRICE = price_of(meters=(CALLS, TOKENS), credits=CREDITS)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def cycle(end: datetime, invoice_id: str | None = None) -> OpenedCycle:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return OpenedCycle(
        index=0,
        start=start,
        end=end,
        planned_start=start,
        planned_end=end,
        last=False,
        items=(),
        fee=FeeRule.shared,
        trial=False,
        invoice_id=invoice_id,
    )


def test_nothing_changes_nothing() -> None:
    assert Proposal().price("api", PRICE) is PRICE
    assert ProductChange().applied(PRICE) == PRICE


def test_a_price_takes_the_place_of_all_but_the_credits() -> None:
    other = price_of(fixed_price=9, meters=())
    assert ProductChange(price=other).applied(PRICE) == price_of(fixed_price=9, meters=(), credits=CREDITS)


def test_a_line_takes_the_place_of_its_meters_and_a_new_one_comes_last() -> None:
    dearer, new = MeterPrice(meter_id="calls", price_per_unit="3"), MeterPrice(meter_id="new", price_per_unit="4")
    assert ProductChange(meters=(new, dearer)).applied(PRICE).meters == (dearer, TOKENS, new)


def test_thresholds_and_lines_left_out() -> None:
    change = ProductChange(thresholds={"calls": "7", "elsewhere": "1"}, without=("tokens",))
    (line,) = change.applied(PRICE).meters
    assert (line.price_per_unit, line.free_threshold) == ("1", "7")


def test_only_credits_that_are_given_are_granted_anew() -> None:
    assert not Proposal({"api": ProductChange(fixed_price=1)}).changes_credits("api")
    assert Proposal({"api": ProductChange(credits=())}).changes_credits("api")
    assert ProductChange(credits=()).applied(PRICE).credits == ()


@pytest.mark.parametrize(
    ("span", "held"),
    [
        (Span(), True),
        (Span(APRIL, MAY), True),
        (Span(end=APRIL), False),
        (Span(start=MAY), False),
        (Span(open_only=True), False),
    ],
)
def test_a_span_is_half_open(span: Span, held: bool) -> None:
    assert span.holds(cycle(APRIL, "inv_1")) is held
    assert Span(open_only=True).holds(cycle(APRIL))
