"""Meter filters: conditions on the metadata of a usage event, joined by ``and`` and ``or``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast

import msgspec

from domain import number
from domain.event import METADATA_KEY_MAX_CHARS, METADATA_VALUE_MAX_CHARS

CLAUSES_MAX = 10
"""Clauses of one filter: the wire contract's limit."""

NESTING_MAX = 3
"""Levels of filters inside the outermost one: the wire contract's limit, and its official clients' types."""


class InvalidFilter(ValueError):
    """A part of a filter that breaks a rule: ``field`` is its path, ``rule`` says what must hold."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Operator(StrEnum):
    """How a condition compares the metadata value (left) with its own (right)."""

    equals = "equals"
    not_equals = "not_equals"
    greater_than = "greater_than"
    greater_than_or_equals = "greater_than_or_equals"
    less_than = "less_than"
    less_than_or_equals = "less_than_or_equals"
    contains = "contains"
    does_not_contain = "does_not_contain"


class Conjunction(StrEnum):
    """Whether all clauses must hold, or one of them."""

    all_of = "and"
    any_of = "or"


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison of one metadata key with a value whose type decides how to compare."""

    key: str
    operator: Operator
    value: str | bool | Decimal


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Clauses and how they are joined. Conditions and filters may stand side by side."""

    conjunction: Conjunction
    clauses: tuple[Condition | Filter, ...]


class FalseCondition(msgspec.Struct, frozen=True):
    """A condition that an event does not meet: its ``path`` in the filter, and the value ``found``; none is missing."""

    path: str
    condition: Condition
    found: str | bool | Decimal | None


def read_filter(value: object, field: str = "filter") -> Filter:
    """The filter in decoded JSON, whose numbers are ``Decimal`` or ``int``, never float.

    ``field`` is the path that errors start with. Raises ``InvalidFilter`` for the first rule that is broken.
    """
    return _read_filter(value, field, 0)


def write_filter(f: Filter) -> object:
    """The filter as a value for ``msgspec.json.encode``, exact: what ``read_filter`` reads back equals ``f``.

    Numbers are raw JSON in plain notation, because an encoder would make text of a ``Decimal``.
    """
    return {
        "conjunction": f.conjunction.value,
        "clauses": [
            write_filter(clause) if isinstance(clause, Filter) else _write_condition(clause) for clause in f.clauses
        ],
    }


def keys_of(f: Filter | None) -> frozenset[str]:
    """The metadata keys that a filter looks at; ``None`` looks at none."""
    if f is None:
        return frozenset()
    return frozenset[str]().union(*({one.key} if isinstance(one, Condition) else keys_of(one) for one in f.clauses))


def matches(f: Filter | None, metadata: Mapping[str, object]) -> bool:
    """Whether an event with this metadata passes the filter; without a filter every event does.

    Metadata values are ``str``, ``bool`` or ``Decimal``. A condition with a

    - number compares numerically with a number or with text in plain decimal notation,
    - string compares with a string, case-sensitive and ordered by code points,
    - boolean compares with a boolean; false comes before true.

    Where the key is missing the condition is false, whatever the operator. Where its value has another
    type, and where the operator looks into something that is no text, ``not_equals`` and
    ``does_not_contain`` are true and all others false.
    """
    if f is None:
        return True
    joined = all if f.conjunction is Conjunction.all_of else any
    return joined(
        matches(clause, metadata) if isinstance(clause, Filter) else _holds(clause, metadata) for clause in f.clauses
    )


def why_not(
    f: Filter | None, metadata: Mapping[str, str | bool | Decimal], path: str = "filter"
) -> tuple[FalseCondition, ...]:
    """The conditions for which an event does not pass the filter; none when it does.

    Of clauses that all have to hold these are the false ones, of those of which one has to hold all of them. ``path``
    is where the filter stands, in the words of ``InvalidFilter``.
    """
    if f is None or matches(f, metadata):
        return ()
    found: list[FalseCondition] = []
    for index, clause in enumerate(f.clauses):
        place = f"{path}.clauses[{index}]"
        if isinstance(clause, Filter):
            found += why_not(clause, metadata, place)
        elif not _holds(clause, metadata):
            found.append(FalseCondition(place, clause, metadata.get(clause.key)))
    return tuple(found)


def _holds(condition: Condition, metadata: Mapping[str, object]) -> bool:
    actual = metadata.get(condition.key)
    if actual is None:
        return False
    expected, compared = condition.value, condition.operator
    if compared is Operator.contains or compared is Operator.does_not_contain:
        found = isinstance(actual, str) and isinstance(expected, str) and expected in actual
        return found is (compared is Operator.contains)
    left = _comparable(actual, expected)
    if left is None:
        return compared is Operator.not_equals
    return _COMPARISONS[compared](left, expected)


def _comparable(actual: object, expected: str | bool | Decimal) -> str | bool | Decimal | None:
    """The metadata value in the type of the condition's, or ``None`` when it has another one."""
    if isinstance(expected, Decimal):
        return number.measure(actual)
    if isinstance(expected, bool):
        return actual if isinstance(actual, bool) else None
    return actual if isinstance(actual, str) else None


# Both sides have the same type by the time one of these is called; Decimals compare exactly.
_COMPARISONS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.equals: operator.eq,
    Operator.not_equals: operator.ne,
    Operator.greater_than: operator.gt,
    Operator.greater_than_or_equals: operator.ge,
    Operator.less_than: operator.lt,
    Operator.less_than_or_equals: operator.le,
}


def _read_filter(value: object, field: str, level: int) -> Filter:
    if level > NESTING_MAX:
        raise InvalidFilter(field, f"filters must not be nested deeper than {NESTING_MAX} levels")
    members = _members(value, field, ("conjunction", "clauses"))
    try:
        conjunction = Conjunction(cast("str", members["conjunction"]))
    except ValueError:
        raise InvalidFilter(f"{field}.conjunction", "must be 'and' or 'or'") from None
    clauses = members["clauses"]
    if not isinstance(clauses, list):
        raise InvalidFilter(f"{field}.clauses", "must be a list of conditions or filters")
    items = cast("list[object]", clauses)
    if not 1 <= len(items) <= CLAUSES_MAX:
        raise InvalidFilter(f"{field}.clauses", f"must have 1 to {CLAUSES_MAX} clauses")
    read = (_read_clause(item, f"{field}.clauses[{index}]", level + 1) for index, item in enumerate(items))
    return Filter(conjunction=conjunction, clauses=tuple(read))


def _read_clause(value: object, field: str, level: int) -> Condition | Filter:
    if _looks_like_filter(value):
        return _read_filter(value, field, level)
    members = _members(value, field, ("key", "operator", "value"))
    key = members["key"]
    if not isinstance(key, str) or not 1 <= len(key) <= METADATA_KEY_MAX_CHARS:
        raise InvalidFilter(f"{field}.key", f"must be a string of 1 to {METADATA_KEY_MAX_CHARS} characters")
    try:
        compared = Operator(cast("str", members["operator"]))
    except ValueError:
        raise InvalidFilter(f"{field}.operator", f"must be one of {', '.join(Operator)}") from None
    _check_characters(key, f"{field}.key")
    return Condition(key=key, operator=compared, value=_read_value(members["value"], f"{field}.value"))


def _looks_like_filter(value: object) -> bool:
    return isinstance(value, dict) and ("clauses" in value or "conjunction" in value)


def _read_value(value: object, field: str) -> str | bool | Decimal:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > METADATA_VALUE_MAX_CHARS:
            raise InvalidFilter(field, f"must have at most {METADATA_VALUE_MAX_CHARS} characters")
        _check_characters(value, field)
        return value
    if isinstance(value, int | Decimal):
        try:
            return number.check_limits(Decimal(value))
        except number.InvalidNumber as error:
            raise InvalidFilter(field, str(error)) from None
    raise InvalidFilter(field, "must be a string, a number or a boolean")


def _members(value: object, field: str, names: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidFilter(field, f"must be an object with {_listed(names)}")
    members = cast("dict[str, object]", value)
    for name in names:
        if members.get(name) is None:
            raise InvalidFilter(f"{field}.{name}", "is required")
    unknown = [name for name in members if name not in names]
    if unknown:
        raise InvalidFilter(f"{field}.{unknown[0]}", f"is unknown: only {_listed(names)} are allowed")
    return members


def _check_characters(text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        # It could not be stored, and no event can hold it.
        raise InvalidFilter(field, "must not hold a lone surrogate, which is no character") from None


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _write_condition(condition: Condition) -> object:
    value = condition.value
    return {
        "key": condition.key,
        "operator": condition.operator.value,
        "value": msgspec.Raw(number.plain(value).encode()) if isinstance(value, Decimal) else value,
    }
