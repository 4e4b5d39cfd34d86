"""The proposal of a simulation: what products would cost, which meters there would be, and for which cycles."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from domain.meter import Meter
from domain.plan import OpenedCycle
from domain.price import IncludedCredits, MeterPrice, Price


class Span(msgspec.Struct, frozen=True):
    """The cycles that end in ``[start, end)``; without a bound there is none. ``open_only`` leaves out those closed."""

    start: datetime | None = None
    end: datetime | None = None
    open_only: bool = False

    def holds(self, cycle: OpenedCycle) -> bool:
        """Whether a cycle is one of the span's."""
        if self.open_only and cycle.invoice_id is not None:
            return False
        return (self.start is None or self.start <= cycle.end) and (self.end is None or cycle.end < self.end)


class ProductChange(msgspec.Struct, frozen=True, kw_only=True):
    """What would be another in each price version of a product; the rest stays as that version has it.

    ``price`` is instead of all but the included credits. A meter of ``meters`` takes the place of the line of that
    meter, or comes last; ``thresholds`` are free units by meter; the lines of the meters ``without`` are left out.
    """

    price: Price | None = None
    fixed_price: int | None = None
    meters: tuple[MeterPrice, ...] = ()
    thresholds: Mapping[str, str] = {}
    without: Collection[str] = ()
    credits: tuple[IncludedCredits, ...] | None = None

    def applied(self, price: Price) -> Price:
        """The price that a version would be."""
        changed = price if self.price is None else msgspec.structs.replace(self.price, credits=price.credits)
        return msgspec.structs.replace(
            changed,
            fixed_price=changed.fixed_price if self.fixed_price is None else self.fixed_price,
            meters=self._lines(changed.meters),
            credits=changed.credits if self.credits is None else self.credits,
        )

    def _lines(self, lines: tuple[MeterPrice, ...]) -> tuple[MeterPrice, ...]:
        by_meter = {line.meter_id: line for line in lines} | {line.meter_id: line for line in self.meters}
        return tuple(
            msgspec.structs.replace(line, free_threshold=self.thresholds.get(meter_id, line.free_threshold))
            for meter_id, line in by_meter.items()
            if meter_id not in self.without
        )


class Proposal(msgspec.Struct, frozen=True):
    """Changes by product, and meters that are not declared. The proposal of nothing changes nothing."""

    products: Mapping[str, ProductChange] = {}
    meters: Mapping[str, Meter] = {}

    def price(self, product_id: str, price: Price) -> Price:
        """What a price version of a product would be."""
        change = self.products.get(product_id)
        return price if change is None else change.applied(price)

    def changes_credits(self, product_id: str) -> bool:
        """Whether the credits that a product includes would be others."""
        change = self.products.get(product_id)
        return change is not None and change.credits is not None
