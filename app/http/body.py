"""A request's body off the wire: bounded in bytes, in time and in what it unpacks to."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import zstandard

BODY_MAX_BYTES = 16 * 1024 * 1024
"""Bytes on the wire of one batch of events: 10,000 events of 230 bytes are 2.3 MB, which leaves room for
large ones."""

DECODED_MAX_BYTES = 32 * 1024 * 1024
"""Bytes of one batch after unpacking: 10,000 events of 3 kB fit. A bomb unpacks a thousand times and is
refused before much more than this has been spent on it."""

OBJECT_MAX_BYTES = 1024 * 1024
"""Bytes of one object, packed or not. The largest is a meter whose filter has 3 levels of 10 clauses: 1,000
conditions of a kilobyte each, longer than any that a person has written."""

BODY_DEADLINE_SECONDS = 20.0
"""How long a body may take in all: the least a client can do is 7 Mbit/s for the largest batch."""

BODY_IDLE_SECONDS = 10.0
"""How long a body may pause: a stalled connection is given up sooner than a slow one."""

ZSTD_WINDOW_MAX_BYTES = 8 * 1024 * 1024
"""The window that RFC 9659 lets HTTP clients use; a frame may ask for gigabytes, reserved before the first
byte."""

PARTS_MAX = 1_000
"""Gzip members or zstd frames of one body. Appending packed pieces is legal, but starting a decompressor
costs microseconds while an empty piece costs 9 bytes: two million of them would fit into the largest
body."""

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Hold: TypeAlias = Callable[[int], None]


class BodyError(Exception):
    """A body that is not accepted: ``status`` is the HTTP status of the answer (400, 408, 413, 415, or 503)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class ClientDisconnected(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What one body may cost: bytes as sent, bytes after unpacking, seconds in all, seconds without a
    byte."""

    wire_max_bytes: int
    decoded_max_bytes: int
    deadline_seconds: float = BODY_DEADLINE_SECONDS
    idle_seconds: float = BODY_IDLE_SECONDS


INGEST_LIMITS = BodyLimits(BODY_MAX_BYTES, DECODED_MAX_BYTES)
"""For batches of usage events."""

OBJECT_LIMITS = BodyLimits(OBJECT_MAX_BYTES, OBJECT_MAX_BYTES)
"""For every other route."""


def unlimited(_: int) -> None:
    """Count nothing."""


async def read_body(scope: Mapping[str, Any], receive: Receive, *, limits: BodyLimits, hold: Hold = unlimited) -> bytes:
    """The whole body of an ASGI HTTP request, unpacked as its Content-Encoding says (identity, gzip or zstd). ``hold``
    is told of all bytes as they come and as they are unpacked, and may refuse them with a ``BodyError``.

    Raises ``BodyError`` when it is too large (413), too slow (408), packed in another way (415) or not what
    its encoding says (400), and ``ClientDisconnected``. What the headers already condemn is refused before
    reading.
    """
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    encoding = _encoding(_header(headers, b"content-encoding"))
    _check_content_length(_header(headers, b"content-length"), limits)
    wire = await _receive_all(receive, limits, hold)
    return wire if encoding is None else encoding.unpack(wire, limits.decoded_max_bytes, hold)


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    # Repeated lines of one header mean the same as one line with commas (RFC 9110 section 5.3).
    return ",".join(value.decode("latin-1").strip() for key, value in headers if key.lower() == name)


def _check_content_length(value: str, limits: BodyLimits) -> None:
    if not value:
        return
    if not (value.isascii() and value.isdigit()):
        raise BodyError(400, "INVALID_CONTENT_LENGTH", "Content-Length must be a whole number of bytes")
    # Compared as text first: turning a number of many thousand digits into an int is itself an attack.
    digits = value.lstrip("0")
    if len(digits) > len(str(limits.wire_max_bytes)) or int(digits or "0") > limits.wire_max_bytes:
        raise _too_large(limits.wire_max_bytes, "")


async def _receive_all(receive: Receive, limits: BodyLimits, hold: Hold) -> bytes:
    # One buffer, not a list of chunks: sent byte by byte, every chunk would cost some 40 bytes.
    wire = bytearray()
    clock = asyncio.get_running_loop().time
    deadline = clock() + limits.deadline_seconds
    while True:
        idle_deadline = clock() + limits.idle_seconds
        try:
            async with asyncio.timeout_at(min(deadline, idle_deadline)):
                message = await receive()
        except TimeoutError:
            raise _too_slow(limits, idle=idle_deadline < deadline) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        arrived = message.get("body", b"")
        hold(len(arrived))
        wire += arrived
        if len(wire) > limits.wire_max_bytes:
            raise _too_large(limits.wire_max_bytes, "")
        if not message.get("more_body", False):
            return bytes(wire)
        # A timeout only strikes while waiting; a trickle that is always ready would never wait.
        if clock() > deadline:
            raise _too_slow(limits, idle=False)


def _encoding(value: str) -> _Encoding | None:
    names = [name for part in value.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if not names:
        return None
    encoding = _ENCODINGS.get(names[0]) if len(names) == 1 else None
    if encoding is None:
        rule = "Content-Encoding must be identity, gzip or zstd, and only one of them"
        raise BodyError(415, "UNSUPPORTED_ENCODING", rule)
    return encoding


class _Part(Protocol):
    """One gzip member or zstd frame being unpacked: both libraries speak this."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How to unpack one encoding, ``step_bytes`` at a time so that no step yields much more than the
    limit."""

    name: str
    start: Callable[[], _Part]
    step_bytes: int

    def unpack(self, wire: bytes, max_bytes: int, hold: Hold) -> bytes:
        """All parts of ``wire``, one after the other, and nothing behind the last one."""
        unpacked = bytearray()
        position = 0
        for _ in range(PARTS_MAX):
            part = self.start()
            while not part.eof:
                step = wire[position : position + self.step_bytes]
                if not step:
                    raise self._corrupt("it ends too early")
                position += len(step)
                try:
                    more = part.decompress(step)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise self._corrupt(str(error)) from None
                hold(len(more))
                unpacked += more
                if len(unpacked) > max_bytes:
                    raise _too_large(max_bytes, " unpacked")
            position -= len(part.unused_data)
            if position == len(wire):
                return bytes(unpacked)
        raise self._corrupt(f"it consists of more than {PARTS_MAX} parts")

    def _corrupt(self, why: str) -> BodyError:
        return BodyError(400, "INVALID_ENCODING", f"the body is not valid {self.name}: {why}")


_ZSTD = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX_BYTES)

# Deflate grows at most 1,032 times. A zstd block has at least 4 bytes and grows to at most 128 KiB. One
# step of either therefore yields at most about 8 MiB.
_GZIP_ENCODING = _Encoding("gzip", lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), 8 * 1024)
_ZSTD_ENCODING = _Encoding("zstd", lambda: _ZSTD.decompressobj(), 256)

_ENCODINGS: Mapping[str, _Encoding] = {
    "gzip": _GZIP_ENCODING,
    "x-gzip": _GZIP_ENCODING,  # RFC 9110 section 8.4.1.3: the same
    "zstd": _ZSTD_ENCODING,
}


def _too_large(max_bytes: int, what: str) -> BodyError:
    return BodyError(413, "BODY_TOO_LARGE", f"the body has more than {max_bytes} bytes{what}")


def _too_slow(limits: BodyLimits, *, idle: bool) -> BodyError:
    if idle:
        return BodyError(408, "BODY_TIMEOUT", f"no byte of the body came for {limits.idle_seconds:g} seconds")
    return BodyError(408, "BODY_TIMEOUT", f"the body took longer than {limits.deadline_seconds:g} seconds")
