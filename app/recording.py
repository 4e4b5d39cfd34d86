"""Recording usage for many requests at once: those of a tenant that wait together share one commit.

A commit costs as much for one event as for some hundred: a lock on the head, a flush to disk, six messages to the
database and back. A request that comes alone is recorded at once; what comes while its commit runs waits for the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

import asyncpg

from app.ingest.split import NDJSON_EVENTS_MAX
from app.ingesting import Posted, Recorded, Refused, record_together
from app.limits import WAITING_EVENTS_MAX
from app.lost_database import LOST
from app.measured_work import measured_batch
from app.projecting import Doorbell
from app.service import Service
from domain.errors import Refusal

COMMIT_EVENTS_MAX = NDJSON_EVENTS_MAX
"""Events of one commit, as many as the largest request has: readers of the log fetch whole commits, and look for one
within this distance."""

COMMITS_AT_ONCE = 2
"""Commits of one tenant at a time: while the database writes one, the next is packed. More would only wait for the
tenant's head, and take connections from other tenants."""


class LineFull(Refusal):
    """More usage waits to be recorded than this process can soon record; sending it again later is right."""


class _Waiting(NamedTuple):
    posted: Posted
    outcome: asyncio.Future[Recorded | Refused]

    @property
    def events(self) -> int:
        return len(self.posted.decoded.events)


class _Line:
    """What waits of one tenant, and how many commits are at work on it."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.running = 0

    def next_commit(self) -> list[_Waiting]:
        """Take from the front of the line what one commit may hold."""
        taken, room = list[_Waiting](), COMMIT_EVENTS_MAX
        while self.waiting and self.waiting[0].events <= room:
            taken.append(self.waiting.popleft())
            room -= taken[-1].events
        return taken


class Recorder:
    """One per process: whoever records usage in it stands in the line of its tenant. Rings when a log grew."""

    def __init__(self, service: Service, doorbell: Doorbell) -> None:
        self._service = service
        self._doorbell = doorbell
        self._lines: dict[str, _Line] = {}
        self._waiting_events = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @measured_batch
    async def record(self, tenant_id: str, posted: Posted) -> Recorded:
        """Record a request's events; returns once they are durable.

        Raises ``Refused`` when an event is bad and none is to be skipped, and ``LineFull`` when too much waits
        already. A caller that goes away leaves its events in the line: they are recorded, and nobody is told.
        """
        waiting = _Waiting(posted, asyncio.get_running_loop().create_future())
        if self._waiting_events and self._waiting_events + waiting.events > WAITING_EVENTS_MAX:
            raise LineFull("OVERLOADED", f"{self._waiting_events} events wait to be recorded; send these again later")
        line = self._lines.setdefault(tenant_id, _Line())
        line.waiting.append(waiting)
        self._waiting_events += waiting.events
        if line.running < COMMITS_AT_ONCE:
            line.running += 1
            task = asyncio.create_task(self._work(tenant_id, line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        outcome = await waiting.outcome
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def _work(self, tenant_id: str, line: _Line) -> None:
        while together := line.next_commit():
            await self._record(tenant_id, together)
            self._doorbell.ring(tenant_id)
            self._waiting_events -= sum(waiting.events for waiting in together)
        line.running -= 1
        if not line.running:
            del self._lines[tenant_id]

    async def _record(self, tenant_id: str, together: list[_Waiting]) -> None:
        """Give each its outcome. An error that one request may have brought does not hit those beside it."""
        try:
            outcomes = await record_together(self._service, tenant_id, [waiting.posted for waiting in together])
        except Exception as error:
            if len(together) == 1 or isinstance(error, _OF_THE_DATABASE):
                for waiting in together:
                    _settle(waiting, error)
            else:
                for waiting in together:
                    await self._record(tenant_id, [waiting])
            return
        for waiting, outcome in zip(together, outcomes, strict=True):
            _settle(waiting, outcome)


_OF_THE_DATABASE = (
    *LOST,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
)
"""Errors that whatever is sent meets: to try each request alone would only make a database in trouble busier."""


def _settle(waiting: _Waiting, outcome: Recorded | Refused | Exception) -> None:
    if waiting.outcome.done():  # Its caller went away.
        return
    if isinstance(outcome, Exception) and not isinstance(outcome, Refused):
        waiting.outcome.set_exception(outcome)
    else:
        waiting.outcome.set_result(outcome)
