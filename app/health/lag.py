"""The lag of the projection, as one process sees it."""

from __future__ import annotations

import asyncio

from app import measures
from app.health.progress import Progress
from projections.database import Database
from projections.quantities import lagging
from projections.statements import load

SQL = load("app.sql", "health.sql")


class Lag:
    """Looks how far the projection is, and remembers what it saw before."""

    def __init__(self) -> None:
        self._progress = Progress()

    async def look(self, database: Database) -> None:
        """Look once: a read without locks."""
        rows = await lagging(database)
        self._progress.note(asyncio.get_running_loop().time(), rows)

    @property
    def events(self) -> int:
        """Events that the tenant furthest behind lacks."""
        return self._progress.lag_events

    async def stalled_seconds(self, database: Database) -> float:
        """How long nothing has moved although there is something to project; 0 while something moves or is worked on.

        A page that takes long, as when a new meter counts the whole log, holds its tenant until it is done. Who hangs
        with it is ended by the time limits of `app.limits`.
        """
        now = asyncio.get_running_loop().time()
        stalled = self._progress.stalled(now)
        if not stalled or await database.fetch(SQL["at_work"], stalled):
            return 0.0
        return self._progress.waiting_for(now, stalled)

    def show(self) -> None:
        """Set the measures. What waits grows older also while the database cannot be asked."""
        measures.LAG_EVENTS.set(self._progress.lag_events)
        measures.LAG_SECONDS.set(self._progress.lag_seconds(asyncio.get_running_loop().time()))
