"""Whether a web process can do its work: one look at a time, shared by all who ask within a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import asyncpg

from app.database import DatabaseError, check_schema
from app.draining import Draining
from app.health.lag import Lag
from app.health.write_path import try_write, why_not
from app.limits import READY_LAG_EVENTS
from app.lost_database import LOST
from app.service import Service
from projections.database import Database

LOG = logging.getLogger("taximeter.health")

CACHED_SECONDS = 1.0
"""How long an answer serves others who ask: however many do, the database is written to once a second."""

PATIENCE_SECONDS = 2.0
"""How long who asks waits for a look before it is called failed: shorter than what commonly ends a probe (3 to 5 s)."""

LOOK_SECONDS = 30.0
"""How long a look may hang, as on a machine that is gone, before another one is tried."""


@dataclass(frozen=True)
class Verdict:
    """What stands in the way, by part of the service; nothing, and it is ready. ``lag`` is the projection's, in
    events, where it could be seen."""

    faults: dict[str, str] = field(default_factory=dict)
    lag: int | None = None


class Readiness:
    """The looks of one process."""

    def __init__(self, service: Service, lag: Lag, draining: Draining) -> None:
        self._service = service
        self._lag = lag
        self._draining = draining
        self._look: asyncio.Task[Verdict] | None = None
        self._began_at = 0.0
        self._ended_at = 0.0
        self._waits_for = "pool"

    async def verdict(self) -> Verdict:
        """The state of a moment ago."""
        if self._draining.begun:
            return Verdict({"draining": "the process is about to stop"})
        clock: Callable[[], float] = asyncio.get_running_loop().time
        look = self._look
        if look is None or (look.done() and clock() - self._ended_at >= CACHED_SECONDS):
            self._began_at = clock()
            look = self._look = asyncio.create_task(self._once(clock))
        left = self._began_at + PATIENCE_SECONDS - clock()
        done, _ = await asyncio.wait({look}, timeout=max(0.0, left))
        return look.result() if done else Verdict({self._waits_for: self._patience_ended()})

    async def end(self) -> None:
        """Look no more: a connection that a look still holds would keep the pool from closing."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)

    def _patience_ended(self) -> str:
        waited = f"after {PATIENCE_SECONDS:g} s"
        if self._waits_for == "pool":
            return f"no connection to the database is free {waited}"
        return f"the database has not answered {waited}"

    async def _once(self, clock: Callable[[], float]) -> Verdict:
        self._waits_for = "pool"
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._service.pool.acquire() as connection:
                self._waits_for = "database"
                return await self._look_at(connection)
        except (*LOST, asyncpg.PostgresError) as error:
            return Verdict({"database": why_not(error)})
        except Exception as error:
            LOG.exception("the service could not be looked at")
            return Verdict({"database": why_not(error)})
        finally:
            self._ended_at = clock()

    async def _look_at(self, connection: Database) -> Verdict:
        try:
            await check_schema(connection)
        except DatabaseError as error:
            return Verdict({"schema": str(error)})
        await try_write(connection)
        await self._lag.look(connection)
        faults: dict[str, str] = {}
        if seconds := await self._lag.stalled_seconds(connection):
            faults["projection"] = f"nothing was projected for {seconds:.0f} s although there is something to project"
        elif self._lag.events > READY_LAG_EVENTS:
            faults["projection"] = f"the projection is {self._lag.events} events behind"
        return Verdict(faults, self._lag.events)
