"""What a meter counts, in words."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from domain import number
from domain.aggregation import Aggregation, Kind
from domain.filter import Condition, Filter, Operator
from projections.counting import stored_filter
from projections.database import Row

KINDS = {
    Kind.count: "Number of events",
    Kind.sum: "Sum",
    Kind.max: "Greatest value",
    Kind.last: "Latest value",
    Kind.min: "Least value",
    Kind.avg: "Average",
    Kind.unique: "Different values",
}
"""Each aggregation, as people say it."""

OPERATORS = {
    Operator.equals: "is",
    Operator.not_equals: "is not",
    Operator.greater_than: "is above",
    Operator.greater_than_or_equals: "is at least",
    Operator.less_than: "is below",
    Operator.less_than_or_equals: "is at most",
    Operator.contains: "contains",
    Operator.does_not_contain: "does not contain",
}
"""Each comparison, as people say it."""


def aggregation_of(row: Row) -> Aggregation:
    """The aggregation in a row of the ``meter`` read model."""
    return msgspec.json.decode(row["aggregation"], type=Aggregation)


def aggregation_words(aggregation: Aggregation) -> str:
    """The aggregation as people say it: ``Sum of tokens``."""
    words = KINDS[aggregation.type]
    return f"{words} of {aggregation.key}" if aggregation.key and aggregation.type is not Kind.count else words


def filter_words(condition: Filter | None) -> str:
    """The filter as people say it, with brackets around what is nested; without a filter every event counts."""
    return "every event of the name" if condition is None else _joined(condition)


def stored_filter_words(row: Row) -> str:
    """The filter in a row of the ``meter`` read model."""
    return filter_words(stored_filter(row["filter"]))


def _joined(condition: Filter) -> str:
    clauses = [
        f"({_joined(clause)})" if isinstance(clause, Filter) else _compared(clause) for clause in condition.clauses
    ]
    return f" {condition.conjunction.value} ".join(clauses)


def _compared(condition: Condition) -> str:
    return f"{condition.key} {OPERATORS[condition.operator]} {value_words(condition.value)}"


def value_words(value: str | bool | Decimal) -> str:
    """A metadata value: text in quotes, so that it is told from a number and from true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number.plain(value) if isinstance(value, Decimal) else f"\u201c{value}\u201d"
