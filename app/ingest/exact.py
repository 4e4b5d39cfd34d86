"""The exact reader of one usage event: it decides what is right, and names everything that is wrong.

Slower than ``fast`` and the authority over it: an event that both read is read the same.
"""

from __future__ import annotations

import json
from typing import NoReturn

from app.ingest import spans
from app.ingest.problem import RejectedEvent, shown
from app.ingest.rules import (
    Members,
    NumberText,
    Problems,
    Value,
    check_metadata,
    check_unknown,
    read_text,
    read_timestamp,
    repeated_keys,
    type_name,
)
from domain.event import (
    CUSTOMER_ID_MAX_CHARS,
    EVENT_ID_MAX_CHARS,
    EVENT_NAME_MAX_CHARS,
    UsageEvent,
)

EVENT_MAX_BYTES = 512 * 1024
"""Bytes of one event's text. The largest event the limits allow, every character of its ids, 50 keys and 50
values written as a surrogate pair of escapes (12 bytes), has 372 kB. Parsed values take up to 54 times the
memory of their text, so an unbounded event would be a way to take down the process."""

_REQUIRED = (
    ("event_id", EVENT_ID_MAX_CHARS),
    ("event_name", EVENT_NAME_MAX_CHARS),
    ("customer_id", CUSTOMER_ID_MAX_CHARS),
)
_KNOWN = frozenset({"event_id", "event_name", "customer_id", "timestamp", "metadata"})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=Members,
    parse_int=NumberText,
    parse_float=NumberText,
    parse_constant=_refuse_constant,
)


def read_event(index: int, text: bytes) -> UsageEvent | RejectedEvent:
    """The event in ``text``, valid UTF-8 without NUL bytes, or everything that is wrong with it."""
    problems = Problems(index)
    value = _parse(problems, text)
    event = None if value is None else _read_fields(problems, value, text)
    if event is None:
        return RejectedEvent(index, problems.event_id, text.decode(), problems.reported())
    return event


def _parse(problems: Problems, text: bytes) -> Members | None:
    if len(text) > EVENT_MAX_BYTES:
        problems.add("event", "TOO_LARGE", f"has {len(text)} bytes; at most {EVENT_MAX_BYTES} are allowed")
        return None
    try:
        value: Value = _DECODER.decode(text.decode())
    except RecursionError:
        problems.add("event", "TOO_DEEP", "nests too deep to be read")
        return None
    except ValueError as error:
        problems.add("event", "MALFORMED_JSON", f"is not valid JSON: {error}")
        return None
    if not isinstance(value, Members):
        problems.add("event", "INVALID_TYPE", f"must be an object, not {type_name(value)}")
        return None
    return value


def _read_fields(problems: Problems, members: Members, text: bytes) -> UsageEvent | None:
    fields = dict(members)
    repeated = repeated_keys(members)
    required: list[str | None] = []
    for name, max_chars in _REQUIRED:
        if name in fields:
            required.append(read_text(problems, name, fields[name], max_chars))
        else:
            problems.add(name, "MISSING_FIELD", "is required")
            required.append(None)
    event_id, event_name, customer_id = required
    # An id that was sent twice names no event.
    problems.event_id = None if "event_id" in repeated else event_id
    timestamp = read_timestamp(problems, "timestamp", fields.get("timestamp"))
    check_metadata(problems, "metadata", fields.get("metadata"))
    for name in repeated:
        problems.add(shown(name), "DUPLICATE_KEY", "appears more than once")
    for name, value in members:
        if name not in _KNOWN:
            check_unknown(problems, name, value)
    if problems or event_id is None or event_name is None or customer_id is None:
        return None
    metadata = ""
    if fields.get("metadata") is not None:
        start, end = spans.members(text)["metadata"]
        metadata = text[start:end].decode()
    return UsageEvent(event_id, event_name, customer_id, timestamp, metadata)
