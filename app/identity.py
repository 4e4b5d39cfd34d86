"""Names that the service makes up: object ids, batch ids, key secrets."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

from asyncpg.pgproto import pgproto  # type: ignore[import-untyped]

_ID_BYTES = 15
"""120 random bits: two ids of one kind never meet."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """An object id such as ``mtr_3XkQ…``: the wire contract's prefix and letters that are not mistaken for others."""
    number = int.from_bytes(secrets.token_bytes(_ID_BYTES))
    letters: list[str] = []
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return f"{prefix}_{''.join(letters)}"


def new_batch() -> UUID:
    """A batch id in the layout of UUIDv7: milliseconds since 1970, then random bits.

    Batches of one time are neighbours in the index of the usage rows, and the month of a batch is its partition.
    The driver's own kind of UUID is sent with every row, and need not be taken apart for each.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (milliseconds << 80) | (0x7 << 76) | ((random >> 62) << 64) | (0b10 << 62) | (random & (2**62 - 1))
    return pgproto.UUID(value.to_bytes(16))


def new_secret(prefix: str = "tax") -> str:
    """The secret of an API key or, with another prefix, of something else: 256 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"
