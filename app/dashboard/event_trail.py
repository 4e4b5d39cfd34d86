"""One usage event's way: which meters count it and why not, the cycles it falls into, the lines it ends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from app.audit.line_events import contributed
from app.billing import opened_subscription
from app.invoicing import Bill, documents_of, find_bill
from app.reckoning import reckon
from domain import instant, number
from domain.aggregation import Aggregation, Kind, summary_of
from domain.event import read_metadata
from domain.filter import Condition, Conjunction, Filter, Operator, matches
from domain.invoice import Document
from domain.plan import OpenedCycle
from domain.rating import Line, LineKind
from domain.subscription import Subscription
from projections.aggregates import Aggregates
from projections.counting import HOUR, CountedMeter, hour_of
from projections.database import Row
from projections.statements import load
from projections.usage import Question, group_text, measure

CATALOG = load("app.sql", "catalog.sql")

SUBSCRIPTIONS_SHOWN = 10
"""Subscriptions of the customer that are looked into: each may cost an estimate."""

OPERATORS = {
    Operator.equals: "=",
    Operator.not_equals: "\u2260",
    Operator.greater_than: ">",
    Operator.greater_than_or_equals: "\u2265",
    Operator.less_than: "<",
    Operator.less_than_or_equals: "\u2264",
    Operator.contains: "contains",
    Operator.does_not_contain: "does not contain",
}
"""How a condition compares, as people write it."""

ADDS = {
    Kind.count: "adds one",
    Kind.sum: "adds its value",
    Kind.max: "counts if it is the greatest",
    Kind.last: "counts if it is the latest",
    Kind.min: "counts if it is the least",
    Kind.avg: "enters the average",
    Kind.unique: "counts once per value",
}
"""What an event does to a quantity, by aggregation."""


class Clause(msgspec.Struct, frozen=True):
    """A clause of a filter and whether the event passes it. A filter inside the filter has clauses of its own."""

    text: str
    passed: bool
    found: str
    clauses: tuple[Clause, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """What one meter makes of the event.

    ``outcome`` is counted, filtered, unmeasured, archived, voided or waiting (not counted so far). ``hour_quantity`` is
    what the meter gives for the customer and the hour, this event among others.
    """

    meter_id: str
    name: str
    unit: str
    aggregation: str
    outcome: str
    adds: str
    value: str
    joined: str
    clauses: tuple[Clause, ...]
    hour_quantity: str


class Ended(msgspec.Struct, frozen=True):
    """A line that the event ended on; ``index`` is its place on the document, from 0."""

    index: int
    line: Line


class Landed(msgspec.Struct, frozen=True):
    """One subscription of the customer, and where the event falls in it.

    Without a ``cycle`` nothing of it is billed there. ``bill`` is the cycle's invoice, else its lines are those of the
    estimate. Was the event recorded or voided past that invoice's position (``late``), ``corrections`` are the lines
    that took it in, on ``corrected_by``, or on the next estimate when that is ``None``.
    """

    subscription_id: str
    status: str
    currency: str
    cycle: OpenedCycle | None = None
    bill: Bill | None = None
    lines: tuple[Ended, ...] = ()
    late: bool = False
    corrected_by: Document | None = None
    corrections: tuple[Ended, ...] = ()


def clauses_of(found: Filter, metadata: Mapping[str, str | bool | Decimal]) -> tuple[Clause, ...]:
    """The clauses of a filter with what became of each: the domain decides one by one."""
    return tuple(_clause(clause, metadata) for clause in found.clauses)


def joined_text(found: Filter) -> str:
    """How the clauses of a filter are joined."""
    return "all of" if found.conjunction is Conjunction.all_of else "any of"


def _clause(clause: Condition | Filter, metadata: Mapping[str, str | bool | Decimal]) -> Clause:
    if isinstance(clause, Filter):
        return Clause(joined_text(clause), matches(clause, metadata), "", clauses_of(clause, metadata))
    value, actual = clause.value, metadata.get(clause.key)
    shown = f'"{value}"' if isinstance(value, str) else str(group_text(value))
    passed = matches(Filter(Conjunction.all_of, (clause,)), metadata)
    return Clause(f"{clause.key} {OPERATORS[clause.operator]} {shown}", passed, _shown(actual))


def _shown(actual: str | bool | Decimal | None) -> str:
    if actual is None:
        return "the key is missing"
    return f'is "{actual}"' if isinstance(actual, str) else f"is {group_text(actual)}"


async def verdicts(known: Aggregates, event: Row) -> list[Verdict]:
    """What each meter of the event's name makes of it."""
    listening = [meter for meter in (await known.meters()).values() if meter.event_name == event["event_name"]]
    rows = await known.database.fetch(CATALOG["meters_by_id"], known.tenant_id, [meter.meter_id for meter in listening])
    described = {row["meter_id"]: row for row in rows}
    return [await _verdict(known, event, meter, described[meter.meter_id]) for meter in listening]


async def _verdict(known: Aggregates, event: Row, meter: CountedMeter, described: Row) -> Verdict:
    metadata = read_metadata(event["metadata"])
    passes = meter.filter is None or matches(meter.filter, metadata)
    hour = hour_of(event["timestamp"])
    question = Question(known.tenant_id, meter, event["customer_id"], known.counted)
    (measured,) = await measure(known.database, question, [hour, hour + HOUR])
    return Verdict(
        meter_id=meter.meter_id,
        name=described["name"],
        unit=described["measurement_unit"],
        aggregation=_aggregation_text(meter.aggregation),
        outcome=_outcome(known, event, meter, passes),
        adds=ADDS[meter.aggregation.type],
        value=contributed(meter.aggregation, metadata) if passes else "",
        joined="" if meter.filter is None else joined_text(meter.filter),
        clauses=() if meter.filter is None else clauses_of(meter.filter, metadata),
        hour_quantity=number.plain(measured.quantity(meter.aggregation)),
    )


def _outcome(known: Aggregates, event: Row, meter: CountedMeter, passes: bool) -> str:
    position, metadata = event["position"], read_metadata(event["metadata"])
    if not passes:
        return "filtered"
    if not meter.counts_at(position):
        return "archived"
    if event["voided_position"] is not None:
        return "voided"
    if summary_of(meter.aggregation, event["timestamp"], position, metadata).unmeasured:
        return "unmeasured"
    return "counted" if position <= known.counted else "waiting"


def _aggregation_text(aggregation: Aggregation) -> str:
    return aggregation.type.value if aggregation.key is None else f"{aggregation.type} of {aggregation.key}"


async def landings(known: Aggregates, event: Row, counting: frozenset[str]) -> list[Landed]:
    """The customer's subscriptions, newest first, with the lines of the meters that are ``counting`` the event."""
    rows = await known.database.fetch(
        CATALOG["subscriptions"],
        known.tenant_id,
        event["customer_id"],
        *[None] * 5,
        SUBSCRIPTIONS_SHOWN,
        0,
    )
    found: list[Landed] = []
    for row in rows:
        subscription = await opened_subscription(known, row["subscription_id"])
        found.append(await _landed(known, event, subscription, counting))
    return found


async def _landed(known: Aggregates, event: Row, subscription: Subscription, counting: frozenset[str]) -> Landed:
    cycle = next((each for each in subscription.cycles if each.contains(event["timestamp"])), None)
    landed = Landed(subscription.object_id, subscription.status.value, subscription.currency, cycle)
    if cycle is None:
        return landed
    if cycle.invoice_id is None:
        rated = (await reckon(known, subscription, cycle)).rated
        return msgspec.structs.replace(landed, lines=_own_lines(rated.lines, counting))
    bill = await find_bill(known.database, known.tenant_id, cycle.invoice_id)
    landed = msgspec.structs.replace(landed, bill=bill, lines=_own_lines(bill.document.lines, counting))
    changed = event["voided_position"] or event["position"]
    if changed <= bill.document.position:
        return landed
    return await _corrected(known, subscription, landed, counting, changed)


async def _corrected(
    known: Aggregates, subscription: Subscription, landed: Landed, counting: frozenset[str], changed: int
) -> Landed:
    """With the first document that stands and was computed with what ``changed``, else the estimate to come."""
    assert landed.cycle is not None
    start = landed.cycle.start
    for document, stood in await documents_of(known, subscription.object_id):
        lines = _corrections(document.lines, start, counting)
        if stood and lines and document.position >= changed:
            return msgspec.structs.replace(landed, late=True, corrected_by=document, corrections=lines)
    rated = (await reckon(known, subscription, subscription.earliest_unclosed())).rated
    return msgspec.structs.replace(landed, late=True, corrections=_corrections(rated.lines, start, counting))


def _own_lines(lines: Sequence[Line], counting: frozenset[str]) -> tuple[Ended, ...]:
    return tuple(
        Ended(index, line)
        for index, line in enumerate(lines)
        if line.kind in (LineKind.usage, LineKind.overage) and line.meter_id in counting
    )


def _corrections(lines: Sequence[Line], cycle_start: datetime, counting: frozenset[str]) -> tuple[Ended, ...]:
    start = instant.text(cycle_start)
    return tuple(
        Ended(index, line)
        for index, line in enumerate(lines)
        if line.kind is LineKind.adjustment and line.cycle_start == start and line.meter_id in counting
    )
