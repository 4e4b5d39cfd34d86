"""What a meter would count of the latest events, before it is declared: which of them match, and which value counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from app.dashboard.meter_counts import SQL
from app.dashboard.meter_words import value_words
from domain import number
from domain.aggregation import Aggregation, Kind, summary_of
from domain.event import read_metadata
from domain.filter import Filter, matches
from projections.database import Database, Row
from projections.usage import Measured

RECENT_POSITIONS = 20_000
"""How far back in the log a form looks for examples: some hundredths of a second."""

RECENT_NAMES_MAX = 50
"""Event names suggested: more than that nobody reads."""

SAMPLE_EVENTS = 200
"""Events that a meter is tried on."""

SHOWN_EVENTS = 12
"""Of those, how many stand on the page."""

KEYS_MAX = 60
"""Metadata keys suggested: one event has at most 50."""


class SeenKey(msgspec.Struct, frozen=True):
    """A metadata key of recent events: which kinds of values it had, the latest one, and in how many events it was."""

    name: str
    kinds: str
    example: str
    events: int


class Tried(msgspec.Struct, frozen=True):
    """One event with what the meter makes of it: ``counts``, ``filtered out`` or ``unmeasured``, and the value."""

    event_id: str
    customer_id: str
    timestamp: datetime
    metadata: str
    outcome: str
    value: str


class Sample(msgspec.Struct, frozen=True):
    """What became of all tried events, the latest of them one by one, and the quantity of those that match."""

    events: int
    matching: int
    unmeasured: int
    quantity: str
    shown: tuple[Tried, ...]


async def recent_names(database: Database, tenant_id: str) -> list[str]:
    """The event names that arrived lately, the most frequent first."""
    rows = await database.fetch(SQL["recent_names"], tenant_id, RECENT_POSITIONS, RECENT_NAMES_MAX)
    return [row["event_name"] for row in rows]


async def recent_events(database: Database, tenant_id: str, event_name: str) -> list[Row]:
    """The latest events of a name, latest first."""
    return await database.fetch(SQL["recent_events"], tenant_id, RECENT_POSITIONS, event_name, SAMPLE_EVENTS)


def seen_keys(rows: Sequence[Row]) -> list[SeenKey]:
    """The metadata keys of events, the most frequent first."""
    kinds: dict[str, set[str]] = {}
    examples: dict[str, str] = {}
    counts: dict[str, int] = {}
    for row in rows:
        for key, value in read_metadata(row["metadata"]).items():
            kinds.setdefault(key, set()).add(_kind(value))
            examples.setdefault(key, value_words(value))
            counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts, key=lambda key: (-counts[key], key))[:KEYS_MAX]
    return [SeenKey(key, " or ".join(sorted(kinds[key])), examples[key], counts[key]) for key in ranked]


def _kind(value: str | bool | Decimal) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if number.measure(value) is None else "number"


def sample_of(rows: Sequence[Row], aggregation: Aggregation, condition: Filter | None) -> Sample:
    """Try a meter on events, with the domain's own functions."""
    measured = Measured()
    tried: list[Tried] = []
    matching = 0
    for row in rows:
        metadata = read_metadata(row["metadata"])
        outcome, value = "filtered out", ""
        if matches(condition, metadata):
            matching += 1
            summary = summary_of(aggregation, row["timestamp"], row["position"], metadata)
            measured.add(aggregation, row["timestamp"], row["position"], metadata)
            outcome = "unmeasured" if summary.unmeasured else "counts"
            if not summary.unmeasured:
                value = _value(aggregation, metadata.get(aggregation.key or ""))
        tried.append(
            Tried(row["event_id"], row["customer_id"], row["timestamp"], row["metadata"] or "{}", outcome, value)
        )
    return Sample(
        events=len(rows),
        matching=matching,
        unmeasured=measured.summary.unmeasured,
        quantity=number.plain(measured.quantity(aggregation)),
        shown=tuple(tried[:SHOWN_EVENTS]),
    )


def _value(aggregation: Aggregation, value: str | bool | Decimal | None) -> str:
    """What an event adds: itself, its value, or the number that its value means."""
    if aggregation.type is Kind.count or value is None:
        return "1"
    return value_words(value) if aggregation.type is Kind.unique else number.plain(number.measure(value) or Decimal(0))
