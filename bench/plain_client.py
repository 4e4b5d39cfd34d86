"""An HTTP client that does as little as can be done: the load generator runs on the cores that it measures."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

LOST = 0
"""Stands for a status where the connection was lost before an answer."""

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
_STATUS = slice(9, 12)


class Line(asyncio.Protocol):
    """One connection of a client, which asks one thing at a time and connects again where it was cut off."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """The status of the answer and its bytes, or ``LOST``."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        try:
            if self._transport is None:
                await loop.create_connection(lambda: self, *self._place)
            assert self._transport is not None
            self._transport.write(request)
            return await self._answer
        except OSError:
            return LOST, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to ask."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what came; hand over an answer that is whole."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head + 2)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= end and self._answer is not None and not self._answer.done():
            self._answer.set_result((int(self._buffer[_STATUS]), bytes(self._buffer[:end])))
            del self._buffer[:end]

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so to whoever waits."""
        self._transport = None
        self._buffer.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((LOST, b""))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


@dataclass
class Heard:
    """What a crowd of clients was answered: how often each status, and how long the good ones took, by when."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    taken: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    without_retry_after: int = 0

    def note(self, status: int, answer: bytes, began: float) -> None:
        """Take in one answer."""
        self.statuses[status] += 1
        if status in (429, 503) and b"\r\nretry-after: " not in answer.lower():
            self.without_retry_after += 1
        if status == 200:
            now = time.perf_counter()
            self.taken.append((now, now - began))

    def between(self, first: float, last: float) -> list[float]:
        """How long those took that were answered between two instants."""
        return [took for at, took in self.taken if first <= at < last]


class Trickle(asyncio.Protocol):
    """A client that connects, sends its bytes one each second, and reads nothing that it is not made to."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def drip(self) -> None:
        """Send the next byte, if there is one and somebody to take it."""
        if self._data and self.open and self._transport is not None:
            self._transport.write(self._data[:1])
            self._data = self._data[1:]

    def say(self, data: bytes) -> None:
        """Send so much at once."""
        if self._transport is not None:
            self._transport.write(data)

    def stop_reading(self) -> None:
        """Leave every answer where it is."""
        if self._transport is not None:
            self._transport.pause_reading()

    @property
    def open(self) -> bool:
        """Whether the service still holds the connection."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It was cut off."""
        self._transport = None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
