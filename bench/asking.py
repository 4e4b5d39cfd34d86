"""HTTP as bytes: a client that does as little per request as can be done.

The load generator runs on the cores that it measures, so it must not be what is measured. Requests are made before any
clock runs, a connection sends one after another, and of an answer only the status and the length are looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import cast

Answered = Callable[[bytes, float], None]
"""Called with an answer's body and the seconds that it took."""


def request(path: str, key: str, body: bytes) -> bytes:
    """A POST of a JSON body, ready to be written."""
    begin = f"POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    return f"{begin}content-length: {len(body)}\r\n\r\n".encode() + body


class Asking(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered
        self._received = b""
        self._began = 0.0
        self._waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the service hung up"))

    def data_received(self, data: bytes) -> None:
        """Answers have a content-length, and come one at a time."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            return
        assert self._waiting is not None
        took, whole, self._received = time.perf_counter() - self._began, self._received, b""
        if head.startswith(b"HTTP/1.1 200"):
            self._answered(body, took)
            self._waiting.set_result(None)
        else:
            self._waiting.set_exception(RuntimeError(whole.decode()))

    async def ask(self, written: bytes) -> None:
        """Send a request; returns when it is answered. Raises when that is not with 200."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        self._transport.write(written)
        await self._waiting

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


async def ask_all(port: int, requests: Iterable[bytes], connections: int, answered: Answered) -> float:
    """Send every request over so many connections, each as soon as it is free; how many seconds that took."""
    waiting = iter(requests)

    async def until_none_is_left(asking: Asking) -> None:
        for written in waiting:
            await asking.ask(written)

    async with connected(port, connections, answered) as opened:
        began = time.perf_counter()
        await asyncio.gather(*map(until_none_is_left, opened))
        return time.perf_counter() - began


async def ask_paced(port: int, requests: Iterator[bytes], connections: int, every: float, answered: Answered) -> None:
    """Send a request each ``every`` seconds, over connections in turn, whether the last is answered or not.

    A connection that is still busy is waited for, and so is the plan behind it: the pace is then not met.
    """
    async with connected(port, connections, answered) as opened:
        asked: list[Awaitable[None] | None] = [None] * connections
        began = time.perf_counter()
        for number, written in enumerate(requests):
            await asyncio.sleep(max(0.0, began + number * every - time.perf_counter()))
            place = number % connections
            if (before := asked[place]) is not None:
                await before
            asked[place] = asyncio.ensure_future(opened[place].ask(written))
        await asyncio.gather(*(one for one in asked if one is not None))


@asynccontextmanager
async def connected(port: int, connections: int, answered: Answered) -> AsyncIterator[list[Asking]]:
    """Open connections, for as long as the block lasts."""
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Asking(answered), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    try:
        yield opened
    finally:
        for asking in opened:
            asking.close()


def percentile(values: Iterable[float], share: float) -> float:
    """The value that so many are at or below, by nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
