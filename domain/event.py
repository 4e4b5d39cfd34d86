"""Usage events: what one holds, the limits of its fields, its canonical bytes and its stored metadata."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

EVENT_ID_MAX_CHARS = 512
"""Characters of an event id. The key (tenant, event_id) is unique for ever and lives in a PostgreSQL btree,
whose rows hold at most 2,704 bytes. A character takes up to 4 bytes in UTF-8: 2,048 bytes here leave room
for the tenant."""

CUSTOMER_ID_MAX_CHARS = 256
"""Characters of a customer id. An index over tenant, customer, event name and time has to hold both texts
in one btree row of 2,704 bytes: 256 characters are at most 1,024 bytes, so two of them leave over 600 for
the rest."""

EVENT_NAME_MAX_CHARS = 256
"""Characters of an event name; the reason is that of ``CUSTOMER_ID_MAX_CHARS``."""

METADATA_MAX_KEYS = 50
"""Keys of one event's metadata: the wire contract's limit."""

METADATA_KEY_MAX_CHARS = 100
"""Characters of a metadata key: the wire contract's limit for events."""

METADATA_VALUE_MAX_CHARS = 500
"""Characters of a metadata value that is a string: the wire contract's limit."""

CANONICAL_VERSION = 1
"""The version of the layout that ``canonical`` writes, and its first byte."""

CANONICAL_HEADER = struct.Struct(">BIIIqI")
"""What canonical bytes begin with: version, lengths of id, name and customer, timestamp, length of the metadata. The
four texts follow."""


class UsageEvent(msgspec.Struct, frozen=True, gc=False):
    """One usage event as it was sent.

    ``timestamp`` is the instant at which the usage happened, an aware UTC datetime; None means that none
    was sent, and then the log fills in the moment of recording. ``metadata`` is the raw JSON text of the
    object, character for character as sent, or "" when none was sent.
    """

    event_id: str
    event_name: str
    customer_id: str
    timestamp: datetime | None
    metadata: str


def canonical(event_id: bytes, event_name: bytes, customer_id: bytes, timestamp_micros: int, metadata: bytes) -> bytes:
    """The canonical bytes of a recorded usage event, its texts given in UTF-8: what the log's Merkle leaf covers.

    Layout version 1, for ever. All integers are big-endian; a length counts bytes of UTF-8:

    | bytes | field |
    | --- | --- |
    | 1 | layout version, 1 |
    | 4 | length of event_id, unsigned |
    | 4 | length of event_name, unsigned |
    | 4 | length of customer_id, unsigned |
    | 8 | timestamp, microseconds since 1970-01-01T00:00:00Z, signed |
    | 4 | length of metadata, unsigned |
    | … | event_id, event_name, customer_id, metadata, in this order, without separators |

    The lengths make it injective: two events that differ in any field differ in their bytes. Nothing is
    checked here.
    """
    lengths = len(event_id), len(event_name), len(customer_id)
    header = CANONICAL_HEADER.pack(CANONICAL_VERSION, *lengths, timestamp_micros, len(metadata))
    return b"".join((header, event_id, event_name, customer_id, metadata))


# ``float_hook`` is given the literal's own text, so no binary float ever exists; integers decode to exact
# ints.
_METADATA = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def read_metadata(text: str) -> dict[str, str | bool | Decimal]:
    """The values of stored metadata; numbers are the exact decimals of their text, "" is ``{}``.

    Meant for text that was accepted at the door. Anything that is not a JSON object raises
    ``msgspec.DecodeError``.
    """
    if not text:
        return {}
    values = _METADATA.decode(text)
    return {key: Decimal(value) if type(value) is int else value for key, value in values.items()}


READERS_MAX = 1_000
"""Readers of some keys that are kept: as many as there are sets of keys that meters of one event name look at."""


@lru_cache(READERS_MAX)
def metadata_reader(keys: frozenset[str]) -> Callable[[str], dict[str, str | bool | Decimal]]:
    """``read_metadata`` for those who look at some keys only: what it returns has no others.

    Several times cheaper, since nothing is made of the rest. It raises as ``read_metadata``, but not for what is wrong
    inside of a value that nobody looks at.
    """
    if not keys:
        return lambda _: {}
    if not _all_plain(keys):
        return lambda text: {key: value for key, value in read_metadata(text).items() if key in keys}
    kind, renamed = _looking_at(keys)
    decoder = msgspec.json.Decoder(kind, float_hook=Decimal)

    def read(text: str) -> dict[str, str | bool | Decimal]:
        if not text:
            return {}
        decoded = decoder.decode(text)
        values: dict[str, str | bool | Decimal] = {}
        for name, key in renamed.items():
            value = getattr(decoded, name)
            if value is not None:
                values[key] = Decimal(value) if type(value) is int else value
        return values

    return read


@lru_cache(READERS_MAX)
def metadata_columns(keys: frozenset[str]) -> Callable[[Sequence[str]], dict[str, list[str | bool | Decimal | None]]]:
    """A reader of many events' metadata at once: of each key its value in each text, ``None`` where there is none.

    It reads as ``metadata_reader``, at a third of the price, and raises as it does for any of the texts.
    """
    if not _all_plain(keys):
        return lambda texts: _columns_of([read_metadata(text) for text in texts], keys)
    kind, renamed = _looking_at(keys)
    decoder = msgspec.json.Decoder(list[kind], float_hook=Decimal)

    def read(texts: Sequence[str]) -> dict[str, list[str | bool | Decimal | None]]:
        decoded = decoder.decode(f"[{','.join([text or '{}' for text in texts])}]")
        if len(decoded) != len(texts):
            raise msgspec.DecodeError("the metadata of some event is no single JSON object")
        return {
            key: [Decimal(value) if type(value) is int else value for value in [getattr(one, name) for one in decoded]]
            for name, key in renamed.items()
        }

    return read


def _all_plain(keys: frozenset[str]) -> bool:
    """Whether the decoder's structs can name these keys."""
    return not any(character < " " or character in '"\\' for character in "".join(keys))


def _looking_at(keys: frozenset[str]) -> tuple[type[Any], dict[str, str]]:
    """A struct with a field for each key, ``None`` where the JSON has none of it, and the key of each field."""
    # The keys themselves may be no names.
    renamed = {f"field_{index}": key for index, key in enumerate(sorted(keys))}
    return msgspec.defstruct("Metadata", [(name, Any, None) for name in renamed], rename=renamed, gc=False), renamed


def _columns_of(
    read: Sequence[Mapping[str, str | bool | Decimal]], keys: frozenset[str]
) -> dict[str, list[str | bool | Decimal | None]]:
    return {key: [one.get(key) for one in read] for key in keys}
