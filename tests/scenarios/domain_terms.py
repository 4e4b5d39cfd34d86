"""What a story sells, in the words of the domain."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from domain.claim import OverageTerms
from domain.cycle import Interval, Unit
from domain.entitlement import BurnOrder, Overage, OverageBehavior, Rollover, Terms
from domain.grant import Calendar, RolloverTerms
from domain.price import IncludedCredits, MeterPrice, Price
from domain.rating import CountedOverage
from domain.tier import Tier, TierMode
from tests.scenarios import tariff as told
from tests.scenarios.lines import Json


def interval(text: str) -> Interval:
    """``1 Month``."""
    count, unit = text.split(" ")
    return Interval(count=int(count), unit=Unit(unit))


def meter_price(given: told.MeterTariff) -> MeterPrice:
    """A meter's price as the domain has it."""
    return MeterPrice(
        meter_id=given.meter,
        price_per_unit=told.money(given.each).plain if given.each else None,
        free_threshold=str(given.free),
        tier_mode=TierMode(given.mode) if given.mode else None,
        tiers=tuple(
            Tier(
                up_to=None if tier.up_to is None else str(tier.up_to),
                price_per_unit=told.money(tier.each).plain,
                fixed_price=told.money(tier.flat).whole if tier.flat else 0,
            )
            for tier in given.tiers
        ),
        package_size=None if given.package is None else str(given.package),
        credit_entitlement_id=given.credits,
        meter_units_per_credit=None if given.units_per_credit is None else str(given.units_per_credit),
    )


def price_of(given: told.Tariff, credits: tuple[IncludedCredits, ...] | None = None) -> Price:
    """A price as the domain has it; ``credits`` are those that stay when only the price changes."""
    own = tuple(
        IncludedCredits(credit_entitlement_id=one.credits, credits_amount=one.amount, **one.terms)
        for one in given.credits
    )
    return Price(
        currency=given.currency,
        fixed_price=told.money(given.fee).whole,
        cycle=interval(given.every),
        subscription_period=interval(given.lasts),
        meters=tuple(map(meter_price, given.prices)),
        credits=own if credits is None else credits,
    )


def terms_of(name: str, given: Json) -> Terms:
    """The terms of a kind of credits, from the words of the wire."""
    overage = {key.removeprefix("overage_"): value for key, value in given.items() if key.startswith("overage_")}
    if "limit" in overage:
        overage["limit"] = str(overage["limit"])
    rollover: Json = {"enabled": given.get("rollover_enabled", False)}
    rollover |= {"percentage": given.get("rollover_percentage"), "max_count": given.get("max_rollover_count")}
    return Terms(
        name=name,
        unit="credit",
        expires_after_days=given.get("expires_after_days"),
        rollover=Rollover(**rollover),
        overage=msgspec.convert(overage, Overage),
        currency=given.get("currency"),
        price_per_unit=given.get("price_per_unit"),
        burn_order=BurnOrder(given.get("burn_order", "oldest")),
    )


def rollover_of(terms: Terms, calendar: Calendar) -> RolloverTerms | None:
    """What becomes of a grant's rest."""
    if not terms.rollover.enabled:
        return None
    percentage = terms.rollover.percentage
    return RolloverTerms(
        calendar=calendar,
        percentage=100 if percentage is None else percentage,
        timeframe=terms.rollover.timeframe,
        max_count=terms.rollover.max_count,
    )


def overage_of(terms: Terms) -> OverageTerms | None:
    """How uncovered credits are counted."""
    if not terms.overage.enabled:
        return None
    return OverageTerms(
        behavior=terms.overage.behavior,
        limit=None if terms.overage.limit is None else Decimal(terms.overage.limit),
        price_per_credit=None if terms.price_per_unit is None else Decimal(terms.price_per_unit),
    )


def counted_of(terms: OverageTerms | None, counted: Decimal) -> CountedOverage | None:
    """Overage as a line has it: it costs something only where it is invoiced."""
    if terms is None or not counted:
        return None
    invoiced = terms.behavior is OverageBehavior.invoice_at_billing
    return CountedOverage(credits=counted, price_per_credit=terms.price_per_credit if invoiced else None)
