"""The events behind an invoice line: those that counted, and those that were left out, each with its reason.

Looked at is every event of the line's customer and event name in the line's cycle, in the order of time, a bounded part
at once. What was known is judged at the invoice's position; what came later is told, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from app.audit.invoice_facts import SQL
from domain import number
from domain.aggregation import Aggregation, Kind
from domain.errors import Invalid
from domain.event import read_metadata
from domain.filter import FalseCondition, why_not
from projections.counting import CountedMeter, Metadata, Value, distinct_digest
from projections.database import Database, Row
from projections.known_usage import KnownUsage, values_before
from projections.log_reader import END

WINDOW_EVENTS = 1_000
"""Events read at once while looking for those that are asked for."""

WINDOWS_MAX = 10
"""Windows that one page looks through before it answers what it has: a fifth of a second, whoever the customer is."""


class Show(StrEnum):
    """Which events are listed. ``late`` were recorded or retracted after the cycle's own invoice."""

    # A member hides the method of `str` that has its name; nobody counts letters in one.
    all = "all"
    counted = "counted"
    left_out = "left_out"
    late = "late"


class Reason(StrEnum):
    """Why an event did not count. The first that holds, in this order."""

    archived = "archived"
    filtered = "filtered"
    unmeasured = "unmeasured"
    retracted = "retracted"
    recorded_later = "recorded_later"
    not_deciding = "not_deciding"
    repeated = "repeated"


DECIDING = {Kind.max: "the greatest", Kind.min: "the least", Kind.last: "the last"}
"""Aggregations whose quantity is the value of one event."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One event, and what the line made of it. ``reason`` is ``None`` when it counted.

    ``value`` is what the meter takes out of it, empty when that is nothing. ``late`` says that it was recorded or
    retracted after the cycle's own invoice, and ``changed_position`` where. ``told`` says the reason in a sentence.
    """

    event_id: str
    position: int
    timestamp: datetime
    recorded_at: datetime
    value: str
    reason: Reason | None
    conditions: tuple[FalseCondition, ...]
    retracted_position: int | None
    late: bool
    changed_position: int
    told: str

    @property
    def counted(self) -> bool:
        """Whether the line's quantity has it in it."""
        return self.reason is None


class EventsAsked(msgspec.Struct, frozen=True, kw_only=True):
    """The events of which usage are asked for, and which of them.

    ``deciding`` is the position of the one event that a quantity was taken from. ``invoiced_at`` is the position of the
    cycle's own invoice: what came after it is late.
    """

    usage: KnownUsage
    deciding: int | None
    invoiced_at: int
    show: Show = Show.all


class EventPage(msgspec.Struct, frozen=True):
    """Some events in the order of time, and the position of the last that was looked at; ``None`` at the end."""

    events: list[Judged]
    resume: int | None


async def line_events(database: Database, asked: EventsAsked, after: int | None, size: int) -> EventPage:
    """A page of events past the one at position ``after``. Raises ``Invalid`` when that is not such an event.

    It may be short, even empty, where few of many events are asked for, and is still to be resumed.
    """
    usage = asked.usage
    past = (usage.start, 0) if after is None else await _place(database, usage, after)
    wanted = _wanted(asked.show)
    found: list[Judged] = []
    for _ in range(WINDOWS_MAX):
        where = (usage.tenant_id, usage.customer_id, usage.meter.event_name, usage.start, usage.end, *past)
        rows = await database.fetch(SQL["usage_of_span"], *where, WINDOW_EVENTS)
        for judged in await _judged(database, asked, past, rows):
            past = (judged.timestamp, judged.position)
            if wanted(judged):
                found.append(judged)
                if len(found) == size:
                    return EventPage(found, past[1])
        if len(rows) < WINDOW_EVENTS:
            return EventPage(found, None)
    return EventPage(found, past[1])


def _wanted(show: Show) -> Callable[[Judged], bool]:
    match show:
        case Show.all:
            return lambda _: True
        case Show.counted:
            return lambda event: event.counted
        case Show.left_out:
            return lambda event: not event.counted
        case Show.late:
            return lambda event: event.late


async def _place(database: Database, usage: KnownUsage, position: int) -> tuple[datetime, int]:
    """Where the event at a position stands in the order of time."""
    at = None
    if 0 < position <= END:
        where = (usage.tenant_id, position, usage.customer_id, usage.meter.event_name)
        at = await database.fetchval(SQL["usage_place"], *where)
    if at is None or not usage.start <= at < usage.end:
        raise Invalid("after", "must be the `next` of a page of this list")
    return at, position


async def _judged(
    database: Database, asked: EventsAsked, past: tuple[datetime, int], rows: Sequence[Row]
) -> list[Judged]:
    """What became of the events that follow each other past a place. Of a ``unique`` meter the first with each value
    counts."""
    judged = [judge(asked, row) for row in rows]
    aggregation = asked.usage.meter.aggregation
    if aggregation.type is not Kind.unique:
        return judged
    digests = [
        distinct_digest(read_metadata(row["metadata"])[str(aggregation.key)]) if event.counted else b""
        for event, row in zip(judged, rows, strict=True)
    ]
    asked_for = set(digests) - {b""}
    seen = await values_before(database, asked.usage, past, asked_for) if asked_for else set[bytes]()
    for index, digest in enumerate(digests):
        if digest in seen:
            judged[index] = judge(asked, rows[index], repeated=True)
        elif digest:
            seen.add(digest)
    return judged


def judge(asked: EventsAsked, row: Row, *, repeated: bool = False) -> Judged:
    """What became of an event that happened in the cycle, and why.

    ``repeated`` says what the event alone does not: that its value stands in an earlier one.
    """
    metadata, meter, position = read_metadata(row["metadata"]), asked.usage.meter, row["position"]
    retracted: int | None = row["retracted_position"]
    conditions = why_not(meter.filter, metadata)
    value = contributed(meter.aggregation, metadata)
    reason = _reason(asked, position, retracted, conditions, value) or (Reason.repeated if repeated else None)
    changed = max(position, retracted or 0)
    return Judged(
        event_id=row["event_id"],
        position=position,
        timestamp=row["timestamp"],
        recorded_at=row["recorded_at"],
        value=value,
        reason=reason,
        conditions=conditions,
        retracted_position=retracted,
        late=changed > asked.invoiced_at,
        changed_position=changed,
        told=_told(asked, reason, metadata, conditions, position, retracted),
    )


def _reason(
    asked: EventsAsked, position: int, retracted: int | None, conditions: tuple[FalseCondition, ...], value: str
) -> Reason | None:
    known_at = asked.usage.position
    if not asked.usage.meter.counts_at(position):
        return Reason.archived
    if conditions:
        return Reason.filtered
    if not value:
        return Reason.unmeasured
    if retracted is not None and retracted <= known_at:
        return Reason.retracted
    if position > known_at:
        return Reason.recorded_later
    if asked.usage.meter.aggregation.type in DECIDING and position != asked.deciding:
        return Reason.not_deciding
    return None


def contributed(aggregation: Aggregation, metadata: Metadata) -> str:
    """What a meter takes out of an event, as text; empty when there is nothing of use."""
    if aggregation.type is Kind.count:
        return "1"
    actual = None if aggregation.key is None else metadata.get(aggregation.key)
    measured = number.measure(actual)
    if measured is not None:
        return number.plain(measured)
    return "" if actual is None or aggregation.type is not Kind.unique else shown(actual)


def shown(value: Value | None) -> str:
    """A value of metadata as text: what is JSON looks like it, and text stands in quotation marks."""
    if value is None:
        return "missing"
    return number.plain(value) if not isinstance(value, str | bool) else msgspec.json.encode(value).decode()


def _told(
    asked: EventsAsked,
    reason: Reason | None,
    metadata: Metadata,
    conditions: tuple[FalseCondition, ...],
    position: int,
    retracted: int | None,
) -> str:
    meter = asked.usage.meter
    match reason:
        case None:
            return "" if retracted is None else f"counted then; retracted since, at position {retracted}"
        case Reason.archived:
            return f"the meter was archived {_gap_text(meter, position)}"
        case Reason.filtered:
            return "; ".join(_condition_text(one) for one in conditions)
        case Reason.unmeasured:
            key = meter.aggregation.key
            actual = metadata.get(key) if key is not None else None
            return f"no usable value: {key} is {shown(actual)}"
        case Reason.retracted:
            return f"retracted at position {retracted}"
        case Reason.recorded_later:
            return f"recorded past position {asked.usage.position}, which the line knows"
        case Reason.not_deciding:
            which = DECIDING[meter.aggregation.type]
            return f"{which} value decides: that of the event at position {asked.deciding}"
        case Reason.repeated:
            return "an earlier event of the cycle has the same value"


def _gap_text(meter: CountedMeter, position: int) -> str:
    since, until = next(gap for gap in meter.gaps if gap[0] < position and (gap[1] is None or position <= gap[1]))
    return f"at position {since}" if until is None else f"from position {since} up to {until}"


def _condition_text(one: FalseCondition) -> str:
    condition = one.condition
    compared = condition.operator.replace("_", " ")
    return f"{one.path}: {condition.key} is {shown(one.found)}, wanted: {compared} {shown(condition.value)}"
