"""Answering how much was used: any spans of time, exact to the microsecond, at the projected position."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from domain import number
from domain.aggregation import EMPTY, Aggregation, Kind, Last, Summary, added, combine, quantity
from domain.event import read_metadata
from projections.counting import HOUR, CountedMeter, Metadata, distinct_digest, hour_of
from projections.database import Database, Row
from projections.quantities import SQL


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
            self.distinct.add(distinct_digest(aggregation, metadata))

    def join(self, other: Measured) -> None:
        """Take in what another span counted."""
        self.summary = combine(self.summary, other.summary)
        self.distinct |= other.distinct

    def quantity(self, aggregation: Aggregation) -> Decimal:
        """The meter's number for this span."""
        return quantity(aggregation, self.summary, len(self.distinct))


class Question(msgspec.Struct, frozen=True):
    """Which usage: one meter, one customer (``None`` for all), as known at ``position``."""

    tenant_id: str
    meter: CountedMeter
    customer_id: str | None
    position: int


async def measure(database: Database, question: Question, edges: Sequence[datetime]) -> list[Measured]:
    """What was counted between each two neighbouring ``edges`` (rising instants).

    Hours that lie whole between two edges come from the read model; an hour that an edge cuts is read event by event.
    """
    spans = [Measured() for _ in edges[1:]]
    cut = sorted({hour_of(edge) for edge in edges if edge != hour_of(edge)})
    where: list[object] = [question.tenant_id, question.meter.meter_id, hour_of(edges[0]), edges[-1], cut]
    summaries, distinct = SQL["summaries"], SQL["distinct_hours"]
    if question.customer_id is not None:
        summaries, distinct = SQL["summaries_of_customer"], SQL["distinct_hours_of_customer"]
        where.append(question.customer_id)
    for row in await database.fetch(summaries, *where):
        span = spans[bisect_right(edges, row["hour"]) - 1]
        span.summary = combine(span.summary, stored_summary(row))
    if question.meter.aggregation.type is Kind.unique:
        for row in await database.fetch(distinct, *where):
            spans[bisect_right(edges, row["hour"]) - 1].distinct.add(row["digest"])
    if cut:
        await _measure_cut_hours(database, question, edges, spans, cut)
    return spans


async def _measure_cut_hours(
    database: Database,
    question: Question,
    edges: Sequence[datetime],
    spans: Sequence[Measured],
    cut: Sequence[datetime],
) -> None:
    customers = await _customers(database, question, SQL["customers_of_hours"], cut)
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
    customers = await _customers(database, question, SQL["customers_between"], hour_of(edges[0]), edges[-1])
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
    rows = await database.fetch(all_customers, question.tenant_id, question.meter.meter_id, *where)
    return [row["customer_id"] for row in rows]


async def _events(
    database: Database, question: Question, customers: Sequence[str], since: datetime, until: datetime
) -> list[tuple[Row, Metadata]]:
    """The events that the meter counts in ``[since, until)``, with their metadata."""
    meter = question.meter
    rows = await database.fetch(
        SQL["usage_between"],
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
