"""An invoice line told step by step: from the units used to the amount, with every number on the way.

Nothing is decided here. Each step repeats one that rating took, with the same functions of the domain, so that a reader
can follow it with a pencil.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from app.documents.page import grouped
from domain import arithmetic, number
from domain.arithmetic import Measure, Operation
from domain.money import major_text, price_major_text, round_to_minor
from domain.rating import Computation, Line, LineKind
from domain.tier import TierUse, exact_amount

TIMES, MINUS, DIVIDED = "\u00d7", "\u2212", "\u00f7"

SIGNS = {Operation.plus: "+", Operation.minus: MINUS, Operation.times: TIMES, Operation.divided: DIVIDED}
"""How an operation is written between its operands."""

CONSTANTS = {"zero", "hundred"}
"""Names of numbers that are the same in every worksheet."""

KINDS = {
    LineKind.usage: "Usage",
    LineKind.fixed: "Fixed price",
    LineKind.proration: "Fixed price, shared out",
    LineKind.overage: "Overage",
    LineKind.adjustment: "Adjustment",
}
"""What a line is for, in words."""


class Step(msgspec.Struct, frozen=True):
    """One step: what it is, how it is computed, what it comes to. ``note`` says which rule it follows."""

    label: str
    computed: str
    result: str
    note: str = ""


class Compared(msgspec.Struct, frozen=True):
    """One number of an adjustment: as invoiced before, as known now, and the difference."""

    label: str
    before: str
    after: str
    difference: str


class Explained(msgspec.Struct, frozen=True):
    """A line with its steps. An adjustment has both computations side by side instead of the way from units to money.

    ``amount`` is what the steps come to, whole minor units: that of the line.
    """

    line: Line
    kind: str
    steps: tuple[Step, ...]
    compared: tuple[Compared, ...]
    amount: int


def explain(line: Line, currency: str, unit: str = "") -> Explained:
    """The steps of a line. ``unit`` is the measurement unit of its meter."""
    kind = KINDS[line.kind]
    if line.before is not None and line.after is not None:
        compared = tuple(_compared(line.before, line.after, currency))
        return Explained(line, kind, (), compared, line.after.amount - line.before.amount)
    exact, priced = _priced(line, currency)
    amount = round_to_minor(exact)
    steps = (*_units(line, unit), *priced, _rounding(exact, amount, currency))
    return Explained(line, kind, steps, (), amount)


def written(steps: Sequence[arithmetic.Step], currency: str, unit: str = "") -> list[Step]:
    """Steps of a worksheet as people read them; numbers that never change stand in the steps that use them."""
    return [
        Step(
            step.name.replace("_", " ").capitalize(),
            _computed(step, steps, currency),
            _measured(step.result, step.measure, currency, unit),
            step.rule,
        )
        for step in steps
        if step.name not in CONSTANTS
    ]


def _computed(step: arithmetic.Step, steps: Sequence[arithmetic.Step], currency: str) -> str:
    values = [_measured(one.value, steps[one.step].measure, currency, "") for one in step.operands]
    match step.operation:
        case Operation.least:
            return f"the least of {' and '.join(values)}"
        case Operation.greatest:
            return f"the greatest of {' and '.join(values)}"
        case Operation.divided_up:
            return f"{f' {DIVIDED} '.join(values)}, made whole upwards"
        case Operation.rounded:
            return f"{values[0]} rounded"
        case _:
            return f" {SIGNS.get(step.operation, '')} ".join(values)


def _measured(value: str, measure: Measure, currency: str, unit: str) -> str:
    """A number with what it counts."""
    match measure:
        case Measure.minor:
            return _price(Decimal(value), currency)
        case Measure.unit:
            return _with_unit(value, unit)
        case Measure.credit:
            return _with_unit(value, "credits")
        case Measure.microsecond:
            return _with_unit(value, "\u00b5s")
        case _:
            return grouped(value)


def _units(line: Line, unit: str) -> Iterator[Step]:
    """What was used and what becomes of it; a fee has no such steps."""
    if line.kind is not LineKind.usage:
        return
    yield Step("Used", "", _with_unit(line.consumed_units, unit), "what the meter gives for the cycle")
    if line.free_units != "0":
        yield Step("Free", "", f"{MINUS} {grouped(line.free_units)}", "up to the free threshold; all of it in a trial")
    if line.credit_units != "0":
        yield Step("In credits", "", f"{MINUS} {grouped(line.credit_units)}", "credits come after the free units")
    note = "corrections may take usage below 0, never the bill" if line.consumed_units.startswith("-") else ""
    yield Step("To pay", "", _with_unit(line.paid_units, unit), note)


def _priced(line: Line, currency: str) -> tuple[Decimal, list[Step]]:
    """What the paid units cost, in exact minor units, and how."""
    if line.tiers:
        return exact_amount(line.tiers), [*_tier_steps(line.tiers, currency), _sum_step(line.tiers, currency)]
    paid, price = Decimal(line.paid_units), Decimal(line.price_per_unit)
    steps: list[Step] = []
    if line.package_size is not None:
        count = number.quotient_up(paid, Decimal(line.package_size))
        computed = f"{grouped(line.paid_units)} {DIVIDED} {grouped(line.package_size)}"
        steps.append(Step("Packages", computed, _plain(count), "a package is paid whole once it is begun"))
        paid = count
    exact = number.times(paid, price)
    computed = f"{_plain(paid)} {TIMES} {_price(price, currency)}"
    steps.append(Step(_price_label(line), computed, _price(exact, currency), _price_note(line)))
    return exact, steps


def _price_label(line: Line) -> str:
    match line.kind:
        case LineKind.fixed:
            return "Quantity \u00d7 fixed price"
        case LineKind.proration:
            return "Share of the cycle \u00d7 fixed price"
        case LineKind.overage:
            return "Credits not covered \u00d7 price per credit"
        case _:
            return "Units \u00d7 price" if line.package_size is None else "Packages \u00d7 price"


def _price_note(line: Line) -> str:
    if line.kind is LineKind.proration:
        return "quantity times the part of the planned cycle that it lasted, counted in microseconds"
    if line.kind is LineKind.usage and line.price_per_unit == "0" and line.paid_units != "0":
        return "this line has no price of its own: units that credits do not cover are a matter of overage"
    return ""


def _tier_steps(tiers: tuple[TierUse, ...], currency: str) -> Iterator[Step]:
    for tier in tiers:
        reach = "Last tier" if tier.up_to is None else f"Tier up to {grouped(tier.up_to)}"
        fixed = f" + {_price(Decimal(tier.fixed_price), currency)}" if tier.fixed_price else ""
        computed = f"{grouped(tier.units)} {TIMES} {_price(Decimal(tier.price_per_unit), currency)}{fixed}"
        yield Step(reach, computed, _price(Decimal(tier.amount), currency))


def _sum_step(tiers: tuple[TierUse, ...], currency: str) -> Step:
    computed = " + ".join(grouped(price_major_text(Decimal(tier.amount), currency)) for tier in tiers)
    return Step("All tiers", computed, _price(exact_amount(tiers), currency))


def _rounding(exact: Decimal, amount: int, currency: str) -> Step:
    """The one rounding of the line, or that there was none."""
    rounded = f"{grouped(major_text(amount, currency))} {currency}"
    if exact == amount:
        return Step("Amount", "", rounded, "exact, so nothing is rounded")
    note = "rounded once, half away from zero, to the smallest unit of the currency"
    return Step("Amount", f"{grouped(price_major_text(exact, currency))} rounded", rounded, note)


def _compared(before: Computation, after: Computation, currency: str) -> Iterator[Compared]:
    for label, old, new in (
        ("Used", before.consumed_units, after.consumed_units),
        ("Free", before.free_units, after.free_units),
        ("In credits", before.credit_units, after.credit_units),
        ("To pay", before.paid_units, after.paid_units),
    ):
        difference = number.minus(Decimal(new), Decimal(old))
        yield Compared(label, grouped(old), grouped(new), _signed(number.plain(difference)))
    old, new = (f"{grouped(major_text(amount, currency))} {currency}" for amount in (before.amount, after.amount))
    change = major_text(after.amount - before.amount, currency)
    yield Compared("Amount", old, new, f"{_signed(change)} {currency}")


def _signed(text: str) -> str:
    if text.startswith("-"):
        return f"{MINUS}{grouped(text[1:])}"
    return f"+{grouped(text)}" if text.strip("0.") else grouped(text)


def _with_unit(units: str, unit: str) -> str:
    return f"{grouped(units)} {unit}".strip()


def _plain(value: Decimal) -> str:
    return grouped(number.plain(value))


def _price(minor: Decimal, currency: str) -> str:
    return f"{grouped(price_major_text(minor, currency))} {currency}"
