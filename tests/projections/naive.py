"""What meters mean, computed the plain way: over a list of events, with fractions, one event after another.

Shares nothing with the code under test: it reads JSON with the standard library and knows no decimals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

PLACES = 10**12
"""An average is rounded to 12 places."""

Value = str | bool | Fraction


@dataclass(frozen=True)
class NaiveEvent:
    """One recorded event; ``voided_at`` is the position of its retraction."""

    position: int
    event_name: str
    customer_id: str
    timestamp: datetime
    metadata: str
    voided_at: int | None = None

    def values(self) -> Mapping[str, Value]:
        """The metadata, numbers as fractions."""
        if not self.metadata:
            return {}
        return json.loads(self.metadata, parse_int=Fraction, parse_float=Fraction)


@dataclass
class NaiveMeter:
    """One meter; ``created_at``, ``archived_at`` and ``unarchived_at`` are the positions of these events."""

    event_name: str
    kind: str
    key: str | None
    filter: Any
    created_at: int = 0
    archived_at: list[int] = field(default_factory=list)
    unarchived_at: list[int] = field(default_factory=list)

    @property
    def archived(self) -> bool:
        return len(self.archived_at) > len(self.unarchived_at)

    def counts(self, event: NaiveEvent) -> bool:
        """Whether the event has the name, passes the filter and was recorded while the meter was not archived."""
        changes = [(at, True) for at in self.archived_at] + [(at, False) for at in self.unarchived_at]
        before = [archived for at, archived in sorted(changes) if at < event.position]
        if before and before[-1]:
            return False
        return event.event_name == self.event_name and (self.filter is None or holds(self.filter, event.values()))


@dataclass(frozen=True)
class NaiveCycle:
    """A cycle that was closed by the invoice at ``position``."""

    customer_id: str
    start: datetime
    end: datetime
    position: int


def known_at(position: int, events: Iterable[NaiveEvent]) -> list[NaiveEvent]:
    """The events that were recorded by ``position`` and were not retracted by then."""
    return [
        event
        for event in events
        if event.position <= position and (event.voided_at is None or event.voided_at > position)
    ]


def late_hours(
    meter: NaiveMeter, events: Iterable[NaiveEvent], cycles: Iterable[NaiveCycle], known: int
) -> dict[tuple[str, datetime], int]:
    """Customer and hour to the last position by which the hour changed after a cycle that holds some of it was closed.

    Only what is at ``known`` or before it happened, and nothing happened to a meter before it was declared.
    """
    late: dict[tuple[str, datetime], int] = {}
    for event in filter(meter.counts, events):
        start = event.timestamp - timedelta(
            minutes=event.timestamp.minute, seconds=event.timestamp.second, microseconds=event.timestamp.microsecond
        )
        for changed in (event.position, event.voided_at):
            if changed is None or not meter.created_at < changed <= known:
                continue
            for cycle in cycles:
                overlaps = cycle.start < start + timedelta(hours=1) and start < cycle.end
                if cycle.customer_id == event.customer_id and cycle.position < changed and overlaps:
                    key = (event.customer_id, start)
                    late[key] = max(changed, late.get(key, 0))
    return late


def number_of(value: Value | None) -> Fraction | None:
    """A number, or text in plain decimal notation."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return Fraction(value)
    return None


def holds(condition: Any, values: Mapping[str, Value]) -> bool:
    """A filter or one of its conditions."""
    if "clauses" in condition:
        answers = [holds(clause, values) for clause in condition["clauses"]]
        return False not in answers if condition["conjunction"] == "and" else True in answers
    if condition["key"] not in values:
        return False
    actual: Any = values[condition["key"]]
    expected: Any = condition["value"]
    operator = condition["operator"]
    if type(expected) is int:
        actual, expected = number_of(actual), Fraction(expected)
    if type(actual) is not type(expected):
        return operator in ("not_equals", "does_not_contain")
    if operator in ("contains", "does_not_contain"):
        contained = type(actual) is str and expected in actual
        return contained == (operator == "contains")
    comparisons: dict[str, Callable[[], bool]] = {
        "equals": lambda: actual == expected,
        "not_equals": lambda: actual != expected,
        "greater_than": lambda: actual > expected,
        "greater_than_or_equals": lambda: actual >= expected,
        "less_than": lambda: actual < expected,
        "less_than_or_equals": lambda: actual <= expected,
    }
    return comparisons[operator]()


@dataclass(frozen=True)
class Answer:
    """The quantity, and how many events had a usable value and how many had none."""

    quantity: Fraction
    events: int
    unmeasured: int


def measured(
    meter: NaiveMeter, events: Iterable[NaiveEvent], customer_id: str | None, since: datetime, until: datetime
) -> Answer:
    """What the meter says of the events in ``[since, until)``."""
    matching = [
        event
        for event in events
        if since <= event.timestamp < until and customer_id in (None, event.customer_id) and meter.counts(event)
    ]
    if meter.kind == "count":
        return Answer(Fraction(len(matching)), len(matching), 0)
    assert meter.key is not None
    if meter.kind == "unique":
        present = [event.values()[meter.key] for event in matching if meter.key in event.values()]
        # In Python True equals 1; the type keeps them apart.
        distinct = {(type(value), value) for value in map(as_number_if_one, present)}
        return Answer(Fraction(len(distinct)), len(present), len(matching) - len(present))
    found = [(event, number_of(event.values().get(meter.key))) for event in matching]
    numbers = [(event, value) for event, value in found if value is not None]
    quantity = of_numbers(meter.kind, numbers) if numbers else Fraction(0)
    return Answer(quantity, len(numbers), len(matching) - len(numbers))


def as_number_if_one(value: Value) -> Value:
    """The number that a value means, or else the value itself."""
    meant = number_of(value)
    return value if meant is None else meant


def of_numbers(kind: str, numbers: list[tuple[NaiveEvent, Fraction]]) -> Fraction:
    """One number of many; there is at least one."""
    values = [value for _, value in numbers]
    match kind:
        case "sum":
            return sum(values, Fraction(0))
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "last":
            return max(numbers, key=lambda pair: (pair[0].timestamp, pair[0].position))[1]
        case "avg":
            return rounded(sum(values, Fraction(0)) / len(values))
    raise ValueError(kind)


def rounded(value: Fraction) -> Fraction:
    """Half away from zero, to 12 places."""
    units = int(abs(value) * PLACES + Fraction(1, 2))
    return Fraction(units if value >= 0 else -units, PLACES)
