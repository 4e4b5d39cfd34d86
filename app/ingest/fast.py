"""The quick reader of usage events: takes what is plainly right and leaves everything else to ``exact``.

It never reports a problem. It either returns the events that ``exact`` would return, or None for "look
closer".
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Annotated, Any

import msgspec

from domain import instant, number
from domain.event import (
    CUSTOMER_ID_MAX_CHARS,
    EVENT_ID_MAX_CHARS,
    EVENT_NAME_MAX_CHARS,
    METADATA_KEY_MAX_CHARS,
    METADATA_MAX_KEYS,
    METADATA_VALUE_MAX_CHARS,
    UsageEvent,
)

_INTEGER_BOUND = 10**number.MAX_WHOLE_DIGITS
"""The least integer with more digits than a number may have."""

_USUAL = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]{3}|\.[0-9]{6})?(?:Z|\+00:00)"
)
"""A timestamp in UTC as the official SDKs write it. Of this shape the standard library's C parser accepts
what ``instant.parse`` accepts, and that saves a quarter of what one event costs here."""

_USUAL_INSTANT = re.compile(_USUAL)
_USUAL_INSTANTS = re.compile(f'(?:{_USUAL}")*+')
"""Many of them, each with a quotation mark after it: what was read from text without a backslash holds none itself."""

_ABSENT = msgspec.Raw(b"")


class _Wire(msgspec.Struct, gc=False):
    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_ID_MAX_CHARS)]
    event_name: Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_NAME_MAX_CHARS)]
    customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=CUSTOMER_ID_MAX_CHARS)]
    timestamp: str | None = None
    metadata: msgspec.Raw = _ABSENT


class _Body(msgspec.Struct, gc=False):
    events: list[_Wire]


_EVENT = msgspec.json.Decoder(_Wire)
_BODY = msgspec.json.Decoder(_Body)

_Key = Annotated[str, msgspec.Meta(max_length=METADATA_KEY_MAX_CHARS)]
_Text = Annotated[str, msgspec.Meta(max_length=METADATA_VALUE_MAX_CHARS)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Plain = Annotated[dict[_Key, _Text | _Integer | bool], msgspec.Meta(max_length=METADATA_MAX_KEYS)]
_PLAIN_METADATA = msgspec.json.Decoder(_Plain)
_PLAIN_METADATAS = msgspec.json.Decoder(list[_Plain])
"""Metadata as most of it is: without fractions and longer integers, which the decoder's own bounds cannot tell."""

# ``float_hook`` gets the literal's text; what it refuses becomes a ValidationError.
_METADATA = msgspec.json.Decoder(dict[str, Any], float_hook=number.parse_json)


def read_events(body: bytes) -> list[UsageEvent] | None:
    """All events of ``{"events": [...]}``, valid UTF-8 of at most EVENT_MAX_BYTES bytes, or None when something in it
    is not plainly right. They may be more than a body may hold.

    As ``read_event`` for each of them, but every step is taken for all at once: that costs half.
    """
    if b"\\" in body:
        return None
    try:
        wires = _BODY.decode(body).events
        instants = _read_instants([wire.timestamp for wire in wires])
        metadata, strings = _read_metadata([wire.metadata for wire in wires])
    except _UNREADABLE:
        return None
    # The key of the list, and of each event the three required keys and their values.
    strings += 1 + 6 * len(wires) + 2 * (len(instants) - instants.count(None))
    if body.count(b'"') != 2 * strings:
        return None
    ids, names = [wire.event_id for wire in wires], [wire.event_name for wire in wires]
    return [*map(UsageEvent, ids, names, [wire.customer_id for wire in wires], instants, metadata)]


def _read_instants(texts: list[str | None]) -> list[datetime | None]:
    """The instants of timestamps. Raises one of ``_UNREADABLE``."""
    sent = [text for text in texts if text is not None]
    if len(sent) == len(texts) and _USUAL_INSTANTS.fullmatch('"'.join([*sent, ""])):
        return [*map(datetime.fromisoformat, sent)]
    return [None if text is None else _read_instant(text) for text in texts]


def _read_metadata(raws: list[msgspec.Raw]) -> tuple[list[str], int]:
    """The texts of events' metadata, and how many strings the events have for it, the field's own name among them.

    Raises one of ``_UNREADABLE``.
    """
    texts = [str(raw, "utf-8") for raw in raws]
    sent = [text for text in texts if text]
    try:
        plain = _PLAIN_METADATAS.decode(f"[{','.join(sent)}]")
    except msgspec.ValidationError:
        return texts, len(sent) + sum(map(_strings_in, sent))
    values = chain.from_iterable(map(dict.values, plain))
    return texts, len(sent) + sum(map(len, plain)) + [*map(type, values)].count(str)


def read_event(text: bytes) -> UsageEvent | None:
    """The event in ``text``, valid UTF-8 of at most EVENT_MAX_BYTES bytes, or None when it is not plainly
    right."""
    # Without a backslash there is no escape: no NUL, no lone surrogate, and a quotation mark only around a
    # string.
    if b"\\" in text:
        return None
    try:
        event, strings = _usage_event(_EVENT.decode(text))
    except _UNREADABLE:
        return None
    # The decoder drops unknown fields and the earlier ones of repeated keys. Each of them would show here
    # as a pair of quotation marks more than the event that was read accounts for.
    return event if text.count(b'"') == 2 * strings else None


_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


def _usage_event(wire: _Wire) -> tuple[UsageEvent, int]:
    """An event, and how many strings its text has. Raises one of ``_UNREADABLE``."""
    strings = 6  # the three required keys and their values
    timestamp = None
    if wire.timestamp is not None:
        timestamp = _read_instant(wire.timestamp)
        strings += 2
    metadata = ""
    if wire.metadata is not _ABSENT:
        metadata = str(wire.metadata, "utf-8")
        strings += 1 + _strings_in(metadata)
    return UsageEvent(wire.event_id, wire.event_name, wire.customer_id, timestamp, metadata), strings


def _read_instant(text: str) -> datetime:
    return datetime.fromisoformat(text) if _USUAL_INSTANT.fullmatch(text) else instant.parse(text)


def _strings_in(metadata: str) -> int:
    """How many strings, keys and values, the metadata holds. Raises one of ``_UNREADABLE`` when it breaks a rule."""
    try:
        plain = _PLAIN_METADATA.decode(metadata)
    except msgspec.ValidationError:
        return _strings_among(_METADATA.decode(metadata))
    return len(plain) + [*map(type, plain.values())].count(str)


def _strings_among(metadata: dict[str, Any]) -> int:
    strings = len(metadata)
    if strings > METADATA_MAX_KEYS:
        raise ValueError("too many keys")
    for key, value in metadata.items():
        kind = type(value)
        if kind is str:
            if len(value) > METADATA_VALUE_MAX_CHARS:
                raise ValueError("a long value")
            strings += 1
        elif kind is int:
            if not -_INTEGER_BOUND < value < _INTEGER_BOUND:
                raise ValueError("a long number")
        elif kind is not bool and kind is not Decimal:
            raise ValueError("no such value")
        if len(key) > METADATA_KEY_MAX_CHARS:
            raise ValueError("a long key")
    return strings
