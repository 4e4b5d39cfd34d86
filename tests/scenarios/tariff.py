"""What a story sells, in the words of a price list; each world turns it into what it needs.

Money is written in major units: ``$0.001``, ``€12.50``, ``¥120``, ``KWD 1.250``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

SIGNS = {"$": "USD", "€": "EUR", "¥": "JPY"}
DECIMALS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}
"""Digits after the point, from ISO 4217, written down again so that a mistake in the code's own table shows."""


@dataclass(frozen=True)
class Money:
    """An exact number of minor units; of a price it may be a fraction of one."""

    currency: str
    minor: Decimal

    @property
    def whole(self) -> int:
        """The amount, which has to be of whole minor units."""
        assert self.minor == self.minor.to_integral_value(), f"{self} is no whole amount"
        return int(self.minor)

    @property
    def plain(self) -> str:
        """The minor units in plain notation, as a price has them on the wire."""
        text = f"{self.minor:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text


def money(text: str) -> Money:
    """The money that a text names: a sign or a code, then major units. A minus stands in front."""
    negative, text = text.startswith("-"), text.removeprefix("-")
    if text[0] in SIGNS:
        currency, number = SIGNS[text[0]], text[1:]
    else:
        currency, number = text.split(" ")
    amount = Decimal(number.replace(",", "")).scaleb(DECIMALS[currency])
    return Money(currency, -amount if negative else amount)


@dataclass(frozen=True)
class Tier:
    """Units up to and including ``up_to``, the last tier without end."""

    up_to: int | str | None
    each: str
    flat: str | None = None


@dataclass(frozen=True)
class MeterTariff:
    """The price of one meter's units; build it with the functions below."""

    meter: str
    each: str | None = None
    free: int | str = 0
    mode: str | None = None
    tiers: tuple[Tier, ...] = ()
    package: int | str | None = None
    credits: str | None = None
    units_per_credit: int | str | None = None


def per_unit(meter: str, each: str, free: int | str = 0) -> MeterTariff:
    """A flat price for each unit beyond the free ones."""
    return MeterTariff(meter, each=each, free=free)


def graduated(meter: str, *tiers: Tier, free: int | str = 0) -> MeterTariff:
    """Each tier prices the units inside it."""
    return MeterTariff(meter, mode="graduated", tiers=tiers, free=free)


def volume(meter: str, *tiers: Tier, free: int | str = 0) -> MeterTariff:
    """The tier that holds the total prices every unit."""
    return MeterTariff(meter, mode="volume", tiers=tiers, free=free)


def per_package(meter: str, each: str, of: int | str, free: int | str = 0) -> MeterTariff:
    """A price for each started package."""
    return MeterTariff(meter, mode="package", each=each, package=of, free=free)


def in_credits(
    meter: str, credits: str, units: int | str = 1, each: str | None = None, free: int | str = 0
) -> MeterTariff:
    """One credit for each ``units`` units first, then ``each`` if there is such a price."""
    return MeterTariff(meter, each=each, free=free, credits=credits, units_per_credit=units)


@dataclass(frozen=True)
class Included:
    """Credits that come with a product each cycle; ``terms`` are those of the wire that differ from the kind's own."""

    credits: str
    amount: str
    terms: dict[str, Any] = field(default_factory=dict)


def included(credits: str, amount: int | str, **terms: Any) -> Included:
    """So many credits each cycle."""
    return Included(credits, str(amount), terms)


@dataclass(frozen=True)
class Tariff:
    """Everything a product costs. ``every`` is the cycle, such as ``1 Month``; it runs until it is cancelled."""

    fee: str
    prices: tuple[MeterTariff, ...] = ()
    credits: tuple[Included, ...] = ()
    every: str = "1 Month"
    lasts: str = "20 Year"

    @property
    def currency(self) -> str:
        """The fee says it, also where it is 0."""
        return money(self.fee).currency
