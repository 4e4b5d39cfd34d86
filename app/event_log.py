"""Appending to a tenant's log: usage events, retractions, and the events of aggregates. Reading is in projections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import cast
from uuid import UUID

import asyncpg
import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent

from app.identity import new_batch
from domain import chain, instant
from domain.chain import Commit
from domain.content import same_content
from domain.event import UsageEvent, canonical
from projections.database import Database
from projections.log_reader import Head, head, stored_commit
from projections.statements import load

SQL = load("app.sql", "append.sql")

NO_ORIGIN = b""
"""Usage commits name no caller: their events are facts from outside, not decisions of somebody here."""

_ROW_COLUMNS = (
    "tenant_id",
    "batch",
    "ordinal",
    "event_id",
    "event_name",
    "customer_id",
    "timestamp",
    "metadata",
)
_KEY_COLUMNS = ("tenant_id", "event_id", "batch", "ordinal")


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not recorded. ``problems`` is JSON text, ``content`` the event's own JSON text."""

    ordinal: int
    event_id: str | None
    customer_id: str | None
    reason: str
    problems: str
    content: str


class Receipt(msgspec.Struct, frozen=True):
    """What became of a batch. ``position`` is the last of its commit, or the head's when nothing was new."""

    ingested_count: int
    duplicate_count: int
    conflicts: list[str]
    position: int


class _Batch:
    """A batch on its way: the first event of each id, its repeats in the same batch, and what is settled already.

    A repeat is judged last, by what its id then holds: the batch's own first event, or one that was stored before.
    """

    def __init__(self, events: Sequence[UsageEvent]) -> None:
        self.fresh: dict[str, UsageEvent] = {}
        self._repeats: dict[str, list[UsageEvent]] = {}
        self._settled: list[tuple[UsageEvent, UsageEvent]] = []
        for event in events:
            if event.event_id in self.fresh:
                self._repeats.setdefault(event.event_id, []).append(event)
            else:
                self.fresh[event.event_id] = event

    def settle(self, original: UsageEvent) -> None:
        """The id of ``original`` is taken by it: nothing of this batch is recorded under that id."""
        newcomers = [self.fresh.pop(original.event_id), *self._repeats.pop(original.event_id, [])]
        self._settled += [(newcomer, original) for newcomer in newcomers]

    def recorded(self, now: datetime) -> list[UsageEvent]:
        """The events to record, in array order."""
        return [_timed(event, now) for event in self.fresh.values()]

    def judged(self, now: datetime) -> tuple[int, list[UsageEvent]]:
        """The number of duplicates, and the conflicts, of everything that is not recorded."""
        repeats = [
            (newcomer, _timed(self.fresh[event_id], now))
            for event_id, newcomers in self._repeats.items()
            for newcomer in newcomers
        ]
        pairs = [*self._settled, *repeats]
        conflicts = [newcomer for newcomer, original in pairs if not same_content(newcomer, original)]
        return len(pairs) - len(conflicts), conflicts


async def append_usage(
    database: Database,
    tenant_id: str,
    events: Sequence[UsageEvent],
    now: datetime,
    rejected: Sequence[Rejected] = (),
) -> Receipt:
    """Record the events that are new, in array order, as one commit; durable when this returns.

    The fast path copies straight into the rows under their unique keys. When a key is taken the whole transaction is
    rolled back, the taken ids are told apart by content and the rest is tried again. A key that was taken once stays
    taken, so every round drops at least one event and the loop ends.
    """
    batch = _Batch(events)
    while True:
        duplicates, conflicts = batch.judged(now)
        try:
            async with database.transaction():
                commit = await _append(database, tenant_id, batch.recorded(now), now) if batch.fresh else None
                await reject(database, tenant_id, [*rejected, *map(_conflict, conflicts)], now)
            break
        except asyncpg.UniqueViolationError:
            await _settle_taken(database, tenant_id, batch)
    position = commit.last_position if commit else (await head(database, tenant_id)).position
    return Receipt(len(batch.fresh), duplicates, [event.event_id for event in conflicts], position)


def _timed(event: UsageEvent, now: datetime) -> UsageEvent:
    """The event as it is recorded: without a time of its own it happened ``now``.

    Only what is recorded gets that time. A resend without a time has the original's, whenever it comes.
    """
    return event if event.timestamp is not None else msgspec.structs.replace(event, timestamp=now)


async def _append(database: Database, tenant_id: str, events: list[UsageEvent], now: datetime) -> Commit:
    batch = new_batch()
    rows = [
        (tenant_id, batch, ordinal, e.event_id, e.event_name, e.customer_id, e.timestamp, e.metadata)
        for ordinal, e in enumerate(events)
    ]
    # In the order of the ids, so that two batches that share some cannot wait for each other in a circle.
    keys = sorted([(tenant_id, e.event_id, batch, ordinal) for ordinal, e in enumerate(events)], key=itemgetter(1))
    await database.copy_records_to_table("event_key", schema_name="log", columns=_KEY_COLUMNS, records=keys)
    await database.copy_records_to_table("usage_event", schema_name="log", columns=_ROW_COLUMNS, records=rows)
    micros = instant.micros
    root = chain.root_of(
        [
            canonical(e.event_id, e.event_name, e.customer_id, micros(cast("datetime", e.timestamp)), e.metadata)
            for e in events
        ]
    )
    sealed = await database.fetchrow(SQL["append_usage"], tenant_id, batch, len(events), root, now, NO_ORIGIN)
    assert sealed is not None
    return stored_commit(tenant_id, sealed).commit


async def taken_ids(database: Database, tenant_id: str, event_ids: Sequence[str]) -> frozenset[str]:
    """Those of the ids that the log holds already."""
    rows = await database.fetch(SQL["taken_ids"], tenant_id, list(event_ids))
    return frozenset(row["event_id"] for row in rows)


async def _settle_taken(database: Database, tenant_id: str, batch: _Batch) -> None:
    stored = await database.fetch(SQL["stored_events"], tenant_id, list(batch.fresh))
    if not stored:
        raise RuntimeError("an event id is taken, but its event is not stored here")
    for row in stored:
        batch.settle(
            UsageEvent(row["event_id"], row["event_name"], row["customer_id"], row["timestamp"], row["metadata"])
        )


def _conflict(event: UsageEvent) -> Rejected:
    """A conflict as it is kept: its ordinal is given when it is written."""
    content = {
        "event_id": event.event_id,
        "event_name": event.event_name,
        "customer_id": event.customer_id,
        "timestamp": instant.text(event.timestamp) if event.timestamp else None,
        "metadata": msgspec.Raw(event.metadata.encode() or b"{}"),
    }
    problem = {
        "code": "EVENT_ID_CONFLICT",
        "field": "event_id",
        "message": f"event_id '{event.event_id}' was recorded before with other content; the first one stays",
    }
    return Rejected(
        0,
        event.event_id,
        event.customer_id,
        "conflict",
        msgspec.json.encode([problem]).decode(),
        msgspec.json.encode(content).decode(),
    )


async def reject(database: Database, tenant_id: str, rejected: Sequence[Rejected], now: datetime) -> None:
    """Keep events that were not recorded, readable beside the log."""
    if not rejected:
        return
    columns = [[getattr(r, name) for r in rejected] for name in Rejected.__struct_fields__[1:]]
    ordinals = list(range(len(rejected)))
    await database.execute(SQL["reject"], tenant_id, new_batch(), now, ordinals, *columns)


async def lock_head(database: Database, tenant_id: str) -> Head:
    """Take the tenant's head until the transaction ends: nothing else is appended meanwhile."""
    row = await database.fetchrow(SQL["lock_head"], tenant_id)
    assert row is not None
    return Head(row["position"], row["digest"], row["recorded_at"])


async def append_domain(
    database: Database, tenant_id: str, events: Sequence[StoredEvent], now: datetime, origin: bytes
) -> Commit:
    """Append the events of aggregates as one commit, in the transaction of the caller.

    Raises the library's ``IntegrityError`` when a stream has moved on: its version is taken.
    """
    originators = [str(event.originator_id) for event in events]
    versions = [event.originator_version for event in events]
    kinds = [event.topic for event in events]
    states = [event.state for event in events]
    root = chain.root_of(map(chain.canonical_fact, originators, versions, kinds, states))
    batch: UUID = new_batch()
    try:
        sealed = await database.fetchrow(
            SQL["append_domain"], tenant_id, batch, originators, versions, kinds, states, root, now, origin
        )
    except asyncpg.UniqueViolationError as error:
        raise IntegrityError(error) from error
    assert sealed is not None
    return stored_commit(tenant_id, sealed).commit


async def append_retraction(
    database: Database, tenant_id: str, event_ids: Sequence[str], reason: str, now: datetime, origin: bytes
) -> Commit:
    """Retract events as one commit, in the transaction of the caller. Their own rows stay as they are.

    The caller holds the head and knows that each id is in the log and is not retracted: the database refuses others.
    """
    root = chain.root_of(chain.canonical_retraction(event_id, reason) for event_id in event_ids)
    sealed = await database.fetchrow(
        SQL["append_retraction"], tenant_id, new_batch(), list(event_ids), reason, root, now, origin
    )
    assert sealed is not None
    return stored_commit(tenant_id, sealed).commit


async def ensure_partitions(database: Database, now: datetime) -> None:
    """Make the partitions of usage rows for this month and the next."""
    this = now.date().replace(day=1)
    following = this.replace(year=this.year + 1, month=1) if this.month == 12 else this.replace(month=this.month + 1)
    for day in (this, following):
        await database.execute(SQL["ensure_partition"], day)
