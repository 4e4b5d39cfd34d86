"""Tiers: a meter's price by how many paid units there are, computed exactly and shown step by step.

A tier reaches up to and including ``up_to``; the last one has no end. Units count from 0, a fraction of a unit is
priced as such, and nothing is paid for 0 units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from domain import number

ZERO = Decimal(0)


class TierMode(StrEnum):
    """How many units cost: by the tier that each lies in, by the tier that the total lies in, or by started package."""

    graduated = "graduated"
    volume = "volume"
    package = "package"


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """The price of the units up to and including ``up_to``, which is plain decimal text; only the last has none.

    ``price_per_unit`` is decimal minor units, ``fixed_price`` minor units, paid once when any unit reaches the tier.
    """

    up_to: str | None
    price_per_unit: str
    fixed_price: int = 0

    @property
    def last_unit(self) -> Decimal | None:
        """``up_to`` as a number of units; ``None`` is no end."""
        return None if self.up_to is None else Decimal(self.up_to)

    @property
    def unit_price(self) -> Decimal:
        """``price_per_unit`` as a number of minor units."""
        return Decimal(self.price_per_unit)


class TierUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one tier contributes to a line: ``amount`` = ``units`` times ``price_per_unit`` plus ``fixed_price``.

    ``amount`` is the exact decimal number of minor units, so that the sum over a line can be checked before its one
    rounding.
    """

    up_to: str | None
    units: str
    price_per_unit: str
    fixed_price: int
    amount: str


def graduated(tiers: Sequence[Tier], units: Decimal) -> tuple[TierUse, ...]:
    """Each tier prices the units inside it; those that no unit reaches are left out."""
    return tuple(_use(tier, inside) for tier, inside in _spread(tiers, units))


def volume(tiers: Sequence[Tier], units: Decimal) -> tuple[TierUse, ...]:
    """The tier that holds the total prices every unit; none does when there are no units."""
    return tuple(_use(tier, units) for tier in _holding(tiers, units))


def exact_amount(uses: Sequence[TierUse]) -> Decimal:
    """What the tiers come to, exact minor units."""
    return number.total(Decimal(use.amount) for use in uses)


def _use(tier: Tier, units: Decimal) -> TierUse:
    amount = number.plus(number.times(units, tier.unit_price), Decimal(tier.fixed_price))
    return TierUse(
        up_to=tier.up_to,
        units=number.plain(units),
        price_per_unit=tier.price_per_unit,
        fixed_price=tier.fixed_price,
        amount=number.plain(amount),
    )


def _spread(tiers: Sequence[Tier], units: Decimal) -> Iterator[tuple[Tier, Decimal]]:
    """The tiers that units reach, each with the units inside it."""
    below = ZERO
    for tier in tiers:
        if units <= below:
            return
        top = units if tier.last_unit is None else min(units, tier.last_unit)
        yield tier, number.minus(top, below)
        below = top


def _holding(tiers: Sequence[Tier], units: Decimal) -> Sequence[Tier]:
    """The one tier that the total lies in."""
    if units <= ZERO:
        return ()
    return next([tier] for tier in tiers if tier.last_unit is None or units <= tier.last_unit)
