"""The facts that take credits: draws of burns and debits, and rollovers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import msgspec

from domain import number
from domain.entitlement import OverageBehavior
from domain.grant import Grant


class Draw(msgspec.Struct, frozen=True):
    """Credits taken from a grant, as decimal text; below 0 when a correction gives them back."""

    grant_id: str
    credits: str

    @property
    def amount(self) -> Decimal:
        """``credits`` as a number."""
        return Decimal(self.credits)


class LineKey(msgspec.Struct, frozen=True):
    """One meter line of one cycle."""

    subscription_id: str
    cycle_start: datetime
    product_id: str
    meter_id: str


class BurnLine(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice burned for one meter line: what was drawn, and the overage that was counted beyond it.

    Both are differences to what was burned for the line before. ``price_per_credit`` is decimal minor units.
    """

    product_id: str
    meter_id: str
    draws: tuple[Draw, ...] = ()
    overage: str = "0"
    overage_behavior: OverageBehavior | None = None
    price_per_credit: str | None = None


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """The final burns of one cycle on one invoice. They count until the invoice is void, since ``returned_at``.

    A version is the place of the fact among the account's facts.
    """

    invoice_id: str
    subscription_id: str
    cycle_start: datetime
    cycle_end: datetime
    lines: tuple[BurnLine, ...]
    recorded_at: datetime
    version: int
    returned_at: datetime | None = None
    returned_version: int = 0

    def key(self, line: BurnLine) -> LineKey:
        """The line's key."""
        return LineKey(self.subscription_id, self.cycle_start, line.product_id, line.meter_id)


class Debit(msgspec.Struct, frozen=True):
    """Credits taken out by hand."""

    entry_id: str
    draws: tuple[Draw, ...]
    at: datetime
    version: int
    reason: str | None
    metadata: str


class Rolled(msgspec.Struct, frozen=True, kw_only=True):
    """A rollover: at ``at``, so much of the parent lives on as ``child`` (``None`` when it is 0), the rest does not."""

    parent_id: str
    at: datetime
    amount: Decimal
    forfeited: Decimal
    child: Grant | None


class StandingLine(msgspec.Struct, kw_only=True):
    """All that is burned for a meter line on invoices that stand. ``draws`` is by grant."""

    cycle_end: datetime
    draws: dict[str, Decimal]
    overage: Decimal = Decimal(0)
    overage_behavior: OverageBehavior | None = None


def standing_lines(burns: Iterable[Burn]) -> dict[LineKey, StandingLine]:
    """The burns that count, summed up by line."""
    lines: dict[LineKey, StandingLine] = {}
    for burn in burns:
        if burn.returned_at is not None:
            continue
        for part in burn.lines:
            line = lines.setdefault(burn.key(part), StandingLine(cycle_end=burn.cycle_end, draws={}))
            for draw in part.draws:
                line.draws[draw.grant_id] = number.plus(line.draws.get(draw.grant_id, Decimal(0)), draw.amount)
            line.overage = number.plus(line.overage, Decimal(part.overage))
            line.overage_behavior = part.overage_behavior or line.overage_behavior
    return lines
