"""A body to the texts of its events, each exactly as sent, before anything is read from them."""

from __future__ import annotations

import re

import msgspec

from app.ingest import spans
from app.ingest.problem import BodyProblem, shown

JSON_EVENTS_MAX = 1_000
"""Events in one JSON body: the wire contract's limit."""

NDJSON_EVENTS_MAX = 10_000
"""Events in one NDJSON body, which the contract does not know: ten JSON bodies' worth, so that a commit
stays short."""

VALUES_PER_EVENT_MAX = 128
"""JSON values per event that a body may hold, at its greatest number of events. An event within its limits
has 56; the rest is room for fields we ignore. Taking a body apart costs up to some 190 bytes of memory and
a third of a microsecond per value however short it is, and a value can be as short as 2 bytes."""

_BOM = b"\xef\xbb\xbf"
# The closing quotation mark is optional so that a text without it is still looked at only once. No string
# goes beyond its line, so that a broken line cannot hide the next one.
_STRING = re.compile(rb'"(?:[^"\\\n]++|\\[^\n])*+"?')
_LINE = re.compile(rb"[^ \t\r\n][^\n]*")


def json_events(body: bytes) -> list[bytes]:
    """The texts of the events of ``{"events": [...]}``; other keys beside ``events`` are ignored.

    Raises ``BodyProblem`` when that is not what the body is.
    """
    check_text(body)
    _check_values(body, JSON_EVENTS_MAX)
    try:
        return _split(body, body)
    except msgspec.DecodeError:
        # Perhaps all that is wrong is a lone surrogate in some event; the error should name that event.
        masked = _masked(body)
    try:
        return _split(body, masked)
    except msgspec.DecodeError as error:
        raise BodyProblem(422, "MALFORMED_JSON", f"the body is not valid JSON: {error}") from None


def ndjson_events(body: bytes) -> list[bytes]:
    """The texts of the events of a body with one JSON object per line; blank lines do not count.

    Raises ``BodyProblem``; a line that is no JSON is the problem of its event, not of the body.
    """
    check_text(body)
    _check_values(body, NDJSON_EVENTS_MAX)
    lines: list[bytes] = []
    for line in _LINE.finditer(body):
        if len(lines) == NDJSON_EVENTS_MAX:
            raise _too_many(NDJSON_EVENTS_MAX)
        lines.append(line[0].rstrip(b" \t\r"))
    if not lines:
        raise BodyProblem(400, "EMPTY_BATCH", "the body holds no event; send one JSON object per line")
    return lines


def check_text(body: bytes) -> None:
    """Raises ``BodyProblem`` for what no body may hold: a byte order mark, a NUL byte, bytes that are no UTF-8."""
    if body.startswith(_BOM):
        raise BodyProblem(422, "MALFORMED_JSON", "the body starts with a byte order mark; send plain UTF-8")
    nul = body.find(b"\0")
    if nul >= 0:
        raise BodyProblem(422, "MALFORMED_JSON", f"the body holds a NUL byte at byte {nul}")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BodyProblem(422, "INVALID_TEXT", f"the body is not valid UTF-8 at byte {error.start}") from None


def _check_values(body: bytes, events_max: int) -> None:
    limit = VALUES_PER_EVENT_MAX * events_max
    # Strings may hold commas and brackets too, but leaving them out costs more than counting.
    if _values_bound(body) > limit and _values_bound(_STRING.sub(b'""', body)) > limit:
        raise BodyProblem(413, "TOO_MANY_VALUES", f"the body holds more than {limit} JSON values")


def _masked(body: bytes) -> bytes:
    try:
        return spans.mask_lone_surrogates(body)
    except spans.TooManySurrogates as error:
        raise BodyProblem(422, "INVALID_TEXT", f"the body holds {error}") from None


def _values_bound(text: bytes) -> int:
    # Each value but the outermost follows an opening bracket, a comma, or a key that does.
    return text.count(b",") + text.count(b"[") + text.count(b"{") + 1


def _split(body: bytes, walkable: bytes) -> list[bytes]:
    """The texts of the events in ``body``, found by walking ``walkable``: the same but for lone
    surrogates."""
    try:
        start, end = _events_span(walkable)
        found = spans.elements(walkable[start:end])
    except RecursionError:
        raise BodyProblem(422, "TOO_DEEP", "the body nests too deep to be read") from None
    if walkable[:start] != body[:start] or walkable[end:] != body[end:]:
        raise BodyProblem(422, "INVALID_TEXT", "the body holds a lone surrogate outside of its events")
    if not found:
        raise BodyProblem(400, "EMPTY_BATCH", f"events is empty; send 1 to {JSON_EVENTS_MAX} events")
    if len(found) > JSON_EVENTS_MAX:
        raise _too_many(JSON_EVENTS_MAX)
    return [body[start + first : start + last] for first, last in found]


def _events_span(text: bytes) -> tuple[int, int]:
    try:
        members = spans.members(text)
    except spans.DuplicateKey as error:
        rule = f"the key '{shown(error.key)}' of the body appears more than once"
        raise BodyProblem(422, "DUPLICATE_KEY", rule) from None
    except msgspec.ValidationError:
        rule = 'the body must be a JSON object, {"events": [...]}'
        raise BodyProblem(422, "INVALID_TYPE", rule) from None
    if "events" not in members:
        raise BodyProblem(422, "MISSING_FIELD", "events is required: the list of the events")
    start, end = members["events"]
    if text[start : start + 1] != b"[":
        raise BodyProblem(422, "INVALID_TYPE", "events must be an array")
    return start, end


def _too_many(limit: int) -> BodyProblem:
    return BodyProblem(400, "TOO_MANY_EVENTS", f"the body holds more than {limit} events; send smaller batches")
