"""Prices: what a product costs per cycle and per unit, in versions that never change once they are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec

from domain.cycle import Interval, Unit
from domain.entitlement import Overage, OverageBehavior, Rollover, Terms
from domain.tier import Tier, TierMode

Given = TypeVar("Given")

UNTIL_CANCELLED = Interval(count=20, unit=Unit.Year)
"""The subscription period that means no end (and the longest one), as in the wire contract."""

# A stored price leaves out what has its default, so that a flat one is written as it always was; fields that were
# always written have a factory for their default, which msgspec does not leave out.


class FeeRule(StrEnum):
    """How a cycle's fixed fee is charged: by the part of its planned span that it lasted, in full, or not at all."""

    shared = "shared"
    full = "full"
    waived = "waived"


class MeterPrice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one meter's units cost, beyond ``free_threshold`` units a cycle.

    Flat: ``price_per_unit``, decimal minor units. By tiers: ``tiers`` with ``graduated`` or ``volume``. By package:
    each started ``package_size`` units cost ``price_per_unit``. With ``credit_entitlement_id`` credits are used first,
    one for each ``meter_units_per_credit`` units; such a line may have no price of its own. All numbers are plain
    decimal text, so that the stored form is exact and for ever.
    """

    meter_id: str
    price_per_unit: str | None = None
    free_threshold: str = msgspec.field(default_factory=lambda: "0")
    tier_mode: TierMode | None = None
    tiers: tuple[Tier, ...] = ()
    package_size: str | None = None
    credit_entitlement_id: str | None = None
    meter_units_per_credit: str | None = None

    @property
    def unit_price(self) -> Decimal | None:
        """``price_per_unit`` as a number of minor units."""
        return _value(self.price_per_unit)

    @property
    def free_units(self) -> Decimal:
        """``free_threshold`` as a number of units."""
        return Decimal(self.free_threshold)

    @property
    def package_units(self) -> Decimal | None:
        """``package_size`` as a number of units."""
        return _value(self.package_size)

    @property
    def units_per_credit(self) -> Decimal | None:
        """``meter_units_per_credit`` as a number of units."""
        return _value(self.meter_units_per_credit)

    @property
    def credits_only(self) -> bool:
        """Whether the line has no price of its own: what credits do not cover is up to the entitlement's overage."""
        return self.price_per_unit is None and not self.tiers


class ProrationBehavior(StrEnum):
    """Whether a grant that a plan change makes is shared out by time, as written on the wire."""

    prorate = "prorate"
    no_prorate = "no_prorate"


class IncludedCredits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Credits of an entitlement that come with a product, once per cycle.

    Amounts are plain decimal text. What is ``None`` is as the entitlement's own terms have it.
    """

    credit_entitlement_id: str
    credits_amount: str
    expires_after_days: int | None = None
    low_balance_threshold_percent: int | None = None
    overage_enabled: bool | None = None
    overage_behavior: OverageBehavior | None = None
    overage_limit: str | None = None
    price_per_unit: str | None = None
    rollover_enabled: bool | None = None
    rollover_percentage: int | None = None
    rollover_timeframe: Interval | None = None
    max_rollover_count: int | None = None
    proration_behavior: ProrationBehavior | None = None
    trial_credits: str | None = None
    trial_credits_expire_after_trial: bool | None = None

    def terms(self, own: Terms, currency: str) -> Terms:
        """The entitlement's ``own`` terms with what this product says otherwise; its price is in ``currency``."""
        return msgspec.structs.replace(
            own,
            expires_after_days=_either(self.expires_after_days, own.expires_after_days),
            rollover=Rollover(
                enabled=_either(self.rollover_enabled, own.rollover.enabled),
                percentage=_either(self.rollover_percentage, own.rollover.percentage),
                timeframe=_either(self.rollover_timeframe, own.rollover.timeframe),
                max_count=_either(self.max_rollover_count, own.rollover.max_count),
            ),
            overage=Overage(
                enabled=_either(self.overage_enabled, own.overage.enabled),
                behavior=_either(self.overage_behavior, own.overage.behavior),
                limit=_either(self.overage_limit, own.overage.limit),
            ),
            currency=own.currency if self.price_per_unit is None else currency,
            price_per_unit=_either(self.price_per_unit, own.price_per_unit),
        )


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A usage-based price: a fixed fee in minor units per cycle, the prices of the meters, and the credits included."""

    currency: str
    fixed_price: int
    cycle: Interval
    subscription_period: Interval
    meters: tuple[MeterPrice, ...] = msgspec.field(default_factory=tuple)
    tax_inclusive: bool = msgspec.field(default_factory=bool)
    purchasing_power_parity: bool = msgspec.field(default_factory=bool)
    credits: tuple[IncludedCredits, ...] = ()

    def included(self, entitlement_id: str) -> IncludedCredits | None:
        """The credits of an entitlement that the price includes, which it does at most once."""
        return next((one for one in self.credits if one.credit_entitlement_id == entitlement_id), None)


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


def _either(here: Given | None, otherwise: Given) -> Given:
    return otherwise if here is None else here


def _value(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
