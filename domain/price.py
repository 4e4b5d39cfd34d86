"""Prices: what a product costs per cycle and per unit, in versions that never change once they are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from domain.cycle import Interval, Unit

UNTIL_CANCELLED = Interval(count=20, unit=Unit.Year)
"""The subscription period that means no end (and the longest one), as in the wire contract."""


class MeterPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one meter's units cost: decimal minor units per unit beyond ``free_threshold`` units a cycle.

    Both are plain decimal text, so that the stored form is exact and for ever.
    """

    meter_id: str
    price_per_unit: str
    free_threshold: str = "0"

    @property
    def unit_price(self) -> Decimal:
        """``price_per_unit`` as a number of minor units."""
        return Decimal(self.price_per_unit)

    @property
    def free_units(self) -> Decimal:
        """``free_threshold`` as a number of units."""
        return Decimal(self.free_threshold)


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A usage-based price: a fixed fee in minor units per cycle, and the prices of the meters."""

    currency: str
    fixed_price: int
    cycle: Interval
    subscription_period: Interval
    meters: tuple[MeterPrice, ...] = ()
    tax_inclusive: bool = False
    purchasing_power_parity: bool = False


class PriceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A price from ``effective_at`` on; ``None`` is the beginning of time, where a product's first version starts."""

    effective_at: datetime | None
    price: Price


def version_in_force(versions: Sequence[PriceVersion], cycle_start: datetime) -> int:
    """The index of the version that prices a cycle starting at ``cycle_start``.

    Of the versions in force by then it is the one with the latest ``effective_at``; among equals the later recorded
    one. A product always has a first version, so there always is an answer.
    """
    best = 0
    for index, version in enumerate(versions):
        at = version.effective_at
        if at is None or at > cycle_start:
            continue
        since = versions[best].effective_at
        if since is None or at >= since:
            best = index
    return best
