"""Thousands of live sockets in one process: a client that does as little per frame as can be done.

The load generator runs on the cores that it measures, so it must not be what is measured. `websockets` is what the
tests speak; this speaks just enough of RFC 6455 for frames of a server that neither fragments nor compresses.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast
from urllib.parse import urlsplit

import msgspec

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
WHOLE_TEXT = 0x80 | TEXT
SHORT, LONG = 126, 127
"""What a frame's length byte says when two or eight more bytes hold the length."""


class Quantity(msgspec.Struct):
    """A meter's quantity in a frame."""

    quantity: str


class Cycle(msgspec.Struct):
    """A cycle in a frame."""

    subscription_id: str
    meters: list[Quantity]


class Frame(msgspec.Struct):
    """What the measurement reads of a frame."""

    type: str
    position: int = 0
    customer_id: str = ""
    code: str = ""
    subscriptions: list[Cycle] = []


_DECODER = msgspec.json.Decoder(Frame)


@dataclass
class Outcome:
    """What all sockets of a run saw together."""

    frames: int = 0
    deliveries: int = 0
    foreign: int = 0
    went_back: int = 0
    errors: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)


@dataclass
class Seat:
    """One viewer, through however many connections: what it watches and what it has seen.

    ``owed`` are batches that were answered and not seen yet: position and time of the answer.
    """

    host: str
    port: int
    key: str
    customer_id: str
    prefix: str
    outcome: Outcome
    reads: bool = True
    position: int = 0
    quantity: Decimal = Decimal(0)
    owed: deque[tuple[int, float]] = field(default_factory=deque)
    connection: Connection | None = None
    reconnects: int = 0
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> None:
        """Open a socket and subscribe, from where this viewer was."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), self.host, self.port)
        self.connection = connection
        await connection.opened
        asked: dict[str, object] = {"type": "subscribe", "id": "s", "customer_id": self.customer_id}
        if self.position:
            asked["after"] = self.position
        connection.send(msgspec.json.encode(asked))
        if not self.reads:
            connection.stop_reading()

    async def cut(self) -> None:
        """Lose the connection without a word, and come back."""
        if self.connection is not None:
            self.connection.abort()
        self.reconnects += 1
        await self.connect()

    def answered(self, position: int, at: float) -> None:
        """A batch with usage of this customer was answered."""
        if not self.reads:
            return
        if self.position >= position:
            self.outcome.delays.append(0.0)
        else:
            self.owed.append((position, at))

    def take(self, payload: bytes) -> None:
        """Read a frame: never an older value, never a stranger's."""
        frame = _DECODER.decode(payload)
        outcome = self.outcome
        outcome.frames += 1
        if frame.type == "error":
            outcome.errors.append(payload.decode())
            return
        if frame.type not in ("snapshot", "update"):
            return
        outcome.deliveries += 1
        self.shown.set()
        outcome.went_back += frame.position < self.position
        self.position = frame.position
        for cycle in frame.subscriptions:
            own = frame.customer_id == self.customer_id and cycle.subscription_id.startswith(self.prefix)
            outcome.foreign += not own
            quantity = Decimal(cycle.meters[0].quantity)
            outcome.went_back += quantity < self.quantity
            self.quantity = quantity
        now = time.perf_counter()
        while self.owed and self.owed[0][0] <= frame.position:
            outcome.delays.append(now - self.owed.popleft()[1])


class Connection(asyncio.Protocol):
    """One websocket."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._buffer = bytearray()
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = transport = cast("asyncio.Transport", transport)
        secret = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            (
                f"GET /live HTTP/1.1\r\nHost: {self._seat.host}:{self._seat.port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {secret}\r\nSec-WebSocket-Version: 13\r\n"
                f"Authorization: Bearer {self._seat.key}\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        """Read the answer to the upgrade, then frames."""
        if self._upgraded and not self._buffer and self._is_one_frame(data):
            self._seat.take(data[4:])
            return
        self._buffer += data
        if not self._upgraded:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            status = self._buffer[: self._buffer.find(b"\r\n")].decode()
            if " 101 " not in status:
                self.opened.set_exception(ConnectionError(status))
                return
            del self._buffer[: end + 4]
            self._upgraded = True
            self.opened.set_result(None)
        while self._next_frame():
            pass

    @staticmethod
    def _is_one_frame(data: bytes) -> bool:
        """Whether it is exactly one text frame of middle length, as nearly all are."""
        return data[0] == WHOLE_TEXT and data[1] == SHORT and len(data) == int.from_bytes(data[2:4]) + 4

    def _next_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        length, start = buffer[1], 2
        if length == SHORT:
            length, start = int.from_bytes(buffer[2:4]), 4
        elif length == LONG:
            length, start = int.from_bytes(buffer[2:10]), 10
        if len(buffer) < start + length:
            return False
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        if opcode == TEXT:
            self._seat.take(payload)
        elif opcode == PING:
            self._write(PONG, payload)
        elif opcode == CLOSE:
            self._seat.ended.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that it ended."""
        self._seat.ended.set()
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("hung up before the upgrade"))

    def send(self, payload: bytes) -> None:
        """Send a text frame."""
        self._write(TEXT, payload)

    def _write(self, opcode: int, payload: bytes) -> None:
        # A client has to mask. With a mask of zeros the payload stays as it is.
        head = bytes((0x80 | opcode, 0x80 | len(payload))) if len(payload) < SHORT else b""
        head = head or bytes((0x80 | opcode, 0x80 | SHORT)) + len(payload).to_bytes(2)
        assert self._transport is not None
        self._transport.write(head + bytes(4) + payload)

    def stop_reading(self) -> None:
        """Be the peer that never reads."""
        assert self._transport is not None
        self._transport.pause_reading()

    def abort(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


def endpoint(url: str) -> tuple[str, int]:
    """Host and port of a base URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
