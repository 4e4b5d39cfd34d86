"""How an invoice came about, line by line: the facts it rests on, the arithmetic, and whether both give the invoice.

The facts are rated once more by the function that rates invoices, and computed once more on worksheets. Whatever of the
two does not come to what was billed is said: an explanation that only sounds right is worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import msgspec

from domain import number
from domain.arithmetic import Figure, Measure, Operation, Step, Worksheet, redo
from domain.invoice import Document
from domain.line_steps import (
    CountedUsage,
    DrawnCredits,
    Figures,
    sum_of,
    write_fixed,
    write_overage,
    write_tax,
    write_usage,
)
from domain.rating import (
    Computation,
    CycleFacts,
    Line,
    LineKind,
    MeterUsage,
    Rated,
    RatedProduct,
    adjustment_line,
    computation_of,
    rate,
    tax_bases,
)

MeterKey: TypeAlias = tuple[str, str]
"""A meter of a product: product id and meter id."""

UNIT_FIELDS = ("consumed_units", "free_units", "credit_units", "paid_units")
"""The fields of a line that are units."""

NO_CREDITS = DrawnCredits(entitlement_id="", precision=0)
"""What a line that burns none took."""


class Basis(msgspec.Struct, frozen=True):
    """What rating a cycle depended on, what its meters counted, and which grants its lines drew on."""

    facts: CycleFacts
    counted: Mapping[MeterKey, CountedUsage]
    drawn: Mapping[MeterKey, DrawnCredits]


class Invoiced(msgspec.Struct, frozen=True):
    """What an earlier document billed for one meter of one product of a cycle."""

    invoice_id: str
    number: str
    computation: Computation


class AdjustedMeter(msgspec.Struct, frozen=True, kw_only=True):
    """One meter of one product of a closed cycle that was rated again: by which facts, and what was billed before."""

    basis: Basis
    key: MeterKey
    product_name: str
    meter_name: str
    cycle: tuple[datetime, datetime]
    invoiced: tuple[Invoiced, ...]


class ExplainedLine(msgspec.Struct, frozen=True):
    """A billed line and the steps to its amount. ``disagreements`` is empty when all comes to what was billed."""

    line: Line
    steps: tuple[Step, ...]
    disagreements: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """A document explained: its lines, and the steps from their sum to its total."""

    document: Document
    lines: tuple[ExplainedLine, ...]
    totals: tuple[Step, ...]
    disagreements: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether facts, rating, steps and document all say the same."""
        return not self.disagreements and not any(line.disagreements for line in self.lines)


def explain(document: Document, basis: Basis, adjustments: Sequence[AdjustedMeter], wallet_balance: int) -> Explanation:
    """Explain a document by the facts that it was computed from.

    ``adjustments`` belong to its adjustments, in their order. ``wallet_balance`` is what the customer's wallet held,
    minor units.
    """
    written = [_adjusted(one) for one in adjustments]
    facts = msgspec.structs.replace(basis.facts, adjustments=tuple(line for line, _, _ in written))
    rated = rate(facts)
    own = len(rated.lines) - len(written)
    sheets = [_own_line(msgspec.structs.replace(basis, facts=facts), line) for line in rated.lines[:own]]
    sheets += [(sheet, figures) for _, sheet, figures in written]
    lines = tuple(
        _explained(index, billed, line, sheet, figures)
        for index, (billed, line, (sheet, figures)) in enumerate(
            zip(document.lines, rated.lines, sheets, strict=False), start=1
        )
    )
    disagreements: list[str] = []
    if len(rated.lines) != len(document.lines):
        disagreements.append(f"the document has {len(document.lines)} lines, rating gives {len(rated.lines)}")
    totals, wrong = _totals(document, facts, rated, wallet_balance)
    return Explanation(document, lines, totals, (*disagreements, *wrong))


def _own_line(basis: Basis, line: Line) -> tuple[Worksheet, Figures]:
    """The worksheet of a line of the cycle that the document is for."""
    sheet = Worksheet()
    product = next(one for one in basis.facts.products if one.product_id == line.product_id)
    if line.kind in (LineKind.fixed, LineKind.proration):
        return sheet, write_fixed(sheet, basis.facts, product)
    return sheet, _meter_figures(sheet, basis, line, _usage_of(product, str(line.meter_id)))


def _usage_of(product: RatedProduct, meter_id: str) -> MeterUsage:
    return next(usage for usage in product.usage if usage.price.meter_id == meter_id)


def _meter_figures(sheet: Worksheet, basis: Basis, line: Line, usage: MeterUsage) -> Figures:
    key = (line.product_id, usage.price.meter_id)
    write = write_overage if line.kind is LineKind.overage else write_usage
    return write(sheet, basis.facts, usage, basis.counted[key], basis.drawn.get(key, NO_CREDITS))


def _adjusted(adjusted: AdjustedMeter) -> tuple[Line, Worksheet, Figures]:
    """An adjustment, and its worksheet: what the closed cycle comes to now, less what was billed for it."""
    sheet, (product_id, meter_id) = Worksheet(), adjusted.key
    rated = [
        line
        for line in rate(adjusted.basis.facts).lines
        if (line.product_id, line.meter_id) == adjusted.key and line.kind is not LineKind.adjustment
    ]
    figures = [(line, _own_figures(sheet, adjusted.basis, line)) for line in rated]
    usage = [(line, found) for line, found in figures if line.kind is LineKind.usage]
    changes: dict[str, Figure] = {}
    for field in UNIT_FIELDS:
        now = sum_of(sheet, f"{field}_now", (found[field] for _, found in usage), Measure.unit)
        changes[field] = _change(sheet, field, now, adjusted.invoiced, Measure.unit)
    now = sum_of(sheet, "amount_now", (found["amount"] for _, found in figures), Measure.minor)
    changes["amount"] = _change(sheet, "amount", now, adjusted.invoiced, Measure.minor)
    line = adjustment_line(
        product_id=product_id,
        product_name=adjusted.product_name,
        meter_id=meter_id,
        meter_name=adjusted.meter_name,
        price_per_unit=next((line.price_per_unit for line, _ in usage), "0"),
        cycle_start=adjusted.cycle[0],
        cycle_end=adjusted.cycle[1],
        before=_billed_before(adjusted.invoiced),
        after=computation_of(rated),
    )
    return line, sheet, changes


def _own_figures(sheet: Worksheet, basis: Basis, line: Line) -> Figures:
    product = next(one for one in basis.facts.products if one.product_id == line.product_id)
    return _meter_figures(sheet, basis, line, _usage_of(product, str(line.meter_id)))


def _change(sheet: Worksheet, field: str, now: Figure, invoiced: Sequence[Invoiced], measure: Measure) -> Figure:
    """A field of an adjustment: what it is now, less what documents before said."""
    parts = [
        sheet.given(f"{field}_billed", Decimal(getattr(one.computation, field)), measure, f"on {one.number}")
        for one in invoiced
    ]
    before = sum_of(sheet, f"{field}_before", parts, measure)
    return sheet.compute(field, Operation.minus, now, before, measure=measure)


def _billed_before(invoiced: Sequence[Invoiced]) -> Computation:
    found = [one.computation for one in invoiced]
    return Computation(
        consumed_units=_total(one.consumed_units for one in found),
        free_units=_total(one.free_units for one in found),
        credit_units=_total(one.credit_units for one in found),
        paid_units=_total(one.paid_units for one in found),
        amount=sum(one.amount for one in found),
    )


def _total(units: Iterator[str]) -> str:
    return number.plain(number.total(Decimal(text) for text in units))


def _explained(index: int, billed: Line, rated: Line, sheet: Worksheet, figures: Figures) -> ExplainedLine:
    """A line with everything in which document, rating and steps differ."""
    found = list(redo(sheet.steps))
    for field in msgspec.structs.fields(Line):
        said, again = getattr(billed, field.name), getattr(rated, field.name)
        if said != again:
            found.append(f"line {index}: {field.name} is {said} on the document, rating gives {again}")
    for field in (*UNIT_FIELDS, "amount"):
        said = Decimal(getattr(billed, field))
        if figures[field].value != said:
            steps = number.plain(figures[field].value)
            found.append(f"line {index}: {field} is {number.plain(said)} on the document, the steps come to {steps}")
    return ExplainedLine(billed, sheet.steps, tuple(found))


def _totals(
    document: Document, facts: CycleFacts, rated: Rated, wallet_balance: int
) -> tuple[tuple[Step, ...], list[str]]:
    """From the lines to the total, by way of taxes and the wallet."""
    sheet = Worksheet()
    amounts = [
        sheet.given(f"line_{index}", line.amount, Measure.minor) for index, line in enumerate(rated.lines, start=1)
    ]
    rule = "the total is the sum of the rounded lines: nothing is rounded again"
    subtotal = sum_of(sheet, "subtotal_amount", amounts, Measure.minor, rule)
    taxes = iter(rated.tax_lines)
    added: list[Figure] = []
    wrong: list[str] = []
    for base in (base for tax in facts.taxes for base in tax_bases(tax, rated.lines, facts.taxed_inside)):
        tax = next(taxes)
        figure = write_tax(sheet, base, tax)
        if figure.value != tax.amount:
            wrong.append(f"the tax {tax.name} is {tax.amount}, the steps come to {number.plain(figure.value)}")
        if not base.included:
            added.append(figure)
    tax_amount = sum_of(sheet, "tax_amount", added, Measure.minor, "taxes that are in the prices already add nothing")
    due = sum_of(sheet, "due_amount", (subtotal, tax_amount), Measure.minor)
    balance = sheet.given("wallet_balance", wallet_balance, Measure.minor, "what the customer's wallet held then")
    rule = "the wallet pays what it can; below 0 the rest is credited to it"
    wallet = sheet.compute("wallet_amount", Operation.least, balance, due, measure=Measure.minor, rule=rule)
    total = sheet.compute("total_amount", Operation.minus, due, wallet, measure=Measure.minor)
    for figure in (subtotal, tax_amount, wallet, total):
        said = getattr(document, figure.name)
        if figure.value != said:
            wrong.append(f"{figure.name} is {said} on the document, the steps come to {number.plain(figure.value)}")
    if rated.tax_lines != document.tax_lines:
        wrong.append("the document has other tax lines than rating gives")
    return sheet.steps, [*wrong, *redo(sheet.steps)]
