"""The log behind the recorder interfaces of the `eventsourcing` library, for the library's own contract tests.

The library's recorders are synchronous and called from many threads; the log is asynchronous. So the facade runs an
event loop on a thread of its own and hands every call to it. It adds nothing to the log but tracking, which is a row
of the ``progress`` read model written in the transaction of the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from threading import Event, Thread
from typing import Any, TypeVar
from uuid import UUID

from asyncpg import Pool
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)

from app.clock import system_clock
from app.database import open_pool
from app.event_log import NO_ORIGIN, append_domain
from projections.database import Database
from projections.log_reader import END, head, stored_event
from projections.log_reader import SQL as LOG

BEFORE_FIRST_VERSION = -1
"""The contract numbers some streams from 0, our aggregates from 1."""

PAGE = 100
POLL_SECONDS = 0.01

TRACK = """
insert into progress (tenant_id, projection, position) values ($1, $2, $3)
on conflict (tenant_id, projection) do update set position = excluded.position
 where progress.position < excluded.position
"""
TRACKED = "select position from progress where tenant_id = $1 and projection = $2"

Answer = TypeVar("Answer")


class Store:
    """A pool under the service's role, on a loop that runs in a thread of its own."""

    def __init__(self, dsn: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="recorder loop")
        self._thread.start()
        self._open = AsyncExitStack()
        self.pool: Pool = self.run(self._open.enter_async_context(open_pool(dsn)))

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for work that is done on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Close the pool and end the thread."""
        self.run(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Recorder:
    def __init__(self, store: Store, tenant_id: str) -> None:
        self.store = store
        self.tenant_id = tenant_id


class LogTrackingRecorder(_Recorder, TrackingRecorder):
    """Positions reached in other applications' logs."""

    def insert_tracking(self, tracking: Tracking) -> None:
        """Move forward. Raises ``IntegrityError`` for a position that is not past the last one."""
        self.store.run(self._track(self.store.pool, tracking))

    def max_tracking_id(self, application_name: str) -> int | None:
        """The last position."""
        return self.store.run(self.store.pool.fetchval(TRACKED, self.tenant_id, application_name))

    async def _track(self, database: Database, tracking: Tracking) -> None:
        moved = await database.execute(TRACK, self.tenant_id, tracking.application_name, tracking.notification_id)
        if moved != "INSERT 0 1":
            raise IntegrityError(f"{tracking} is not past the last one")


class LogApplicationRecorder(_Recorder, ApplicationRecorder):
    """One tenant's log as an application's sequence: a notification's id is the event's position."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append as one commit."""
        return self.store.run(self._insert(stored_events, **kwargs))

    async def _insert(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        async with self.store.pool.acquire() as connection, connection.transaction():
            return await self._append(connection, stored_events)

    async def _append(self, database: Database, stored_events: Sequence[StoredEvent]) -> Sequence[int] | None:
        if not stored_events:
            return None
        commit = await append_domain(database, self.tenant_id, stored_events, system_clock(), NO_ORIGIN)
        return range_of(commit.first_position, commit.last_position)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """One stream."""
        after = BEFORE_FIRST_VERSION if gt is None else gt
        rows = self.store.run(
            self.store.pool.fetch(LOG["facts_of_stream"], self.tenant_id, str(originator_id), after, END)
        )
        events = [stored_event(row) for row in rows]
        events = [event for event in events if lte is None or event.originator_version <= lte]
        return (events[::-1] if desc else events)[:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The log in order of positions."""
        after = 0 if start is None else start - inclusive_of_start
        # Topics are picked here, so with topics all has to be read.
        many = END if topics else limit
        rows = self.store.run(
            self.store.pool.fetch(LOG["facts_after"], self.tenant_id, after, END if stop is None else stop, many)
        )
        found = [(row["position"], stored_event(row)) for row in rows]
        return [
            Notification(event.originator_id, event.originator_version, event.topic, event.state, id=position)
            for position, event in found
            if not topics or event.topic in topics
        ][:limit]

    def max_notification_id(self) -> int | None:
        """The head's position."""
        return self.store.run(head(self.store.pool, self.tenant_id)).position or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """What is recorded and will be."""
        return PollingSubscription(self, gt, topics)


class LogProcessRecorder(LogTrackingRecorder, LogApplicationRecorder, ProcessRecorder):
    """Events and tracking in one transaction."""

    async def _insert(
        self, stored_events: Sequence[StoredEvent], *, tracking: Tracking | None = None, **_: Any
    ) -> Sequence[int] | None:
        async with self.store.pool.acquire() as connection, connection.transaction():
            positions = await self._append(connection, stored_events)
            if tracking is not None:
                await self._track(connection, tracking)
            return positions


class PollingSubscription(Subscription[ApplicationRecorder]):
    """Reads on from the last position; between two empty reads it waits a moment, or until it is stopped."""

    def __init__(self, recorder: ApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._position = gt or 0
        self._ready: list[Notification] = []
        self._stopped = Event()

    def stop(self) -> None:
        """End the iteration."""
        self._stopped.set()

    def __next__(self) -> Notification:
        while not self._stopped.is_set():
            if self._ready:
                return self._take()
            self._ready = list(
                self._recorder.select_notifications(self._position, PAGE, topics=self._topics, inclusive_of_start=False)
            )
            if not self._ready:
                self._stopped.wait(POLL_SECONDS)
        raise StopIteration

    def _take(self) -> Notification:
        notification = self._ready.pop(0)
        self._position = notification.id
        return notification


def range_of(first: int, last: int) -> list[int]:
    """The positions of a commit."""
    return list(range(first, last + 1))
