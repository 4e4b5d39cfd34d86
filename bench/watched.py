"""A pool whose connections count and time what is asked of the database, and how long heads are held."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

ASKED = ("fetch", "fetchrow", "fetchval", "execute", "executemany")
LOCK = "log.lock_head("


class Seen:
    """What was asked, by the statement's text, and the seconds from each lock of a head to its commit."""

    def __init__(self) -> None:
        self.calls = Counter[str]()
        self.seconds = defaultdict[str, float](float)
        self.held: list[float] = []


class Watched:
    """A connection that is watched."""

    def __init__(self, connection: Any, seen: Seen) -> None:
        self._connection, self._seen = connection, seen
        self.locked_at: float | None = None

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._connection, name)
        if name not in ASKED:
            return asked

        async def timed(query: str, *values: object) -> Any:
            began = time.perf_counter()
            try:
                return await asked(query, *values)
            finally:
                now, named = time.perf_counter(), " ".join(query.split())[:100]
                self._seen.calls[named] += 1
                self._seen.seconds[named] += now - began
                if LOCK in query:
                    self.locked_at = now

        return timed


class WatchedPool(Watched):
    """A pool of watched connections."""

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Watched]:
        """A watched connection. Whoever locks a head here ends its transaction before giving the connection back."""
        async with self._connection.acquire() as connection:
            watched = Watched(connection, self._seen)
            yield watched
            if watched.locked_at is not None:
                self._seen.held.append(time.perf_counter() - watched.locked_at)
