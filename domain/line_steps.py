"""From what a meter counted to the amount of an invoice line: every step that rating takes, written down.

Nothing is decided here. Each function takes the facts that ``domain.rating`` takes, and repeats its arithmetic on a
worksheet; that both come to the same is checked by whoever explains an invoice, for each line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from domain import instant
from domain.aggregation import Aggregation, Kind, Summary
from domain.arithmetic import Figure, Measure, Operation, Worksheet
from domain.price import FeeRule, MeterPrice
from domain.rating import PERCENT, ZERO, CycleFacts, MeterUsage, RatedProduct, TaxBase, TaxLine
from domain.tier import TierMode, TierUse, graduated, volume

Figures = Mapping[str, Figure]
"""What became of a line on a worksheet, by the name of the line's field."""


class CountedUsage(msgspec.Struct, frozen=True):
    """What a meter counted in a cycle, and how. ``distinct`` is the number of different values of a `unique` meter."""

    aggregation: Aggregation
    summary: Summary
    distinct: int


class GrantDraw(msgspec.Struct, frozen=True):
    """Credits that a line took from one grant."""

    grant_id: str
    credits: Decimal


class DrawnCredits(msgspec.Struct, frozen=True):
    """The credits of an entitlement that a line took, by grant. ``precision`` is the number of digits they have."""

    entitlement_id: str
    precision: int
    draws: tuple[GrantDraw, ...] = ()


def write_usage(
    sheet: Worksheet, facts: CycleFacts, usage: MeterUsage, counted: CountedUsage, drawn: DrawnCredits
) -> Figures:
    """A usage line: what was counted, what of it is free or covered by credits, and what the rest costs."""
    units = _write_units(sheet, facts, usage, counted, drawn)
    exact = _write_price(sheet, usage.price, units["paid_units"])
    return {**units, "amount": _write_rounding(sheet, exact)}


def write_overage(
    sheet: Worksheet, facts: CycleFacts, usage: MeterUsage, counted: CountedUsage, drawn: DrawnCredits
) -> Figures:
    """An overage line: the credits that were wanted and that no grant covered, as far as the limit counts them."""
    assert usage.overage is not None
    assert usage.overage.price_per_credit is not None
    chargeable = _write_chargeable(sheet, usage.price, _write_consumed(sheet, counted))
    wanted, covered = _write_credits(sheet, usage.price, chargeable, drawn)
    sheet.compute(
        "uncovered_credits", Operation.minus, wanted, covered, measure=Measure.credit, rule="no grant covers these"
    )
    rule = "as many of them as the limit of the overage counts, over all lines of the cycle"
    counted_credits = sheet.given("overage_credits", usage.overage.credits, Measure.credit, rule)
    price = sheet.given("price_per_credit", usage.overage.price_per_credit, Measure.minor, "the price of overage")
    exact = sheet.compute("price_of_credits", Operation.times, counted_credits, price, measure=Measure.minor)
    zero = _zero(sheet)
    return {
        "consumed_units": counted_credits,
        "free_units": zero,
        "credit_units": zero,
        "paid_units": counted_credits,
        "amount": _write_rounding(sheet, exact),
    }


def write_fixed(sheet: Worksheet, facts: CycleFacts, product: RatedProduct) -> Figures:
    """The fixed price: times the quantity, and times the part of the planned cycle that is paid for."""
    quantity = sheet.given("quantity", product.quantity, Measure.plain, "how often the product is subscribed to")
    begun_late = facts.start != facts.planned_start
    cut = facts.fee is not FeeRule.full and facts.end != facts.planned_end
    units = quantity
    if begun_late or cut:
        end = facts.end if cut else facts.planned_end
        lasted = sheet.given(
            "lasted",
            instant.micros(end) - instant.micros(facts.start),
            Measure.microsecond,
            f"from {instant.moment(facts.start)} until {instant.moment(end)}",
        )
        planned = sheet.given(
            "planned",
            instant.micros(facts.planned_end) - instant.micros(facts.planned_start),
            Measure.microsecond,
            f"from {instant.moment(facts.planned_start)} until {instant.moment(facts.planned_end)}",
        )
        rule = "the part of the planned cycle, to 12 places"
        share = sheet.compute("share", Operation.divided, lasted, planned, measure=Measure.plain, rule=rule)
        units = sheet.compute("share_of_quantity", Operation.times, quantity, share, measure=Measure.plain)
    fee = sheet.given("fixed_price", product.price.fixed_price, Measure.minor, "the price version's, for one cycle")
    exact = sheet.compute("price_of_quantity", Operation.times, fee, units, measure=Measure.minor)
    zero = _zero(sheet)
    amount = _write_rounding(sheet, exact)
    return {"consumed_units": units, "free_units": zero, "credit_units": zero, "paid_units": units, "amount": amount}


def write_tax(sheet: Worksheet, base: TaxBase, tax: TaxLine) -> Figure:
    """What a tax comes to on the lines that it is on."""
    on = sheet.given("taxed_amount", base.subtotal, Measure.minor, f"the sum of the lines that {tax.name} is on")
    percent = sheet.given(
        f"percent_of_{tax.name}", Decimal(tax.percent), Measure.plain, "as set before the cycle ended"
    )
    hundred = sheet.given("hundred", PERCENT, Measure.plain)
    product = sheet.compute("times_percent", Operation.times, on, percent, measure=Measure.plain)
    rule = "rounded once, half away from zero"
    under = hundred
    if base.included:
        rule += "; the tax is in the price already, so the rest is 100 percent of what it is on"
        under = sheet.compute("hundred_and_percent", Operation.plus, hundred, percent, measure=Measure.plain)
    return sheet.compute("amount_of_tax", Operation.divided, product, under, measure=Measure.minor, rule=rule, places=0)


def sum_of(sheet: Worksheet, name: str, figures: Iterable[Figure], measure: Measure, rule: str = "") -> Figure:
    """The sum of figures; 0 of none."""
    return sheet.compute(name, Operation.plus, *figures, measure=measure, rule=rule)


def _write_units(
    sheet: Worksheet, facts: CycleFacts, usage: MeterUsage, counted: CountedUsage, drawn: DrawnCredits
) -> dict[str, Figure]:
    """What became of the consumed units. Trials pay for none."""
    price = usage.price
    consumed = _write_consumed(sheet, counted)
    chargeable = _write_chargeable(sheet, price, consumed)
    if price.units_per_credit is None:
        credit_units = sheet.given("credit_units", 0, Measure.unit, "the line burns no credits")
    else:
        _, covered = _write_credits(sheet, price, chargeable, drawn)
        each = sheet.given("units_per_credit", price.units_per_credit, Measure.unit, "as the price version says")
        reach = sheet.compute("units_in_credits", Operation.times, covered, each, measure=Measure.unit)
        rule = "credits cover no more than is chargeable"
        credit_units = sheet.compute(
            "credit_units", Operation.least, reach, chargeable, measure=Measure.unit, rule=rule
        )
    if facts.trial:
        paid = sheet.given("paid_units", 0, Measure.unit, "the cycle is a trial: what credits do not cover is free")
    else:
        paid = sheet.compute("paid_units", Operation.minus, chargeable, credit_units, measure=Measure.unit)
    rest = sheet.compute("units_not_free", Operation.plus, credit_units, paid, measure=Measure.unit)
    left = sheet.compute("units_left", Operation.minus, consumed, rest, measure=Measure.unit)
    free = sheet.compute("free_units", Operation.greatest, left, _zero(sheet), measure=Measure.unit)
    return {"consumed_units": consumed, "free_units": free, "credit_units": credit_units, "paid_units": paid}


def _write_consumed(sheet: Worksheet, counted: CountedUsage) -> Figure:
    """What the aggregation gives."""
    summary, kind, key = counted.summary, counted.aggregation.type, counted.aggregation.key
    rule = f"events that pass the meter's filter and have a usable value; {summary.unmeasured} more have none"
    if kind is Kind.count:
        rule = "events that pass the meter's filter"
    events = sheet.given("events", summary.events, Measure.event, rule)
    nothing = "no event counted" if not summary.events else ""
    match kind:
        case Kind.count:
            return sheet.compute("consumed_units", Operation.plus, events, measure=Measure.unit, rule="one unit each")
        case Kind.avg if summary.events:
            total = sheet.given("total", summary.total, Measure.unit, f"the sum of {key}")
            rule = "the average, to 12 places"
            return sheet.compute("consumed_units", Operation.divided, total, events, measure=Measure.unit, rule=rule)
        case Kind.avg:
            return sheet.given("consumed_units", ZERO, Measure.unit, nothing)
        case Kind.sum:
            return sheet.given("consumed_units", summary.total, Measure.unit, nothing or f"the sum of {key}")
        case Kind.max:
            return sheet.given("consumed_units", summary.high or ZERO, Measure.unit, nothing or f"the greatest {key}")
        case Kind.min:
            return sheet.given("consumed_units", summary.low or ZERO, Measure.unit, nothing or f"the least {key}")
        case Kind.last:
            value = ZERO if summary.last is None else summary.last.value
            return sheet.given("consumed_units", value, Measure.unit, nothing or f"the {key} that came last")
        case Kind.unique:
            rule = nothing or f"different values of {key}"
            return sheet.given("consumed_units", counted.distinct, Measure.unit, rule)


def _write_chargeable(sheet: Worksheet, price: MeterPrice, consumed: Figure) -> Figure:
    threshold = sheet.given("free_threshold", price.free_units, Measure.unit, "free in each cycle, as the price says")
    above = sheet.compute("above_threshold", Operation.minus, consumed, threshold, measure=Measure.unit)
    rule = "never below 0: corrections may take usage below it, never the bill"
    return sheet.compute("chargeable_units", Operation.greatest, above, _zero(sheet), measure=Measure.unit, rule=rule)


def _write_credits(
    sheet: Worksheet, price: MeterPrice, chargeable: Figure, drawn: DrawnCredits
) -> tuple[Figure, Figure]:
    """The credits that the chargeable units want, and those that grants gave."""
    assert price.units_per_credit is not None
    each = sheet.given("units_per_credit", price.units_per_credit, Measure.unit, "as the price version says")
    wanted = sheet.compute(
        "wanted_credits",
        Operation.divided,
        chargeable,
        each,
        measure=Measure.credit,
        rule=f"rounded to the {drawn.precision} places that these credits have",
        places=drawn.precision,
    )
    draws = [
        sheet.given(
            "drawn_from_grant", draw.credits, Measure.credit, f"from {draw.grant_id}, recorded with the invoice"
        )
        for draw in drawn.draws
    ]
    rule = "" if draws else "no grant had any to give"
    return wanted, sum_of(sheet, "drawn_credits", draws, Measure.credit, rule)


def _write_price(sheet: Worksheet, price: MeterPrice, paid: Figure) -> Figure:
    """What the paid units cost, exact minor units."""
    if price.tiers:
        return _write_tiers(sheet, price, paid)
    if price.price_per_unit is None:
        rule = "the line has no price of its own: units that credits do not cover are a matter of overage"
        return sheet.given("price_of_units", 0, Measure.minor, rule)
    each = Decimal(price.price_per_unit)
    if price.package_units is None:
        unit_price = sheet.given("price_per_unit", each, Measure.minor, "the price version's")
        return sheet.compute("price_of_units", Operation.times, paid, unit_price, measure=Measure.minor)
    size = sheet.given("package_size", price.package_units, Measure.unit, "as the price version says")
    rule = "a package is paid whole once it is begun"
    packages = sheet.compute("packages", Operation.divided_up, paid, size, measure=Measure.plain, rule=rule)
    package_price = sheet.given("price_per_package", each, Measure.minor, "the price version's")
    return sheet.compute("price_of_packages", Operation.times, packages, package_price, measure=Measure.minor)


def _write_tiers(sheet: Worksheet, price: MeterPrice, paid: Figure) -> Figure:
    """By volume one tier prices every unit; otherwise each prices the units inside it."""
    amounts: list[Figure] = []
    below: Figure | None = None
    by_volume = price.tier_mode is TierMode.volume
    for use in volume(price.tiers, paid.value) if by_volume else graduated(price.tiers, paid.value):
        named = f"tier_{[tier.up_to for tier in price.tiers].index(use.up_to) + 1}"
        inside = paid
        if not by_volume:
            inside, below = _write_units_inside(sheet, named, use, paid, below)
        reach = "the last tier" if use.up_to is None else f"the tier up to {use.up_to}"
        each = sheet.given(f"{named}_price", Decimal(use.price_per_unit), Measure.minor, reach)
        amount = sheet.compute(f"{named}_price_of_units", Operation.times, inside, each, measure=Measure.minor)
        if use.fixed_price:
            fixed = sheet.given(f"{named}_fixed_price", use.fixed_price, Measure.minor, "once any unit reaches it")
            amount = sum_of(sheet, f"{named}_amount", (amount, fixed), Measure.minor)
        amounts.append(amount)
    return sum_of(sheet, "price_of_tiers", amounts, Measure.minor, "" if amounts else "no unit is paid")


def _write_units_inside(
    sheet: Worksheet, named: str, use: TierUse, paid: Figure, below: Figure | None
) -> tuple[Figure, Figure | None]:
    """The units inside a tier, of which ``below`` is the end of the one before, and the tier's own end."""
    end, top = None, paid
    if use.up_to is not None:
        end = sheet.given(f"{named}_end", Decimal(use.up_to), Measure.unit, "the last unit of the tier")
        top = sheet.compute(f"{named}_reached", Operation.least, paid, end, measure=Measure.unit)
    if below is not None:
        rule = "less the units of the tiers before it"
        top = sheet.compute(f"{named}_units", Operation.minus, top, below, measure=Measure.unit, rule=rule)
    return top, end


def _write_rounding(sheet: Worksheet, exact: Figure) -> Figure:
    rule = "the one rounding of the line: half away from zero, to whole minor units"
    return sheet.compute("amount", Operation.rounded, exact, measure=Measure.minor, rule=rule)


def _zero(sheet: Worksheet) -> Figure:
    return sheet.given("zero", 0, Measure.plain)
