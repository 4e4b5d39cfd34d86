"""Prices in words and in major units, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from app.dashboard.wording import money
from app.dashboard.wording import number as grouped
from domain.cycle import Interval
from domain.money import price_major_text
from domain.price import MeterPrice, Price, PriceVersion, version_in_force
from domain.tier import Tier, TierMode
from projections.database import Row


class VersionWords(msgspec.Struct, frozen=True):
    """A price version in words. ``status`` is in force, for later, or earlier; ``since`` ``None`` the beginning."""

    number: int
    since: datetime | None
    status: str
    fixed: str
    meters: tuple[str, ...]
    credits: tuple[str, ...]


def unit_price(minor: str | Decimal, currency: str) -> str:
    """A price per unit in major units: ``0.1`` of USD is ``0.001 USD``."""
    return f"{grouped(price_major_text(Decimal(minor), currency))} {currency}"


def interval_words(interval: Interval) -> str:
    """A billing interval: ``month``, ``3 months``."""
    unit = interval.unit.value.lower()
    return unit if interval.count == 1 else f"{interval.count} {unit}s"


def fixed_words(price: Price) -> str:
    """The fixed price of a cycle."""
    return f"{money(price.fixed_price, price.currency)} per {interval_words(price.cycle)}"


def meter_words(price: MeterPrice, currency: str, name: str, unit: str) -> str:
    """What a meter's units cost, in one sentence."""
    free = f" after {grouped(price.free_threshold)} free" if price.free_units else ""
    burned = f"; credits first, one for {grouped(price.meter_units_per_credit or '')} {unit}"
    return f"{name}: {_model(price, currency, unit)}{free}{burned if price.credit_entitlement_id else ''}"


def _model(price: MeterPrice, currency: str, unit: str) -> str:
    if price.tiers:
        how = (
            "each tier at its price"
            if price.tier_mode is TierMode.graduated
            else "all at the price of the tier reached"
        )
        return f"{', '.join(_tier(tier, currency, unit) for tier in price.tiers)} ({how})"
    if price.price_per_unit is None:
        return "in credits alone"
    each = unit if price.package_size is None else f"started {grouped(price.package_size)} {unit}"
    return f"{unit_price(price.price_per_unit, currency)} per {each}"


def _tier(tier: Tier, currency: str, unit: str) -> str:
    reach = "beyond" if tier.up_to is None else f"up to {grouped(tier.up_to)}"
    fixed = f" + {money(tier.fixed_price, currency)}" if tier.fixed_price else ""
    return f"{reach}: {unit_price(tier.price_per_unit, currency)} per {unit}{fixed}"


def versions_of(row: Row) -> list[PriceVersion]:
    """The price versions in a row of the ``product`` read model, in the order of their recording."""
    return msgspec.json.decode(row["versions"], type=list[PriceVersion])


def price_words(price: Price, meters: Mapping[str, Row]) -> tuple[str, ...]:
    """The prices of a product's meters, a sentence each; ``meters`` holds their rows by id."""
    return tuple(
        meter_words(meter, price.currency, meters[meter.meter_id]["name"], meters[meter.meter_id]["measurement_unit"])
        for meter in price.meters
    )


def credit_words(price: Price, entitlements: Mapping[str, str]) -> tuple[str, ...]:
    """The credits that a price includes; ``entitlements`` holds their names by id."""
    return tuple(
        f"{grouped(one.credits_amount)} {entitlements[one.credit_entitlement_id]} per cycle" for one in price.credits
    )


def version_words(
    versions: list[PriceVersion], now: datetime, meters: Mapping[str, Row], entitlements: Mapping[str, str]
) -> list[VersionWords]:
    """All versions in words, the last recorded first."""
    current = version_in_force(versions, now)
    words: list[VersionWords] = []
    for index, version in enumerate(versions):
        later = version.effective_at is not None and version.effective_at > now
        words.append(
            VersionWords(
                number=index + 1,
                since=version.effective_at,
                status="in force" if index == current else "for later" if later else "earlier",
                fixed=fixed_words(version.price),
                meters=price_words(version.price, meters),
                credits=credit_words(version.price, entitlements),
            )
        )
    return words[::-1]
