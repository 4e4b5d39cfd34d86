"""Aggregations: how a meter turns usage events into a quantity.

A summary holds what every aggregation but ``unique`` needs. Summaries form a commutative monoid: whichever
way the events are split, in whatever order the parts are combined, the result is the same. That is what
lets a projection count hour by hour, in parallel and with late events, and still be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import cast

import msgspec

from domain import number
from domain.event import METADATA_KEY_MAX_CHARS

_ZERO = Decimal(0)


class InvalidAggregation(ValueError):
    """A part of an aggregation that breaks a rule: ``field`` is its path, ``rule`` says what must hold."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Kind(StrEnum):
    """What is done with the values of the key, as on the wire. ``count`` counts events and needs no key."""

    # A member hides the method of `str` that has its name; nobody counts letters in a kind.
    count = "count"  # pyright: ignore[reportAssignmentType]
    sum = "sum"
    max = "max"
    last = "last"
    min = "min"
    avg = "avg"
    unique = "unique"


class Aggregation(msgspec.Struct, frozen=True):
    """A kind and the metadata key it looks at."""

    type: Kind
    key: str | None = None


class Last(msgspec.Struct, frozen=True, gc=False):
    """The latest value: of the greatest timestamp and, among equal ones, of the greatest position."""

    timestamp: datetime
    position: int
    value: Decimal


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What is known of a set of matching events.

    ``events`` had a usable value and count, ``unmeasured`` had none. ``total``, ``low`` and ``high`` are of
    the numbers that count; without any number they are 0 and ``None``. ``last`` is kept where the aggregation
    asks for it: it is the one part that needs to know when each event happened.
    """

    events: int = 0
    unmeasured: int = 0
    total: Decimal = _ZERO
    low: Decimal | None = None
    high: Decimal | None = None
    last: Last | None = None


EMPTY = Summary()
"""The summary of no event; combining with it changes nothing."""

_COUNTED = Summary(events=1)
_UNMEASURED = Summary(unmeasured=1)


def read_aggregation(value: object, field: str = "aggregation") -> Aggregation:
    """The aggregation in decoded JSON. ``field`` is the path that errors start with.

    Every kind but ``count`` needs a key; ``count`` takes an empty one for none. Raises
    ``InvalidAggregation`` for the first rule that is broken.
    """
    if not isinstance(value, dict):
        raise InvalidAggregation(field, "must be an object with type and key")
    members = cast("dict[str, object]", value)
    unknown = [name for name in members if name not in ("type", "key")]
    if unknown:
        raise InvalidAggregation(f"{field}.{unknown[0]}", "is unknown: only type and key are allowed")
    try:
        kind = Kind(cast("str", members.get("type")))
    except ValueError:
        raise InvalidAggregation(f"{field}.type", f"must be one of {', '.join(Kind)}") from None
    return Aggregation(type=kind, key=_read_key(members.get("key"), kind, f"{field}.key"))


def summary_of(aggregation: Aggregation, timestamp: datetime, position: int, metadata: Mapping[str, object]) -> Summary:
    """The summary of one event that matches the meter's name and filter.

    ``count`` counts it whatever its metadata; ``unique`` when the key has any value; the others when the
    key's value is a number or text in plain decimal notation. An event that does not count is unmeasured.
    """
    if aggregation.type is Kind.count:
        return _COUNTED
    value = None if aggregation.key is None else metadata.get(aggregation.key)
    if aggregation.type is Kind.unique:
        return _UNMEASURED if value is None else _COUNTED
    measured = number.measure(value)
    if measured is None:
        return _UNMEASURED
    return Summary(
        events=1,
        total=measured,
        low=measured,
        high=measured,
        last=Last(timestamp, position, measured) if aggregation.type is Kind.last else None,
    )


def measured_values(kind: Kind, values: Sequence[object]) -> Sequence[object]:
    """The values of the key as an aggregation takes them, ``None`` where one is of no use to it: ``unique`` takes any,
    the others numbers."""
    return values if kind is Kind.unique else [number.measure(value) for value in values]


def summary_of_all(
    kind: Kind, values: Sequence[object], timestamps: Sequence[datetime], positions: Sequence[int]
) -> Summary:
    """The summary of one or more events that match, for every kind but ``count``.

    It is what ``combine`` makes of the summaries of each, at a tenth of the price. ``values`` are those of
    ``measured_values``; only ``last`` looks at ``timestamps`` and ``positions``.
    """
    if len(values) == 1 and kind is not Kind.last:
        (value,) = values
        if isinstance(value, Decimal) and kind is not Kind.unique:
            return Summary(1, 0, value, value, value)
        return _UNMEASURED if value is None else _COUNTED
    unmeasured = values.count(None)
    if kind is Kind.unique or unmeasured == len(values):
        return Summary(events=len(values) - unmeasured, unmeasured=unmeasured)
    numbers = [value for value in values if isinstance(value, Decimal)]
    last = None
    if kind is Kind.last:
        latest = max(zip(timestamps, positions, values, strict=True), key=_place_of_usable)
        last = Last(latest[0], latest[1], cast("Decimal", latest[2]))
    return Summary(len(numbers), unmeasured, number.total(numbers), min(numbers), max(numbers), last)


def _place_of_usable(event: tuple[datetime, int, object]) -> tuple[bool, datetime, int]:
    timestamp, position, value = event
    return value is not None, timestamp, position


def combine(a: Summary, b: Summary) -> Summary:
    """The summary of the events of both. Positions are unique, so the two never hold the same event."""
    return Summary(
        events=a.events + b.events,
        unmeasured=a.unmeasured + b.unmeasured,
        total=number.plus(a.total, b.total),
        low=_either(a.low, b.low, min),
        high=_either(a.high, b.high, max),
        last=_later(a.last, b.last),
    )


def added(
    summary: Summary, aggregation: Aggregation, timestamp: datetime, position: int, metadata: Mapping[str, object]
) -> Summary:
    """A summary with one more event: ``combine`` and ``summary_of`` in one step, for those who count millions."""
    kind, measured = aggregation.type, None
    if kind is not Kind.count:
        value = None if aggregation.key is None else metadata.get(aggregation.key)
        measured = None if kind is Kind.unique else number.measure(value)
        if (value if kind is Kind.unique else measured) is None:
            return Summary(
                summary.events, summary.unmeasured + 1, summary.total, summary.low, summary.high, summary.last
            )
    if measured is None:
        return Summary(summary.events + 1, summary.unmeasured, summary.total, summary.low, summary.high, summary.last)
    low, high, last = summary.low, summary.high, summary.last
    if kind is Kind.last and (last is None or (timestamp, position) > (last.timestamp, last.position)):
        last = Last(timestamp, position, measured)
    return Summary(
        summary.events + 1,
        summary.unmeasured,
        number.plus(summary.total, measured),
        measured if low is None else min(low, measured),
        measured if high is None else max(high, measured),
        last,
    )


def distinct_key(value: object) -> bytes:
    """The bytes by which ``unique`` tells values apart: equal for equal values, stable for ever.

    One letter for the type, then the value: ``n`` and the plain notation of a number, ``s`` and the UTF-8
    of a string, ``b`` and 0 or 1. Text in plain decimal notation means the number, so ``"7"``, ``7.0`` and
    ``"007"`` are one value. Raises ``TypeError`` for what is no metadata value.
    """
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    measured = number.measure(value)
    if measured is not None:
        return b"n" + number.plain(measured).encode()
    if isinstance(value, str):
        return b"s" + value.encode()
    raise TypeError(f"a metadata value is a string, a number or a boolean, not {type(value).__name__}")


def quantity(aggregation: Aggregation, summary: Summary, distinct: int) -> Decimal:
    """The meter's quantity: 0 when no event counted.

    ``distinct`` is the number of different values, which a summary cannot hold; only ``unique`` looks at
    it. The average is rounded once, half away from zero, to the places of a quotient.
    """
    match aggregation.type:
        case Kind.count:
            return Decimal(summary.events)
        case Kind.sum:
            return summary.total
        case Kind.max:
            return _ZERO if summary.high is None else summary.high
        case Kind.min:
            return _ZERO if summary.low is None else summary.low
        case Kind.last:
            return _ZERO if summary.last is None else summary.last.value
        case Kind.avg:
            return number.quotient(summary.total, Decimal(summary.events)) if summary.events else _ZERO
        case Kind.unique:
            return Decimal(distinct)


def _read_key(value: object, kind: Kind, field: str) -> str | None:
    if kind is Kind.count and value in (None, ""):
        return None
    if value is None:
        raise InvalidAggregation(field, f"is required for {kind}")
    if not isinstance(value, str) or not 1 <= len(value) <= METADATA_KEY_MAX_CHARS:
        raise InvalidAggregation(field, f"must be a string of 1 to {METADATA_KEY_MAX_CHARS} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        # It could not be stored, and no event can hold it.
        raise InvalidAggregation(field, "must not hold a lone surrogate, which is no character") from None
    return value


def _either(a: Decimal | None, b: Decimal | None, choose: Callable[[Decimal, Decimal], Decimal]) -> Decimal | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)


def _later(a: Last | None, b: Last | None) -> Last | None:
    if a is None or b is None:
        return b if a is None else a
    return a if (a.timestamp, a.position) >= (b.timestamp, b.position) else b
