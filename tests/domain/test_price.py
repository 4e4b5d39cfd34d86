"""Which price version a cycle has."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cycle import Interval, Unit
from domain.price import UNTIL_CANCELLED, Price, PriceVersion, version_in_force

PRICE = Price(
    currency="USD", fixed_price=0, cycle=Interval(count=1, unit=Unit.Month), subscription_period=UNTIL_CANCELLED
)


def versions(*months: int) -> list[PriceVersion]:
    """The first version and one more from each of these months of 2026 on."""
    later = [PriceVersion(effective_at=datetime(2026, month, 1, tzinfo=UTC), price=PRICE) for month in months]
    return [PriceVersion(effective_at=None, price=PRICE), *later]


@pytest.mark.parametrize(
    ("months", "cycle_month", "chosen"),
    [
        ((), 1, 0),
        ((3,), 2, 0),
        ((3,), 3, 1),
        ((3,), 4, 1),
        # A change scheduled for later stays scheduled, though one was recorded after it for an earlier month.
        ((5, 3), 4, 2),
        ((5, 3), 5, 1),
        # Of two for the same instant the later recorded one corrects the earlier.
        ((3, 3), 3, 2),
    ],
)
def test_the_version_in_force_at_the_start_of_the_cycle(months: tuple[int, ...], cycle_month: int, chosen: int) -> None:
    assert version_in_force(versions(*months), datetime(2026, cycle_month, 1, tzinfo=UTC)) == chosen


@given(st.lists(st.integers(1, 12), max_size=8), st.integers(1, 12))
def test_a_version_is_never_in_force_before_its_time(months: list[int], cycle_month: int) -> None:
    start = datetime(2026, cycle_month, 1, tzinfo=UTC)
    chosen = versions(*months)[version_in_force(versions(*months), start)]
    assert chosen.effective_at is None or chosen.effective_at <= start


def test_a_stored_price_is_plain_text() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PRICE), type=Price) == PRICE
