"""What a customer used in a closed cycle as it was known at an earlier position, though late events came after.

Every hour of a closed cycle that changes after its close is noted as late. So the summaries of the other hours are what
they were, and only the late ones, and those that the cycle's edges cut, are read from the log, event by event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice

import msgspec

from domain.aggregation import EMPTY, Kind, Last
from domain.event import read_metadata
from projections.counting import HOUR, CountedMeter, Metadata, distinct_digest, hour_of
from projections.database import Database
from projections.quantities import SQL as QUANTITY_SQL
from projections.raw_usage import RawUsage
from projections.statements import load
from projections.usage import Asked, Measured, measure_all

SQL = load("projections.sql", "known_usage.sql")

EVENTS_AT_ONCE = 5_000
"""Events that are held in memory while an hour is read: some megabytes, whatever the hour holds."""

DAY = timedelta(days=1)
"""So long a span of late hours is counted at once: what is counted is put in its place before the next one is read, so
that no transaction stands idle over a month of different values, and none of them is held twice."""


class KnownUsage(msgspec.Struct, frozen=True):
    """One meter of one customer in ``[start, end)``, which lies in a closed cycle, as known at ``position``."""

    tenant_id: str
    meter: CountedMeter
    customer_id: str
    start: datetime
    end: datetime
    position: int


class StandingEvent(msgspec.Struct, frozen=True):
    """An event that the meter sees and that was not retracted at the position."""

    position: int
    timestamp: datetime
    metadata: Metadata


async def measure_known(database: Database, asked: Sequence[KnownUsage], raw: RawUsage) -> list[Measured]:
    """What was counted of each, all as known at ``raw``'s position, which keeps what it counts of late hours.

    Late hours that many meters share are read once. Memory is bounded, but for the different values of a ``unique``
    meter; the time grows with the late hours and what they hold.
    """
    found = [Measured() for _ in asked]
    changed = [_joined(await _changed_hours(database, one)) for one in asked]
    known = partial(measure_all, database, raw.tenant_id, raw.position)
    for pieces_of, measure in ((_unchanged_pieces, known), (_changed_pieces, raw.measure)):
        pieces = [
            (measured, Asked(one.meter, one.customer_id, piece))
            for measured, one, spans in zip(found, asked, changed, strict=True)
            for piece in pieces_of(one.start, one.end, spans)
        ]
        counted = await measure([piece for _, piece in pieces])
        for (measured, _), (part,) in zip(pieces, counted, strict=True):
            measured.join(part)
    return found


async def deciding_position(database: Database, asked: KnownUsage, measured: Measured, raw: RawUsage) -> int | None:
    """The position of the event that ``max``, ``min`` or ``last`` took its value from: of many, the earliest.

    ``measured`` is what ``measure_known`` counted with ``raw``, which so knows the late hours one by one. ``None`` for
    other aggregations, and where no event counted.
    """
    summary, kind = measured.summary, asked.meter.aggregation.type
    if kind is Kind.last:
        return _position_of(summary.last)
    value = {Kind.max: summary.high, Kind.min: summary.low}.get(kind)
    if value is None:
        return None
    # Of these the read model knows another value than the cycle did.
    late, cut = await _changed_hours(database, asked), _cut_hours(asked)
    low, high = (value, None) if kind is Kind.min else (None, value)
    where = (asked.tenant_id, asked.meter.meter_id, asked.customer_id, hour_of(asked.start), asked.end, low, high)
    whole = [row["hour"] for row in await database.fetch(SQL["hour_reaching"], *where, [*late, *cut])]
    counted = raw.counted_hours(asked.meter.meter_id, asked.customer_id)
    reaching = (hour for hour in late if hour not in cut and value in _extremes(counted.get(hour)))
    for hour in sorted({*whole, *islice(reaching, 1), *cut}):
        async for event in _events_of(database, asked, hour, hour + HOUR):
            if _value(asked.meter, event) == value:
                return event.position
    return None


async def values_before(
    database: Database, asked: KnownUsage, place: tuple[datetime, int], digests: Collection[bytes]
) -> set[bytes]:
    """Which of these values of a ``unique`` meter stand in the cycle's events up to a place, with it, as known then.

    Places are in the order of time, and of positions where that is the same. Nothing is held but the values that are
    asked for: hours that did not change answer from the read model. Of the others those are read that may hold one.
    """
    own = hour_of(place[0])
    changed = [hour for hour in await _changed_hours(database, asked) if hour < own]
    cut = [hour for hour in _cut_hours(asked) if hour < own]
    where = (asked.tenant_id, asked.meter.meter_id, asked.customer_id)
    span = (hour_of(asked.start), own, [*cut, *changed])
    found = {row["digest"] for row in await database.fetch(SQL["values_of_hours"], *where, *span, list(digests))}
    wanted = set(digests) - found
    held = (asked.meter.event_name, asked.position, changed, list(wanted))
    hours = [row["hour"] for row in await database.fetch(SQL["hours_holding"], *where, *held)] if changed else []
    # The place cuts its own hour.
    for since, until in _joined(sorted({*cut, *hours, own})):
        async for event in _events_of(database, asked, since, until):
            if not wanted or (event.timestamp, event.position) > place:
                return found
            value = event.metadata.get(str(asked.meter.aggregation.key))
            if value is not None and (digest := distinct_digest(value)) in wanted:
                wanted.remove(digest)
                found.add(digest)
    return found


def _position_of(last: Last | None) -> int | None:
    return None if last is None else last.position


def _extremes(measured: Measured | None) -> tuple[Decimal, ...]:
    summary = measured.summary if measured else EMPTY
    return () if summary.low is None or summary.high is None else (summary.low, summary.high)


def _value(meter: CountedMeter, event: StandingEvent) -> Decimal | None:
    measured = Measured()
    measured.add(meter.aggregation, event.timestamp, event.position, event.metadata)
    return measured.summary.high


async def _changed_hours(database: Database, asked: KnownUsage) -> list[datetime]:
    where = (asked.tenant_id, asked.customer_id, asked.meter.meter_id, asked.position, asked.start - HOUR, asked.end)
    return [row["hour"] for row in await database.fetch(SQL["changed_hours"], *where)]


def _cut_hours(asked: KnownUsage) -> list[datetime]:
    """The hours of which the cycle holds a part: their summaries know what happened outside of it, too."""
    return [hour_of(edge) for edge in (asked.start, asked.end) if edge != hour_of(edge)]


def _joined(hours: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """Rising hours as spans, those that follow each other as one of up to a day: each is read on its own."""
    spans: list[tuple[datetime, datetime]] = []
    for hour in hours:
        since = spans.pop()[0] if spans and spans[-1][1] == hour < spans[-1][0] + DAY else hour
        spans.append((since, hour + HOUR))
    return spans


def _unchanged_pieces(
    start: datetime, end: datetime, changed: Sequence[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """What is left of a span without these, in order."""
    pieces: list[tuple[datetime, datetime]] = []
    for since, until in changed:
        if start < since:
            pieces.append((start, since))
        start = max(start, until)
    return [*pieces, (start, end)] if start < end else pieces


def _changed_pieces(
    start: datetime, end: datetime, changed: Sequence[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """What these hold of a span, in order."""
    return [(max(start, since), min(end, until)) for since, until in changed if since < end and start < until]


async def _events_of(
    database: Database, asked: KnownUsage, since: datetime, until: datetime
) -> AsyncIterator[StandingEvent]:
    """The events of late hours, as far as the cycle holds them, in the order of time."""
    since, until, past = max(since, asked.start), min(until, asked.end), 0
    names = [asked.meter.event_name]
    while since < until:
        where = (asked.tenant_id, asked.customer_id, since, until, names, asked.position, past, EVENTS_AT_ONCE)
        rows = await database.fetch(QUANTITY_SQL["standing_usage"], *where)
        for row in rows:
            metadata = read_metadata(row["metadata"])
            if asked.meter.counts(row["position"], metadata):
                yield StandingEvent(row["position"], row["timestamp"], metadata)
        if len(rows) < EVENTS_AT_ONCE:
            return
        since, past = rows[-1]["timestamp"], rows[-1]["position"]
