"""The rules for the fields of a usage event, applied to values parsed without loss.

Every function adds what it finds to a ``Problems`` and returns the value it read, or None where there is
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias, TypeGuard

from app.ingest.problem import EventProblem, shown
from domain import instant, number
from domain.event import METADATA_KEY_MAX_CHARS, METADATA_MAX_KEYS, METADATA_VALUE_MAX_CHARS

DEPTH_MAX = 64
"""Levels to which a field we do not know may nest. No client nests anywhere near that deep, and the
parsers' own limit depends on how deep the caller's stack happens to be."""

PROBLEMS_PER_EVENT_MAX = 100
"""Problems reported for one event. Five fields and 50 metadata keys fit with room to spare; only an event
made to break things has more, and its answer must not outgrow its request."""

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


class NumberText(str):
    """The text of a JSON number, digit for digit."""

    __slots__ = ()


class Members(list[tuple[str, "Value"]]):
    """The members of a JSON object in order, repeated keys included."""

    __slots__ = ()


Value: TypeAlias = "str | NumberText | bool | list[Value] | Members | None"
"""A JSON value as the exact reader parses it."""


class Problems:
    """Collects what is wrong with one event; ``event_id`` is filled in as soon as an acceptable one was
    read."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.event_id: str | None = None
        self._found: list[tuple[str, str, str]] = []

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._found)

    def add(self, field: str, code: str, rule: str) -> None:
        """Notes one problem; the message becomes "field rule". Beyond PROBLEMS_PER_EVENT_MAX nothing is
        kept."""
        if len(self._found) < PROBLEMS_PER_EVENT_MAX:
            self._found.append((field, code, f"{field} {rule}"))

    def reported(self) -> tuple[EventProblem, ...]:
        """The problems in the order they were found."""
        return tuple(
            EventProblem(self.index, self.event_id, field, code, message) for field, code, message in self._found
        )


def read_text(problems: Problems, field: str, value: Value, max_chars: int) -> str | None:
    """A required string: not empty, at most ``max_chars`` characters (code points), fit to be stored."""
    if not _is_text(value):
        problems.add(field, "INVALID_TYPE", f"must be a string, not {type_name(value)}")
        return None
    if not value:
        problems.add(field, "EMPTY_FIELD", "must not be empty")
        return None
    if not _check_length(problems, field, value, max_chars) or not _check_text(problems, field, value):
        return None
    return value


def read_timestamp(problems: Problems, field: str, value: Value) -> datetime | None:
    """An optional RFC 3339 timestamp with an offset; null is the same as absent."""
    if value is None:
        return None
    if not _is_text(value):
        problems.add(field, "INVALID_TYPE", f"must be an RFC 3339 string, not {type_name(value)}")
        return None
    try:
        return instant.parse(value)
    except instant.InvalidInstant as error:
        problems.add(field, "INVALID_TIMESTAMP", str(error))
        return None


def check_metadata(problems: Problems, field: str, value: Value) -> None:
    """Optional metadata: a flat object of strings, numbers and booleans within the limits; null is absent."""
    if value is None:
        return
    if not isinstance(value, Members):
        problems.add(field, "INVALID_TYPE", f"must be an object, not {type_name(value)}")
        return
    if len(value) > METADATA_MAX_KEYS:
        problems.add(field, "TOO_MANY_KEYS", f"has {len(value)} keys; at most {METADATA_MAX_KEYS} are allowed")
        return
    for key in repeated_keys(value):
        problems.add(f"{field}.{shown(key)}", "DUPLICATE_KEY", "appears more than once")
    for key, item in value:
        path = f"{field}.{shown(key)}"
        if _check_length(problems, path, key, METADATA_KEY_MAX_CHARS, "as a key "):
            _check_text(problems, path, key)
        _check_metadata_value(problems, path, item)


def check_unknown(problems: Problems, field: str, value: Value) -> None:
    """A field that is ignored: only what would make the event's text ambiguous or unreadable is refused."""
    if _LONE_SURROGATE.search(field):
        problems.add(shown(field), "INVALID_TEXT", "holds a lone surrogate in its name, which is no character")
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, list):
            if depth == DEPTH_MAX:
                problems.add(shown(field), "TOO_DEEP", f"nests deeper than {DEPTH_MAX} levels")
                return
            if isinstance(item, Members):
                for key in repeated_keys(item):
                    problems.add(shown(field), "DUPLICATE_KEY", f"holds an object with the key '{shown(key)}' twice")
                pending.extend((key, depth + 1) for key, _ in item)
                pending.extend((child, depth + 1) for _, child in item)
            else:
                pending.extend((child, depth + 1) for child in item)
        elif isinstance(item, str) and _LONE_SURROGATE.search(item):
            problems.add(shown(field), "INVALID_TEXT", "holds a lone surrogate, which is no character")


def repeated_keys(members: Iterable[tuple[str, Value]]) -> list[str]:
    """The keys that appear more than once, each one once, in the order of their repetition."""
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for key, _ in members:
        if key in seen:
            repeated[key] = None
        seen.add(key)
    return list(repeated)


def type_name(value: Value) -> str:
    """The JSON type of a value, with its article, as a message names it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, NumberText):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, Members) else "an array"


def _is_text(value: Value) -> TypeGuard[str]:
    return isinstance(value, str) and not isinstance(value, NumberText)


def _check_metadata_value(problems: Problems, path: str, value: Value) -> None:
    if isinstance(value, NumberText):
        try:
            number.parse_json(value)
        except number.InvalidNumber as error:
            problems.add(path, "INVALID_NUMBER", str(error))
    elif isinstance(value, str):
        if _check_length(problems, path, value, METADATA_VALUE_MAX_CHARS):
            _check_text(problems, path, value)
    elif not isinstance(value, bool):
        problems.add(path, "INVALID_TYPE", f"must be a string, a number or a boolean, not {type_name(value)}")


def _check_length(problems: Problems, path: str, text: str, max_chars: int, what: str = "") -> bool:
    if len(text) <= max_chars:
        return True
    problems.add(path, "TOO_LONG", f"{what}has {len(text)} characters; at most {max_chars} are allowed")
    return False


def _check_text(problems: Problems, path: str, text: str) -> bool:
    if "\0" in text:
        problems.add(path, "INVALID_TEXT", "holds a NUL character, which the database cannot keep")
        return False
    if _LONE_SURROGATE.search(text):
        problems.add(path, "INVALID_TEXT", "holds a lone surrogate, which is no character")
        return False
    return True
