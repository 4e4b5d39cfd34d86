"""Answering how much was used: any spans of time, exact to the microsecond, at the projected position."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from domain import number
from domain.aggregation import EMPTY, Aggregation, Kind, Last, Summary, added, combine, quantity
from domain.event import read_metadata
from projections.counting import HOUR, CountedMeter, Metadata, distinct_digest, hour_of
from projections.database import Database, Row
from projections.quantities import SQL as QUANTITY_SQL
from projections.statements import load

SQL = load("projections.sql", "span.sql")


class Measured:
    """What was counted in one span: a summary, and the distinct values of a `unique` meter."""

    def __init__(self) -> None:
        self.summary: Summary = EMPTY
        self.distinct: set[bytes] = set()

    def add(self, aggregation: Aggregation, at: datetime, position: int, metadata: Metadata) -> None:
        """Count one matching event."""
        before = self.summary
        self.summary = added(before, aggregation, at, position, metadata)
        if aggregation.type is Kind.unique and self.summary.events > before.events:
            assert aggregation.key is not None
            self.distinct.add(distinct_digest(metadata[aggregation.key]))

    def join(self, other: Measured) -> None:
        """Take in what another span counted."""
        self.summary = combine(self.summary, other.summary)
        self.distinct |= other.distinct

    def quantity(self, aggregation: Aggregation) -> Decimal:
        """The meter's number for this span."""
        return quantity(aggregation, self.summary, len(self.distinct))


class Question(msgspec.Struct, frozen=True):
    """Which usage: one meter, one customer (``None`` for all), as known at ``position``.

    Who all are is asked of the read model, unless ``everybody`` says it.
    """

    tenant_id: str
    meter: CountedMeter
    customer_id: str | None
    position: int
    everybody: tuple[str, ...] | None = None


async def measure(database: Database, question: Question, edges: Sequence[datetime]) -> list[Measured]:
    """What was counted between each two neighbouring ``edges`` (rising instants).

    Hours that lie whole between two edges come from the read model; an hour that an edge cuts is read event by event.
    """
    if question.customer_id is not None:
        asked = Asked(question.meter, question.customer_id, edges)
        return (await measure_all(database, question.tenant_id, question.position, [asked]))[0]
    spans = [Measured() for _ in edges[1:]]
    cut = sorted({hour_of(edge) for edge in edges if edge != hour_of(edge)})
    where: list[object] = [question.tenant_id, question.meter.meter_id, hour_of(edges[0]), edges[-1], cut]
    for row in await database.fetch(QUANTITY_SQL["summaries"], *where):
        span = spans[bisect_right(edges, row["hour"]) - 1]
        span.summary = combine(span.summary, stored_summary(row))
    if question.meter.aggregation.type is Kind.unique:
        for row in await database.fetch(QUANTITY_SQL["distinct_hours"], *where):
            spans[bisect_right(edges, row["hour"]) - 1].distinct.add(row["digest"])
    if cut:
        await _measure_cut_hours(database, question, edges, spans, cut)
    return spans


class Asked(NamedTuple):
    """What one customer used of one meter between each two neighbouring ``edges`` (rising instants)."""

    meter: CountedMeter
    customer_id: str
    edges: Sequence[datetime]


class Part(NamedTuple):
    """A piece of a span that is read in one way, and where what it holds is counted."""

    measured: Measured
    meter: CountedMeter
    customer_id: str
    since: datetime
    until: datetime


class Parts(NamedTuple):
    """Pieces of whole hours, and pieces that lie inside of one hour each."""

    whole: list[Part]
    cut: list[Part]


async def measure_all(
    database: Database, tenant_id: str, position: int, asked: Iterable[Asked]
) -> list[list[Measured]]:
    """As ``measure``, for many customers and meters at once: an answer to each question, and a few statements for all.

    The database sums up the hours that lie whole in a span, so a year of them is one row.
    """
    answers, parts = in_parts(asked)
    await _measure_whole_hours(database, tenant_id, parts.whole)
    await _measure_cut_parts(database, tenant_id, position, parts.cut)
    return answers


def in_parts(asked: Iterable[Asked]) -> tuple[list[list[Measured]], Parts]:
    """An empty answer to each question, and the pieces that fill them as they are counted."""
    answers, parts = list[list[Measured]](), Parts([], [])
    for meter, customer_id, edges in asked:
        answer = [Measured() for _ in edges[1:]]
        for measured, since, until in zip(answer, edges, edges[1:], strict=False):
            for found, spans in zip(parts, split_at_hours(since, until), strict=True):
                found += [Part(measured, meter, customer_id, *span) for span in spans]
        answers.append(answer)
    return answers, parts


def split_at_hours(
    since: datetime, until: datetime
) -> tuple[list[tuple[datetime, datetime]], list[tuple[datetime, datetime]]]:
    """A span as its whole hours, at most one piece, and what it holds of other hours, at most two."""
    first, end = hour_of(since), hour_of(until)
    if first == end:
        return [], [(since, until)] if since < until else []
    cut: list[tuple[datetime, datetime]] = []
    if first < since:
        first += HOUR
        cut.append((since, first))
    if end < until:
        cut.append((end, until))
    return [(first, end)] if first < end else [], cut


async def _measure_whole_hours(database: Database, tenant_id: str, parts: Sequence[Part]) -> None:
    if parts:
        for row in await database.fetch(SQL["hours_of_spans"], tenant_id, *_columns(parts)):
            # A span has one piece of whole hours, and this is the first that is counted in it.
            place: int = row["place"]
            parts[place].measured.summary = stored_summary(row)
    unique = [part for part in parts if part.meter.aggregation.type is Kind.unique]
    if unique:
        for row in await database.fetch(SQL["distinct_of_spans"], tenant_id, *_columns(unique)):
            place: int = row["place"]
            unique[place].measured.distinct.add(row["digest"])


def _columns(parts: Sequence[Part]) -> tuple[list[object], ...]:
    """Parts as columns of a statement, each with its place among them."""
    return (
        list(range(len(parts))),
        [part.meter.meter_id for part in parts],
        [part.customer_id for part in parts],
        [part.since for part in parts],
        [part.until for part in parts],
    )


async def _measure_cut_parts(database: Database, tenant_id: str, position: int, parts: Iterable[Part]) -> None:
    """A statement for each customer and piece, with all meters: of many at once the planner does not see how short they
    are, and reads whole tables.
    """
    together: dict[tuple[str, datetime, datetime], list[Part]] = {}
    for part in parts:
        together.setdefault((part.customer_id, part.since, part.until), []).append(part)
    for where, same in together.items():
        names = sorted({part.meter.event_name for part in same})
        asked = (QUANTITY_SQL["standing_usage"], tenant_id, *where, names, position, 0, None)
        for row in await database.fetch(*asked):
            metadata = read_metadata(row["metadata"])
            for part in same:
                meter = part.meter
                if meter.event_name == row["event_name"] and meter.counts(row["position"], metadata):
                    part.measured.add(meter.aggregation, row["timestamp"], row["position"], metadata)


async def _measure_cut_hours(
    database: Database,
    question: Question,
    edges: Sequence[datetime],
    spans: Sequence[Measured],
    cut: Sequence[datetime],
) -> None:
    """Count, event by event, the hours that an edge cuts."""
    customers = await _customers(database, question, QUANTITY_SQL["customers_of_hours"], cut)
    for hour in cut:
        # The calendar's last hour has no end of its own that could be named.
        until = hour + HOUR if edges[-1] - hour > HOUR else edges[-1]
        since = max(hour, edges[0])
        for row, metadata in await _events(database, question, customers, since, until):
            span = spans[bisect_right(edges, row["timestamp"]) - 1]
            span.add(question.meter.aggregation, row["timestamp"], row["position"], metadata)


async def measure_groups(
    database: Database, question: Question, edges: Sequence[datetime], key: str
) -> dict[tuple[int, str | None], Measured]:
    """As ``measure``, told apart by the value of a metadata key: (index of the span, value as text) → counted.

    The read model knows no groups, so this reads the events of the whole span. Events without the key are in the
    group ``None``.
    """
    customers = await _customers(database, question, QUANTITY_SQL["customers_between"], hour_of(edges[0]), edges[-1])
    groups: dict[tuple[int, str | None], Measured] = {}
    for row, metadata in await _events(database, question, customers, edges[0], edges[-1]):
        group = (bisect_right(edges, row["timestamp"]) - 1, group_text(metadata.get(key)))
        measured = groups.setdefault(group, Measured())
        measured.add(question.meter.aggregation, row["timestamp"], row["position"], metadata)
    return groups


def group_text(value: str | bool | Decimal | None) -> str | None:
    """The name of a group: the value as text, numbers in plain notation."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number.plain(value) if isinstance(value, Decimal) else value


def stored_summary(row: Row) -> Summary:
    """A row of the ``quantity`` read model."""
    at = row["last_timestamp"]
    return Summary(
        events=row["events"],
        unmeasured=row["unmeasured"],
        total=row["total"],
        low=row["low"],
        high=row["high"],
        last=None if at is None else Last(timestamp=at, position=row["last_position"], value=row["last_value"]),
    )


async def _customers(database: Database, question: Question, all_customers: str, *where: object) -> list[str]:
    if question.customer_id is not None:
        return [question.customer_id]
    if question.everybody is not None:
        return list(question.everybody)
    rows = await database.fetch(all_customers, question.tenant_id, question.meter.meter_id, *where)
    return [row["customer_id"] for row in rows]


async def _events(
    database: Database, question: Question, customers: Sequence[str], since: datetime, until: datetime
) -> list[tuple[Row, Metadata]]:
    """The events that the meter counts in ``[since, until)``, with their metadata."""
    meter = question.meter
    rows = await database.fetch(
        QUANTITY_SQL["usage_between"],
        question.tenant_id,
        list(customers),
        since,
        until,
        meter.event_name,
        question.position,
    )
    found: list[tuple[Row, Metadata]] = []
    for row in rows:
        metadata = read_metadata(row["metadata"])
        if meter.counts(row["position"], metadata):
            found.append((row, metadata))
    return found
