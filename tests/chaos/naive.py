"""Quantities and money by the simplest reading of the rules: every event is looked at for every question."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.chaos.books import Books, Usage, read_json

PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True)
class NaiveMeter:
    """A meter as its domain events say it. ``gaps`` are positions between an archiving and its end."""

    meter_id: str
    event_name: str
    kind: str
    key: str | None
    condition: Any
    gaps: tuple[tuple[int, int | None], ...]

    def counts(self, usage: Usage) -> bool:
        """Whether the event matches."""
        if usage.event_name != self.event_name:
            return False
        if any(since < usage.position and (until is None or usage.position <= until) for since, until in self.gaps):
            return False
        return self.condition is None or holds(self.condition, usage.metadata)

    def value(self, usage: Usage) -> Any:
        """What the event is worth, or nothing when it is unmeasured."""
        if self.kind == "count":
            return Fraction(1)
        raw = usage.metadata.get(self.key)
        if self.kind == "unique":
            return None if raw is None else distinct(raw)
        return measured(raw)


def meters_of(books: Books) -> list[NaiveMeter]:
    found: list[NaiveMeter] = []
    for event in books.of_kind("meter.created"):
        aggregation, text = event.state["aggregation"], event.state["filter"]
        own = [one for one in books.of_kind("meter.archived", "meter.unarchived") if one.stream == event.stream]
        since = [one.position for one in own if one.kind == "meter.archived"]
        until: list[int | None] = [one.position for one in own if one.kind == "meter.unarchived"]
        found.append(
            NaiveMeter(
                meter_id=event.stream.partition(":")[2],
                event_name=event.state["event_name"],
                kind=aggregation["type"],
                key=aggregation.get("key"),
                condition=read_json(text) if text else None,
                gaps=tuple(zip(since, [*until, None], strict=False)),
            )
        )
    return found


def measured(value: Any) -> Fraction | None:
    """A number, or text in plain decimal notation."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return Fraction(value) if PLAIN.fullmatch(value) else None
    return Fraction(value)


def distinct(value: Any) -> tuple[str, Any]:
    """What tells two values apart."""
    number = measured(value)
    return ("number", number) if number is not None else (type(value).__name__, value)


def holds(condition: Any, metadata: dict[str, Any]) -> bool:
    """A filter: the type of the condition's value decides how to compare."""
    if "clauses" in condition:
        answers = [holds(clause, metadata) for clause in condition["clauses"]]
        return all(answers) if condition["conjunction"] == "and" else any(answers)
    if condition["key"] not in metadata:
        return False
    operator, wanted, found = condition["operator"], condition["value"], metadata[condition["key"]]
    denied = operator in ("not_equals", "does_not_contain")
    if isinstance(wanted, bool):
        return denied if not isinstance(found, bool) else (found == wanted) != denied
    if isinstance(wanted, str):
        if not isinstance(found, str):
            return denied
        return (wanted in found if "contain" in operator else found == wanted) != denied
    number = measured(found)
    if number is None:
        return denied
    return {
        "equals": number == wanted,
        "not_equals": number != wanted,
        "greater_than": number > wanted,
        "greater_than_or_equals": number >= wanted,
        "less_than": number < wanted,
        "less_than_or_equals": number <= wanted,
    }[operator]


def standing(usage: Iterable[Usage], up_to: int) -> list[Usage]:
    """What was recorded and not retracted by a position."""
    return [one for one in usage if one.position <= up_to and (one.retracted is None or one.retracted > up_to)]


def quantity(
    meter: NaiveMeter, usage: Iterable[Usage], customer_id: str, start: datetime, end: datetime, up_to: int
) -> Fraction:
    """What the meter counts of a customer in ``[start, end)`` as known at a position."""
    counted = [
        one
        for one in standing(usage, up_to)
        if one.customer_id == customer_id and start <= one.at < end and meter.counts(one)
    ]
    return aggregated(meter, counted)


def aggregated(meter: NaiveMeter, counted: Iterable[Usage]) -> Fraction:
    """The aggregation over events that count; 0 for none."""
    pairs = [(one, value) for one in counted if (value := meter.value(one)) is not None]
    if not pairs:
        return Fraction(0)
    values = [value for _, value in pairs]
    match meter.kind:
        case "count":
            return Fraction(len(values))
        case "sum":
            return sum(values, Fraction(0))
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "last":
            return max(pairs, key=lambda pair: (pair[0].at, pair[0].position))[1]
        case "unique":
            return Fraction(len(set(values)))
        case _:
            return rounded(sum(values, Fraction(0)) / len(values), 12)


def rounded(value: Fraction, places: int = 0) -> Fraction:
    """Half away from zero."""
    scaled = abs(value) * 10**places
    whole = int(scaled + Fraction(1, 2))
    return Fraction(whole if value >= 0 else -whole, 10**places)


def exact(text: Any) -> Fraction:
    """A decimal of a document or a row."""
    return Fraction(Decimal(str(text)))
