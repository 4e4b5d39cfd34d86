"""Rating: quantities, thresholds and prices become money. One pure function for estimate, close and replay.

The arithmetic is section 5 of the semantics, step by step; the only rounding is one per line.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from domain import instant, number
from domain.money import price_major_text, round_to_minor
from domain.price import MeterPrice, Price

ZERO = Decimal(0)


class LineKind(StrEnum):
    """What a line is for."""

    usage = "usage"
    fixed = "fixed"
    proration = "proration"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice line. Units and prices are plain decimal text, ``amount`` whole minor units."""

    kind: LineKind
    product_id: str
    meter_id: str | None
    description: str
    consumed_units: str
    free_units: str
    credit_units: str
    paid_units: str
    price_per_unit: str
    amount: int


class MeterUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one meter of a product consumed in the cycle, in the meter's unit, and its price."""

    name: str
    measurement_unit: str
    price: MeterPrice
    consumed: Decimal


class RatedProduct(msgspec.Struct, frozen=True, kw_only=True):
    """One product of the subscription with the price version of this cycle."""

    product_id: str
    name: str
    quantity: int
    price: Price
    usage: tuple[MeterUsage, ...]


class CycleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that rating a cycle depends on. ``planned_end`` is later than ``end`` when the cycle was cut."""

    currency: str
    start: datetime
    end: datetime
    planned_end: datetime
    products: tuple[RatedProduct, ...]


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a cycle and their sum, whole minor units. The total never goes below 0."""

    lines: tuple[Line, ...]
    subtotal_amount: int
    total_amount: int


def rate(facts: CycleFacts) -> Rated:
    """Rate one cycle: a fixed line per product that has a fee, then a usage line per product and meter."""
    lines = tuple(line for product in facts.products for line in _product_lines(facts, product))
    subtotal = sum(line.amount for line in lines)
    return Rated(lines=lines, subtotal_amount=subtotal, total_amount=max(0, subtotal))


def _product_lines(facts: CycleFacts, product: RatedProduct) -> Iterator[Line]:
    if product.price.fixed_price:
        yield _fixed_line(facts, product)
    for usage in product.usage:
        yield _usage_line(facts.currency, product, usage)


def chargeable_units(consumed: Decimal, free_threshold: Decimal) -> Decimal:
    """``max(0, consumed - free_threshold)``: corrections may take usage below 0, never the bill."""
    return max(ZERO, number.minus(consumed, free_threshold))


def _usage_line(currency: str, product: RatedProduct, usage: MeterUsage) -> Line:
    price = usage.price
    paid = chargeable_units(usage.consumed, price.free_units)
    return Line(
        kind=LineKind.usage,
        product_id=product.product_id,
        meter_id=price.meter_id,
        description=(
            f"{product.name}: {usage.name}, {price_major_text(price.unit_price, currency)} {currency}"
            f" per {usage.measurement_unit}"
        ),
        consumed_units=number.plain(usage.consumed),
        free_units=number.plain(max(ZERO, number.minus(usage.consumed, paid))),
        credit_units="0",
        paid_units=number.plain(paid),
        price_per_unit=price.price_per_unit,
        amount=round_to_minor(number.times(paid, price.unit_price)),
    )


def _fixed_line(facts: CycleFacts, product: RatedProduct) -> Line:
    """The fixed fee of the cycle, shared out by microseconds when the cycle was cut."""
    fee, quantity = Decimal(product.price.fixed_price), Decimal(product.quantity)
    whole = facts.end == facts.planned_end
    share = Decimal(1) if whole else _share_of_cycle(facts)
    part = "" if whole else f", until {instant.text(facts.end)}"
    return Line(
        kind=LineKind.fixed if whole else LineKind.proration,
        product_id=product.product_id,
        meter_id=None,
        description=f"{product.name}: fixed price per cycle{part}",
        consumed_units=number.plain(number.times(quantity, share)),
        free_units="0",
        credit_units="0",
        paid_units=number.plain(number.times(quantity, share)),
        price_per_unit=number.plain(fee),
        amount=round_to_minor(number.times(number.times(fee, quantity), share)),
    )


def _share_of_cycle(facts: CycleFacts) -> Decimal:
    start = instant.micros(facts.start)
    lasted, planned = instant.micros(facts.end) - start, instant.micros(facts.planned_end) - start
    return number.quotient(Decimal(lasted), Decimal(planned))
