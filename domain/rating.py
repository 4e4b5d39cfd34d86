"""Rating: quantities, thresholds, credits and prices become money. One pure function for estimate, close and replay.

The arithmetic is section 5 of the semantics, step by step; the only rounding is one per line.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from domain import instant, number
from domain.money import price_major_text, round_to_minor
from domain.price import FeeRule, MeterPrice, Price
from domain.tier import TierMode, TierUse, exact_amount, graduated, volume

ZERO = Decimal(0)
PERCENT = Decimal(100)


class LineKind(StrEnum):
    """What a line is for."""

    usage = "usage"
    fixed = "fixed"
    proration = "proration"
    overage = "overage"
    adjustment = "adjustment"


class Computation(msgspec.Struct, frozen=True, kw_only=True):
    """What one meter of one product came to in a cycle. Units are plain decimal text, ``amount`` whole minor units."""

    consumed_units: str
    free_units: str
    credit_units: str
    paid_units: str
    amount: int


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One invoice line. Units and prices are plain decimal text, ``amount`` whole minor units.

    Of a price by package ``price_per_unit`` is that of a package; by tiers it is that of the last tier reached, and
    ``tiers`` shows what each came to. An adjustment names the cycle that it corrects, with the computation that was
    invoiced ``before`` and the one ``after``; its units are their difference.
    """

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
    # Only these have defaults and are left out when they say nothing, so that older documents keep their bytes.
    package_size: str | None = None
    tiers: tuple[TierUse, ...] = ()
    cycle_start: str | None = None
    cycle_end: str | None = None
    before: Computation | None = None
    after: Computation | None = None


class CountedOverage(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that a line wanted and no grant covered, as far as the limit counts them.

    ``price_per_credit`` is in minor units; without one they are counted and cost nothing now.
    """

    credits: Decimal
    price_per_credit: Decimal | None


class MeterUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one meter of a product consumed in the cycle, in the meter's unit, its price, and the credits it drew."""

    name: str
    measurement_unit: str
    price: MeterPrice
    consumed: Decimal
    credits: Decimal = ZERO
    overage: CountedOverage | None = None


class RatedProduct(msgspec.Struct, frozen=True, kw_only=True):
    """One product of the subscription with the price version of this cycle."""

    product_id: str
    name: str
    quantity: int
    price: Price
    usage: tuple[MeterUsage, ...]


class Tax(msgspec.Struct, frozen=True, kw_only=True):
    """A tax on the subtotal: added to it, or contained in it already (``included``)."""

    name: str
    percent: Decimal
    included: bool


class TaxLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a tax came to: ``percent`` as plain decimal text, ``amount`` whole minor units."""

    name: str
    percent: str
    amount: int
    included: bool


class CycleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that rating a cycle depends on.

    The planned span is longer than the cycle when it began late or was cut. ``adjustments`` are lines that were
    computed for closed cycles; they are added as they are. ``taxed_inside`` names the products whose prices contain
    tax.
    """

    currency: str
    start: datetime
    end: datetime
    planned_start: datetime
    planned_end: datetime
    fee: FeeRule
    trial: bool
    products: tuple[RatedProduct, ...]
    adjustments: tuple[Line, ...] = ()
    taxes: tuple[Tax, ...] = ()
    taxed_inside: frozenset[str] = frozenset()


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a cycle, their sum, and the taxes on it, whole minor units.

    The sum may be below 0, and the taxes with it. ``tax_amount`` is what is to be added: contained taxes add nothing.
    """

    lines: tuple[Line, ...]
    subtotal_amount: int
    tax_lines: tuple[TaxLine, ...]
    tax_amount: int


def rate(facts: CycleFacts) -> Rated:
    """Rate one cycle: per product a fixed line when it has a fee, then per meter a usage line and its overage line.

    Adjustments come last.
    """
    own = (line for product in facts.products for line in _product_lines(facts, product))
    lines = (*own, *facts.adjustments)
    subtotal = sum(line.amount for line in lines)
    taxes = tuple(_tax_line(tax, base) for tax in facts.taxes for base in tax_bases(tax, lines, facts.taxed_inside))
    return Rated(
        lines=lines,
        subtotal_amount=subtotal,
        tax_lines=taxes,
        tax_amount=sum(tax.amount for tax in taxes if not tax.included),
    )


class TaxBase(msgspec.Struct, frozen=True):
    """The sum of the lines that a tax is on, whole minor units; ``included`` says that their prices contain it."""

    subtotal: int
    included: bool


def tax_bases(tax: Tax, lines: Sequence[Line], taxed_inside: Container[str]) -> list[TaxBase]:
    """A tax is on all lines: added to those whose prices are without it, contained in the others."""
    inside = [line.amount for line in lines if tax.included or line.product_id in taxed_inside]
    outside = [line.amount for line in lines if not tax.included and line.product_id not in taxed_inside]
    bases = [TaxBase(sum(outside), included=False)] if outside or not inside else []
    return [*bases, TaxBase(sum(inside), included=True)] if inside else bases


def chargeable_units(consumed: Decimal, free_threshold: Decimal) -> Decimal:
    """``max(0, consumed - free_threshold)``: corrections may take usage below 0, never the bill."""
    return max(ZERO, number.minus(consumed, free_threshold))


def computation_of(lines: Iterable[Line]) -> Computation:
    """What the usage and overage lines of one meter of one product came to together; zeros without a line."""
    relevant = [line for line in lines if line.kind in (LineKind.usage, LineKind.overage)]
    usage = [line for line in relevant if line.kind is LineKind.usage]
    return Computation(
        consumed_units=_sum_text(line.consumed_units for line in usage),
        free_units=_sum_text(line.free_units for line in usage),
        credit_units=_sum_text(line.credit_units for line in usage),
        paid_units=_sum_text(line.paid_units for line in usage),
        amount=sum(line.amount for line in relevant),
    )


def invoiced_computation(own: Iterable[Line], adjustments: Sequence[Line]) -> Computation:
    """What one meter of one product has come to: its lines on the cycle's own invoice, and their adjustments since.

    It is their sum and not the last adjustment's ``after``: one in between may be void, and an invoice that is issued
    again has in its own lines what stands as an adjustment already.
    """
    first = computation_of(own)
    return Computation(
        consumed_units=_sum_text([first.consumed_units, *(line.consumed_units for line in adjustments)]),
        free_units=_sum_text([first.free_units, *(line.free_units for line in adjustments)]),
        credit_units=_sum_text([first.credit_units, *(line.credit_units for line in adjustments)]),
        paid_units=_sum_text([first.paid_units, *(line.paid_units for line in adjustments)]),
        amount=first.amount + sum(line.amount for line in adjustments),
    )


def adjustment_line(
    *,
    product_id: str,
    product_name: str,
    meter_id: str,
    meter_name: str,
    price_per_unit: str,
    cycle_start: datetime,
    cycle_end: datetime,
    before: Computation,
    after: Computation,
) -> Line:
    """The line that corrects one meter of one product in a closed cycle, up or down.

    ``before`` is everything invoiced for it so far, ``after`` what it comes to with what is known now.
    ``price_per_unit`` is that of the new usage line.
    """
    start, end = instant.text(cycle_start), instant.text(cycle_end)
    return Line(
        kind=LineKind.adjustment,
        product_id=product_id,
        meter_id=meter_id,
        description=(
            f"{product_name}: {meter_name}, adjustment of the cycle from {instant.moment(cycle_start)}"
            f" until {instant.moment(cycle_end)}"
        ),
        consumed_units=_difference_text(after.consumed_units, before.consumed_units),
        free_units=_difference_text(after.free_units, before.free_units),
        credit_units=_difference_text(after.credit_units, before.credit_units),
        paid_units=_difference_text(after.paid_units, before.paid_units),
        price_per_unit=price_per_unit,
        amount=after.amount - before.amount,
        cycle_start=start,
        cycle_end=end,
        before=before,
        after=after,
    )


def _product_lines(facts: CycleFacts, product: RatedProduct) -> Iterator[Line]:
    if product.price.fixed_price and not facts.trial and facts.fee is not FeeRule.waived:
        yield _fixed_line(facts, product)
    for usage in product.usage:
        yield _usage_line(facts, product, usage)
        overage = usage.overage
        if overage is None or overage.price_per_credit is None or not overage.credits:
            continue
        if usage.price.credits_only and not facts.trial:
            yield _overage_line(facts, product, usage, overage.credits, overage.price_per_credit)


def _usage_line(facts: CycleFacts, product: RatedProduct, usage: MeterUsage) -> Line:
    """What credits do not cover of the chargeable units is paid; in a trial it is free."""
    price = usage.price
    chargeable = chargeable_units(usage.consumed, price.free_units)
    in_credits = min(number.times(usage.credits, price.units_per_credit or ZERO), chargeable)
    paid = ZERO if facts.trial else number.minus(chargeable, in_credits)
    priced = _priced(price, paid)
    return Line(
        kind=LineKind.usage,
        product_id=product.product_id,
        meter_id=price.meter_id,
        description=f"{product.name}: {usage.name}, {_price_text(usage, facts.currency)}",
        consumed_units=number.plain(usage.consumed),
        free_units=number.plain(max(ZERO, number.minus(usage.consumed, number.plus(in_credits, paid)))),
        credit_units=number.plain(in_credits),
        paid_units=number.plain(paid),
        price_per_unit=priced.price_per_unit,
        amount=round_to_minor(priced.exact),
        package_size=price.package_size,
        tiers=priced.tiers,
    )


class _Priced(msgspec.Struct, frozen=True):
    """What paid units cost: exact minor units, the price that the line names, and the tiers used."""

    exact: Decimal
    price_per_unit: str
    tiers: tuple[TierUse, ...] = ()


def _priced(price: MeterPrice, paid: Decimal) -> _Priced:
    """Every price model there is; each costs nothing for 0 units."""
    if price.tiers:
        uses = volume(price.tiers, paid) if price.tier_mode is TierMode.volume else graduated(price.tiers, paid)
        last = uses[-1] if uses else price.tiers[0]
        return _Priced(exact_amount(uses), last.price_per_unit, uses)
    if price.price_per_unit is None:
        return _Priced(ZERO, "0")
    count = paid if price.package_units is None else number.quotient_up(paid, price.package_units)
    return _Priced(number.times(count, Decimal(price.price_per_unit)), price.price_per_unit)


def _price_text(usage: MeterUsage, currency: str) -> str:
    price, unit = usage.price, usage.measurement_unit
    if price.tiers:
        return f"{price.tier_mode} price per {unit}"
    if price.unit_price is None:
        return f"in credits, {price.meter_units_per_credit} {unit} per credit"
    package = "" if price.package_size is None else f"package of {price.package_size} "
    return f"{price_major_text(price.unit_price, currency)} {currency} per {package}{unit}"


def _overage_line(
    facts: CycleFacts, product: RatedProduct, usage: MeterUsage, credits_used: Decimal, price_per_credit: Decimal
) -> Line:
    """Credits beyond those there were; the units of this line are credits."""
    currency = facts.currency
    return Line(
        kind=LineKind.overage,
        product_id=product.product_id,
        meter_id=usage.price.meter_id,
        description=(
            f"{product.name}: {usage.name}, overage,"
            f" {price_major_text(price_per_credit, currency)} {currency} per credit"
        ),
        consumed_units=number.plain(credits_used),
        free_units="0",
        credit_units="0",
        paid_units=number.plain(credits_used),
        price_per_unit=number.plain(price_per_credit),
        amount=round_to_minor(number.times(credits_used, price_per_credit)),
    )


def _fixed_line(facts: CycleFacts, product: RatedProduct) -> Line:
    """The fixed fee of the cycle; shared out by microseconds when it did not last its planned span.

    In full means as if it had not been cut: one that began late has its part of the span left to pay for.
    """
    fee, quantity = Decimal(product.price.fixed_price), Decimal(product.quantity)
    begun_late = facts.start != facts.planned_start
    cut = facts.fee is not FeeRule.full and facts.end != facts.planned_end
    whole = not (begun_late or cut)
    share = Decimal(1) if whole else _share_of_cycle(facts)
    part = "" if whole or not begun_late else f", from {instant.moment(facts.start)}"
    part += "" if whole or not cut else f", until {instant.moment(facts.end)}"
    exact_units = number.times(quantity, share)
    units = number.plain(exact_units)
    return Line(
        kind=LineKind.fixed if whole else LineKind.proration,
        product_id=product.product_id,
        meter_id=None,
        description=f"{product.name}: fixed price per cycle{part}",
        consumed_units=units,
        free_units="0",
        credit_units="0",
        paid_units=units,
        price_per_unit=number.plain(fee),
        amount=round_to_minor(number.times(fee, exact_units)),
    )


def _share_of_cycle(facts: CycleFacts) -> Decimal:
    end = facts.planned_end if facts.fee is FeeRule.full else facts.end
    lasted = instant.micros(end) - instant.micros(facts.start)
    planned = instant.micros(facts.planned_end) - instant.micros(facts.planned_start)
    return number.quotient(Decimal(lasted), Decimal(planned))


def _tax_line(tax: Tax, base: TaxBase) -> TaxLine:
    """A contained tax is the part of the subtotal that makes the rest plus ``percent`` of the rest."""
    under = number.plus(PERCENT, tax.percent) if base.included else PERCENT
    amount = number.quotient(number.times(Decimal(base.subtotal), tax.percent), under, places=0)
    return TaxLine(name=tax.name, percent=number.plain(tax.percent), amount=int(amount), included=base.included)


def _sum_text(units: Iterable[str]) -> str:
    return number.plain(number.total(Decimal(text) for text in units))


def _difference_text(after: str, before: str) -> str:
    return number.plain(number.minus(Decimal(after), Decimal(before)))
