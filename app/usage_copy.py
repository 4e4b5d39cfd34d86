"""Usage events in COPY's binary format: the rows of one batch and its keys, and the Merkle root over them.

The driver packs a row value by value and looks at each again; packed here, a row costs a quarter of that, and the bytes
that the chain covers are made on the way. The format: https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple, cast
from uuid import UUID

from domain import chain, instant
from domain.event import UsageEvent, canonical

ROW_COLUMNS = ("tenant_id", "batch", "ordinal", "event_id", "event_name", "customer_id", "timestamp", "metadata")
KEY_COLUMNS = ("tenant_id", "event_id", "batch", "ordinal")

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_LENGTH = struct.Struct(">i")
_ORDINAL = struct.Struct(">ii")
_ORDINAL_AND_LENGTH = struct.Struct(">iii")
_TIME_AND_LENGTH = struct.Struct(">iqi")
_EPOCH_MICROS = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01T00:00:00Z, later than ``instant.micros`` by these."""


class UsageCopy(NamedTuple):
    """What to copy of a batch into ``log.usage_event`` and ``log.event_key``, and the root to seal it with."""

    rows: bytes
    keys: bytes
    root: bytes


def usage_copy(tenant_id: str, batch: UUID, events: Sequence[UsageEvent]) -> UsageCopy:
    """Pack the events, each with a timestamp, in array order; the keys in the order of the ids.

    Two batches that share some ids then take them in the same order and cannot wait for each other in a circle.
    """
    tenant, uuid = _framed(tenant_id.encode()), _framed(batch.bytes)
    row, key, key_end = _columns(ROW_COLUMNS) + tenant + uuid, _columns(KEY_COLUMNS) + tenant, uuid
    rows, keys, contents = [_BEGIN], list[tuple[bytes, bytes]](), list[bytes]()
    for ordinal, event in enumerate(events):
        event_id, name = event.event_id.encode(), event.event_name.encode()
        customer, metadata = event.customer_id.encode(), event.metadata.encode()
        # The decision to record an event gives it the moment of recording when none was sent.
        micros = instant.micros(cast("datetime", event.timestamp))
        contents.append(canonical(event_id, name, customer, micros, metadata))
        rows += (
            row,
            _ORDINAL_AND_LENGTH.pack(4, ordinal, len(event_id)),
            event_id,
            _LENGTH.pack(len(name)),
            name,
            _LENGTH.pack(len(customer)),
            customer,
            _TIME_AND_LENGTH.pack(8, micros - _EPOCH_MICROS, len(metadata)),
            metadata,
        )
        keys.append((event_id, _ORDINAL.pack(4, ordinal)))
    # The order of UTF-8 bytes is the order of the column's collation, "C".
    keys.sort(key=itemgetter(0))
    packed = [_BEGIN]
    for event_id, ordinal in keys:
        packed += (key, _LENGTH.pack(len(event_id)), event_id, key_end, ordinal)
    rows.append(_END)
    packed.append(_END)
    return UsageCopy(b"".join(rows), b"".join(packed), chain.root_of(contents))


def _columns(names: Sequence[str]) -> bytes:
    return struct.pack(">h", len(names))


def _framed(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value
