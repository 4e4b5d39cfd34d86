"""A claim: what one meter line of one cycle asks of the credits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

import msgspec

from domain import number
from domain.burn import LineKey
from domain.entitlement import BurnOrder, OverageBehavior

ZERO = Decimal(0)


class Step(msgspec.Struct, frozen=True):
    """The line's chargeable units of everything in the cycle that happened before ``until``."""

    until: datetime
    chargeable: Decimal


class OverageTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How uncovered credits of a line are counted, by the terms of its cycle. The price is minor units per credit."""

    behavior: OverageBehavior
    limit: Decimal | None = None
    price_per_credit: Decimal | None = None


class ClaimKey(msgspec.Struct, frozen=True, order=True):
    """Which line it is; claims settle in the order of their keys. ``line`` is its place among the cycle's lines."""

    cycle_end: datetime
    subscription_id: str
    line: int
    cycle_start: datetime
    product_id: str
    meter_id: str

    @property
    def line_key(self) -> LineKey:
        """The line without its place in the order."""
        return LineKey(self.subscription_id, self.cycle_start, self.product_id, self.meter_id)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Chargeable units at each instant that ``settlement.instants`` names for the cycle, and at its end.

    ``overage`` is ``None`` where uncovered credits are not counted: the line has a price, or overage is off. ``closed``
    says that the cycle was invoiced and its usage is settled anew; ``waive_uncovered`` that a trial's usage is free.
    """

    key: ClaimKey
    units_per_credit: Decimal
    steps: tuple[Step, ...]
    burn_order: BurnOrder = BurnOrder.oldest
    overage: OverageTerms | None = None
    closed: bool = False
    waive_uncovered: bool = False

    def rises(self, precision: int) -> Iterator[tuple[datetime, datetime, Decimal]]:
        """The credits wanted between two neighbouring instants that are still wanted at the end, in order.

        A fall takes back the latest rises first. So of what is wanted at an instant, only as much lasts as is wanted at
        every later one, and the rises of that are all that remains to be drawn.
        """
        lasting, least = list[tuple[datetime, Decimal]](), None
        for step in reversed(self.steps):
            wanted = number.quotient(max(ZERO, step.chargeable), self.units_per_credit, precision)
            least = wanted if least is None else min(least, wanted)
            lasting.append((step.until, least))
        since, before = self.key.cycle_start, ZERO
        for until, wanted in reversed(lasting):
            if wanted > before:
                yield since, until, number.minus(wanted, before)
            since, before = until, wanted

    def check_steps(self, turning_points: Iterable[datetime]) -> None:
        """Raises ``ValueError`` when a step is missing: without it nobody knows which grants were valid."""
        untils = [step.until for step in self.steps]
        if untils != sorted(set(untils)) or untils[-1:] != [self.key.cycle_end]:
            raise ValueError(f"the steps of {self.key} do not rise to the cycle's end")
        missing = set(turning_points) - set(untils)
        if missing:
            raise ValueError(f"{self.key} lacks a step at {min(missing)}, where a grant begins or expires")
