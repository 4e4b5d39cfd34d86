"""The pool of connections as the service uses it: nobody waits for ever, and it is known how many do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from app import measures
from app.limits import ACQUIRE_SECONDS
from projections.database import Database, Row


class Overloaded(TimeoutError):
    """No connection came free in time: there is more to do than can be done now."""


class DriverPool(Protocol):
    """What is asked of asyncpg's pool."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        """A connection, as soon as there is one."""
        ...

    async def release(self, connection: Any) -> None:
        """Give it back."""
        ...

    def get_size(self) -> int:
        """Open connections."""
        ...

    def get_idle_size(self) -> int:
        """Those that nobody uses."""
        ...


class BoundedPool:
    """``size`` connections for blocks and for single statements. Raises ``Overloaded`` where none comes free in time.

    Whoever waits has his turn: the driver's pool wakes who has waited longest, but gives the connection to whoever
    asks in that moment, and the other waits again behind all. Under load, some never came to it.
    """

    def __init__(self, pool: DriverPool, size: int, seconds: float = ACQUIRE_SECONDS) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(size)
        self._seconds = seconds
        self.waiting = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Database]:
        """A connection, for as long as the block lasts."""
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds if self._turns.locked() else None):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded(f"no connection of the database came free in {self._seconds:g} seconds") from None
        finally:
            self.waiting -= 1
        try:
            # One is free now, or has to be opened. The same time holds for giving it back.
            connection = await self._pool.acquire(timeout=self._seconds)
            try:
                yield connection
            finally:
                await self._pool.release(connection)
        finally:
            self._turns.release()

    async def fetch(self, query: str, /, *args: object) -> list[Row]:
        """All rows."""
        async with self.acquire() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, /, *args: object) -> Row | None:
        """The first row."""
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, /, *args: object) -> Any:
        """The first column of the first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, /, *args: object) -> str:
        """The command's tag."""
        async with self.acquire() as connection:
            return await connection.execute(query, *args)

    def note(self) -> None:
        """Show how it stands now."""
        measures.note_pool(self._pool.get_size(), self._pool.get_idle_size(), self.waiting)
