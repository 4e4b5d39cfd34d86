"""Folding usage events into summaries: the one place that asks which meter counts which event."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import compress
from typing import NamedTuple, TypeAlias

import msgspec

from domain.aggregation import EMPTY, Aggregation, Kind, Summary, combine, distinct_key, measured_values, summary_of_all
from domain.event import metadata_columns, metadata_reader
from domain.filter import Filter, keys_of, matches, read_filter
from projections.database import Row

HOUR = timedelta(hours=1)

HourKey: TypeAlias = tuple[str, str, datetime]
"""A summary's place: meter, customer and hour."""

Value: TypeAlias = str | bool | Decimal
"""A value of an event's metadata, read."""

Metadata: TypeAlias = Mapping[str, Value]
"""An event's metadata, read."""

Columns: TypeAlias = Mapping[str, Sequence[Value | None]]
"""The metadata of many events, key by key; ``None`` where an event has none of it."""


class CountedMeter(msgspec.Struct, frozen=True):
    """What the fold needs of a meter. It counts from the log's first event on, but not inside its ``gaps``.

    A gap holds the positions past an archiving up to the next unarchiving (``None`` while it lasts).
    """

    meter_id: str
    event_name: str
    aggregation: Aggregation
    filter: Filter | None
    created_position: int
    gaps: tuple[tuple[int, int | None], ...] = ()

    def counts_at(self, position: int) -> bool:
        """Whether an event recorded at ``position`` is seen at all."""
        return not any(since < position and (until is None or position <= until) for since, until in self.gaps)

    def counts(self, position: int, metadata: Metadata) -> bool:
        """Whether it counts an event of its name that was recorded at ``position`` with this metadata."""
        return self.counts_at(position) and (self.filter is None or matches(self.filter, metadata))

    @property
    def keys(self) -> frozenset[str]:
        """The metadata keys that it looks at; a plain count never looks inside an event."""
        keys = keys_of(self.filter)
        return keys if self.aggregation.key is None else keys | {self.aggregation.key}


def counted_meter(row: Row) -> CountedMeter:
    """A row of the ``meter`` read model."""
    until: list[int | None] = [*row["unarchived_positions"], None]
    return CountedMeter(
        meter_id=row["meter_id"],
        event_name=row["event_name"],
        aggregation=msgspec.json.decode(row["aggregation"], type=Aggregation),
        filter=stored_filter(row["filter"]),
        created_position=row["created_position"],
        gaps=tuple(zip(row["archived_positions"], until, strict=False)),
    )


def stored_filter(text: str) -> Filter | None:
    """The filter of its stored JSON text; none when empty. Its numbers are read exactly, from their digits."""
    return read_filter(msgspec.json.Decoder(float_hook=Decimal).decode(text)) if text else None


def hour_of(at: datetime) -> datetime:
    """The hour (UTC) that holds an instant."""
    return at.replace(minute=0, second=0, microsecond=0)


class NamedMeters:
    """The meters that look at one event name, and how to read what they see of an event's metadata."""

    def __init__(self, meters: Sequence[CountedMeter]) -> None:
        self.meters = meters
        self.keys = frozenset[str]().union(*(meter.keys for meter in meters))
        self.read = metadata_reader(self.keys)
        self.columns = metadata_columns(self.keys)

    @property
    def by_place(self) -> bool:
        """Whether it matters which of the events a meter sees: what they hold, or where they are recorded."""
        return bool(self.keys) or any(meter.gaps for meter in self.meters)

    @property
    def by_time(self) -> bool:
        """Whether it matters when the events of an hour happened."""
        return any(meter.aggregation.type is Kind.last for meter in self.meters)


class HourOfUsage(NamedTuple):
    """Events of one name, customer and hour, column by column; the last of them recorded at ``last_position``. The
    statement ``usage_of_commits`` gives the same in this order.

    ``positions`` and ``metadata`` are empty unless ``NamedMeters.by_place``, ``timestamps`` unless ``by_time``.
    """

    event_name: str
    customer_id: str
    hour: datetime
    events: int
    last_position: int
    positions: Sequence[int]
    metadata: Sequence[str]
    timestamps: Sequence[datetime]


class Fold:
    """Summaries per meter, customer and hour, distinct values, and events without a usable value.

    ``changed`` holds the position of the event of each summary that was added last. With ``only``, what lies outside of
    these hours is left out.
    """

    def __init__(self, only: Container[HourKey] | None = None) -> None:
        self._only = only
        self.summaries: dict[HourKey, Summary] = {}
        self.changed: dict[HourKey, int] = {}
        self.distinct: set[tuple[str, str, datetime, bytes]] = set()
        self.unmeasured: list[tuple[str, int]] = []

    def add(self, names: Mapping[str, NamedMeters], hours: Iterable[HourOfUsage]) -> None:
        """Count hours of usage for the meters of their event name. The same hour may come in several parts."""
        named: dict[str, list[HourOfUsage]] = {}
        for hour in hours:
            named.setdefault(hour.event_name, []).append(hour)
        for name, parts in named.items():
            # Many hours hold one event: what can be done for all of them at once is.
            columns = names[name].columns([text for part in parts for text in part.metadata])
            for meter in names[name].meters:
                self._add(meter, parts, columns)

    def _add(self, meter: CountedMeter, hours: Sequence[HourOfUsage], columns: Columns) -> None:
        kind, key = meter.aggregation.type, meter.aggregation.key
        values = () if key is None or kind is Kind.count else measured_values(kind, columns[key])
        seen, end = _seen(meter, hours, columns), 0
        for hour in hours:
            start, end = end, end + len(hour.positions)
            place = (meter.meter_id, hour.customer_id, hour.hour)
            if self._only is None or place in self._only:
                whole = Counted(hour.events, hour.last_position, values[start:end], hour.positions, hour.timestamps)
                self._count(kind, place, whole if seen is None else _chosen(whole, seen[start:end]))

    def _count(self, kind: Kind, key: HourKey, counted: Counted) -> None:
        if not counted.events:
            return
        if kind is Kind.count:
            summary = Summary(events=counted.events)
        else:
            summary = summary_of_all(kind, counted.values, counted.timestamps, counted.positions)
            if summary.unmeasured:
                places = zip(counted.positions, counted.values, strict=True)
                self.unmeasured += [(key[0], position) for position, value in places if value is None]
            if kind is Kind.unique:
                self.distinct |= {(*key, distinct_digest(value)) for value in counted.values if value is not None}
        before = self.summaries.get(key)
        self.summaries[key] = summary if before is None else combine(before, summary)
        self.changed[key] = max(counted.last_position, self.changed.get(key, 0))


class Counted(NamedTuple):
    """What a meter counts of an hour, column by column: ``values`` as the aggregation measures them."""

    events: int
    last_position: int
    values: Sequence[object]
    positions: Sequence[int]
    timestamps: Sequence[datetime]


def _seen(meter: CountedMeter, hours: Sequence[HourOfUsage], columns: Columns) -> list[bool] | None:
    """Of each event of the hours whether the meter counts it; ``None`` when it counts them all."""
    if meter.filter is None and not meter.gaps:
        return None
    seen = [meter.counts_at(position) for hour in hours for position in hour.positions]
    if meter.filter is None:
        return seen
    keys = tuple(keys_of(meter.filter))
    rows = zip(*(columns[key] for key in keys), strict=True) if keys else iter([()] * len(seen))
    return [
        counts
        and matches(meter.filter, {key: value for key, value in zip(keys, row, strict=True) if value is not None})
        for counts, row in zip(seen, rows, strict=True)
    ]


def _chosen(whole: Counted, seen: Sequence[bool]) -> Counted:
    if all(seen):
        return whole
    positions = list(compress(whole.positions, seen))
    return Counted(
        len(positions),
        max(positions, default=0),
        list(compress(whole.values, seen)),
        positions,
        list(compress(whole.timestamps, seen)),
    )


def hour_key(meter: CountedMeter, row: Row) -> HourKey:
    """Where a usage event counts for a meter."""
    return (meter.meter_id, row["customer_id"], hour_of(row["timestamp"]))


def distinct_digest(value: object) -> bytes:
    """The name under which a value is kept to count it once: the SHA-256 of its canonical bytes."""
    return sha256(distinct_key(value)).digest()


def by_event_name(meters: Iterable[CountedMeter]) -> dict[str, NamedMeters]:
    """The meters that look at each event name."""
    names: dict[str, list[CountedMeter]] = {}
    for meter in meters:
        names.setdefault(meter.event_name, []).append(meter)
    return {name: NamedMeters(named) for name, named in names.items()}


def combined(summaries: Iterable[Summary]) -> Summary:
    """All of them as one."""
    result = EMPTY
    for summary in summaries:
        result = combine(result, summary)
    return result
