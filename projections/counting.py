"""Folding usage events into summaries: the one place that asks which meter counts which event."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple, TypeAlias

import msgspec

from domain.aggregation import EMPTY, Aggregation, Kind, Summary, added, combine, distinct_key
from domain.event import metadata_reader
from domain.filter import Filter, keys_of, matches, read_filter
from projections.database import Row

HOUR = timedelta(hours=1)
FIRST_HOUR = datetime.min.replace(tzinfo=UTC)

HourKey: TypeAlias = tuple[str, str, datetime]
"""A summary's place: meter, customer and hour."""

Metadata: TypeAlias = Mapping[str, str | bool | Decimal]
"""An event's metadata, read."""


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


class NamedMeters(NamedTuple):
    """The meters that look at one event name, and how to read what they see of an event's metadata."""

    meters: Sequence[CountedMeter]
    read: Callable[[str], Metadata]


class Fold:
    """Summaries per meter, customer and hour, distinct values, and events without a usable value.

    ``changed`` holds the position of the event of each summary that was added last. With ``only``, what lies outside of
    these hours is left out.
    """

    def __init__(self, only: Container[HourKey] | None = None) -> None:
        self._only = only
        self._hour = self._hour_end = FIRST_HOUR
        self.summaries: dict[HourKey, Summary] = {}
        self.changed: dict[HourKey, int] = {}
        self.distinct: set[tuple[str, str, datetime, bytes]] = set()
        self.unmeasured: list[tuple[str, int, str]] = []

    def add(self, names: Mapping[str, NamedMeters], rows: Iterable[Row]) -> None:
        """Count rows of usage events for the meters of their event name."""
        for row in rows:
            named = names[row["event_name"]]
            metadata = named.read(row["metadata"])
            for meter in named.meters:
                if meter.counts_at(row["position"]):
                    self._count(meter, row, metadata)

    def _count(self, meter: CountedMeter, row: Row, metadata: Metadata) -> None:
        if meter.filter is not None and not matches(meter.filter, metadata):
            return
        at = row["timestamp"]
        if not self._hour <= at < self._hour_end:
            self._hour = hour_of(at)
            self._hour_end = self._hour + HOUR
        key = (meter.meter_id, row["customer_id"], self._hour)
        if self._only is not None and key not in self._only:
            return
        before = self.summaries.get(key, EMPTY)
        summary = added(before, meter.aggregation, at, row["position"], metadata)
        if summary.unmeasured > before.unmeasured:
            self.unmeasured.append((meter.meter_id, row["position"], row["event_id"]))
        elif meter.aggregation.type is Kind.unique:
            self.distinct.add((*key, distinct_digest(meter.aggregation, metadata)))
        self.summaries[key] = summary
        self.changed[key] = row["position"]


def hour_key(meter: CountedMeter, row: Row) -> HourKey:
    """Where a usage event counts for a meter."""
    return (meter.meter_id, row["customer_id"], hour_of(row["timestamp"]))


def distinct_digest(aggregation: Aggregation, metadata: Metadata) -> bytes:
    """The name under which a value is kept to count it once: the SHA-256 of its canonical bytes."""
    assert aggregation.key is not None
    return sha256(distinct_key(metadata[aggregation.key])).digest()


def by_event_name(meters: Iterable[CountedMeter]) -> dict[str, NamedMeters]:
    """The meters that look at each event name."""
    names: dict[str, list[CountedMeter]] = {}
    for meter in meters:
        names.setdefault(meter.event_name, []).append(meter)
    return {
        name: NamedMeters(named, metadata_reader(frozenset[str]().union(*(meter.keys for meter in named))))
        for name, named in names.items()
    }


def combined(summaries: Iterable[Summary]) -> Summary:
    """All of them as one."""
    result = EMPTY
    for summary in summaries:
        result = combine(result, summary)
    return result
