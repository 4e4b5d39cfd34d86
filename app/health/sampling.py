"""Measures that nothing but time brings about: taken once a second in each process."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

import asyncpg

from app import measures
from app.bounded_pool import BoundedPool
from app.health.lag import Lag
from app.lost_database import LOST
from app.service import Service

LOG = logging.getLogger("taximeter.health")

SAMPLE_SECONDS = 1.0
"""How often it is looked. Whoever collects does so every 10 to 60 seconds."""


class Sockets(Protocol):
    """What is asked of the open sockets of a web process (`app.http.open_sockets`)."""

    def __len__(self) -> int:
        """How many are open."""
        ...

    @property
    def frames_sent(self) -> int:
        """Frames that were sent so far, to all of them."""
        ...

    @property
    def values_dropped(self) -> int:
        """Values in whose place a newer one was sent, or waits."""
        ...


class Sampler:
    """Looks at the pool, the database and, in a web process, at the projection and the sockets."""

    def __init__(self, service: Service, lag: Lag | None = None, sockets: Sockets | None = None) -> None:
        self._service = service
        self._lag = lag
        self._sockets = sockets
        self._look: asyncio.Task[None] | None = None
        self._sent = 0
        self._dropped = 0

    async def run(self) -> None:
        """Sample until cancelled."""
        try:
            while True:
                self.sample()
                await asyncio.sleep(SAMPLE_SECONDS)
        finally:
            if self._look is not None:
                self._look.cancel()
                await asyncio.gather(self._look, return_exceptions=True)

    def sample(self) -> None:
        """Show what is known, and ask the database unless the last question is still open: who hangs with a database
        that does not answer, or waits for a connection, could not say so."""
        if isinstance(self._service.pool, BoundedPool):
            self._service.pool.note()
        if self._sockets is not None:
            self._note_sockets(self._sockets)
        if self._lag is not None:
            self._lag.show()
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._ask())

    def _note_sockets(self, sockets: Sockets) -> None:
        measures.LIVE_SOCKETS.set(len(sockets))
        sent, dropped = sockets.frames_sent, sockets.values_dropped
        measures.FRAMES_SENT.inc(sent - self._sent)
        measures.FRAMES_DROPPED.inc(dropped - self._dropped)
        self._sent, self._dropped = sent, dropped

    async def _ask(self) -> None:
        try:
            async with self._service.pool.acquire() as connection:
                began = time.perf_counter()
                await connection.execute("select 1")
                measures.ROUND_TRIP_SECONDS.observe(time.perf_counter() - began)
                if self._lag is not None:
                    await self._lag.look(connection)
        except (*LOST, asyncpg.PostgresError) as error:
            LOG.debug("the database could not be asked: %s", error)
