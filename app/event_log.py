"""Appending to a tenant's log: usage events, retractions, and the events of aggregates. Reading is in projections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent

from app.identity import new_batch
from app.usage_copy import KEY_COLUMNS, ROW_COLUMNS, usage_copy
from domain import chain, instant
from domain.chain import Commit
from domain.content import same_content
from domain.event import UsageEvent
from projections.database import Database
from projections.fault_points import FaultPoint, halfway, reach
from projections.log_reader import Head, head, stored_commit
from projections.statements import load

SQL = load("app.sql", "append.sql")

NO_ORIGIN = b""
"""Usage commits name no caller: their events are facts from outside, not decisions of somebody here."""


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not recorded. ``problems`` is JSON text, ``content`` the event's own JSON text."""

    ordinal: int
    event_id: str | None
    customer_id: str | None
    reason: str
    problems: str
    content: str


class Sent(msgspec.Struct, frozen=True):
    """What one request brings: events to record in their order, and those that are only kept beside the log."""

    events: Sequence[UsageEvent]
    rejected: Sequence[Rejected] = ()


class Receipt(msgspec.Struct, frozen=True):
    """What became of a request. ``position`` is the last of its commit, or the head's when nothing was new."""

    ingested_count: int
    duplicate_count: int
    conflicts: list[str]
    position: int


class _Judged(msgspec.Struct, frozen=True):
    """The events of one request by what becomes of them."""

    fresh: list[UsageEvent]
    duplicates: int
    conflicts: list[UsageEvent]


async def append_usage(database: Database, tenant_id: str, requests: Sequence[Sent], now: datetime) -> list[Receipt]:
    """Record the events that are new, in the order of requests and arrays, as one commit; durable when this returns.

    The fast path copies straight into the rows under their unique keys. When a key is taken the whole transaction is
    rolled back, the taken ids are told apart by content and the rest is tried again. A key that was taken once stays
    taken, so every round drops at least one event and the loop ends.
    """
    taken: dict[str, UsageEvent | None] = {}
    while True:
        judged = _judge(requests, taken, now)
        fresh = [event for verdict in judged for event in verdict.fresh]
        rejected = [event for sent in requests for event in sent.rejected]
        rejected += [
            _conflict(event, held=taken.get(event.event_id, event)) for one in judged for event in one.conflicts
        ]
        await reach(FaultPoint.append_begin)
        try:
            async with database.transaction():
                commit = await _append(database, tenant_id, fresh, now) if fresh else None
                await reject(database, tenant_id, rejected, now)
            await reach(FaultPoint.append_committed)
            break
        except asyncpg.UniqueViolationError:
            taken |= await _originals(database, tenant_id, fresh)
            await reach(FaultPoint.append_taken)
    position = commit.last_position if commit else (await head(database, tenant_id)).position
    return [
        Receipt(len(verdict.fresh), verdict.duplicates, [event.event_id for event in verdict.conflicts], position)
        for verdict in judged
    ]


def _judge(requests: Sequence[Sent], taken: dict[str, UsageEvent | None], now: datetime) -> list[_Judged]:
    """What becomes of each event when the ids in ``taken`` are taken by those, or by events whose rows are archived.

    An id is given to the first event that uses it. Whoever uses it again is a duplicate or a conflict by what the id
    holds: an event that was stored before, or one of these.
    """
    held, judged = dict(taken), list[_Judged]()
    for sent in requests:
        fresh, duplicates, conflicts = list[UsageEvent](), 0, list[UsageEvent]()
        for event in sent.events:
            original = held.get(event.event_id)
            if event.event_id not in held:
                # Only what is recorded gets a time. A resend without one has the original's, whenever it comes.
                timed = event if event.timestamp is not None else msgspec.structs.replace(event, timestamp=now)
                held[event.event_id] = timed
                fresh.append(timed)
            elif original is not None and same_content(event, original):
                duplicates += 1
            else:
                # What cannot be compared is no duplicate: it is kept, where somebody can look at it.
                conflicts.append(event)
        judged.append(_Judged(fresh, duplicates, conflicts))
    return judged


async def _append(database: Database, tenant_id: str, events: list[UsageEvent], now: datetime) -> Commit:
    batch = new_batch()
    packed = usage_copy(tenant_id, batch, events)
    await _copy(database, "event_key", KEY_COLUMNS, packed.keys)
    await reach(FaultPoint.append_keys_copied)
    await _copy(database, "usage_event", ROW_COLUMNS, packed.rows)
    await reach(FaultPoint.append_copied)
    sealed = await database.fetchrow(SQL["append_usage"], tenant_id, batch, len(events), packed.root, now, NO_ORIGIN)
    assert sealed is not None
    await reach(FaultPoint.append_sealed)
    return stored_commit(tenant_id, sealed).commit


async def _copy(database: Database, table: str, columns: Sequence[str], packed: bytes) -> None:
    sent = halfway(FaultPoint.append_copying, packed)
    await database.copy_to_table(table, schema_name="log", columns=columns, source=sent, format="binary")


async def taken_ids(database: Database, tenant_id: str, event_ids: Sequence[str]) -> frozenset[str]:
    """Those of the ids that the log holds already."""
    rows = await database.fetch(SQL["taken_ids"], tenant_id, list(event_ids))
    return frozenset(row["event_id"] for row in rows)


async def _originals(database: Database, tenant_id: str, events: Sequence[UsageEvent]) -> dict[str, UsageEvent | None]:
    """The stored events whose ids these events use again; ``None`` for one whose row lies in an archive."""
    event_ids = [event.event_id for event in events]
    # The keys first: an event that is recorded meanwhile has its row by the second look, and must not seem archived.
    originals: dict[str, UsageEvent | None] = dict.fromkeys(await taken_ids(database, tenant_id, event_ids))
    rows = await database.fetch(SQL["stored_events"], tenant_id, event_ids)
    return originals | {
        row["event_id"]: UsageEvent(
            row["event_id"], row["event_name"], row["customer_id"], row["timestamp"], row["metadata"]
        )
        for row in rows
    }


def _conflict(event: UsageEvent, held: UsageEvent | None) -> Rejected:
    """A conflict as it is kept: its ordinal is given when it is written. Without ``held`` the first one is archived."""
    how = "with other content" if held else "and its content lies in an archive, so that the two cannot be compared"
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
        "message": f"event_id '{event.event_id}' was recorded before {how}; the first one stays",
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
    await reach(FaultPoint.append_rejected)


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
    batch = new_batch()
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
        await reach(FaultPoint.partition_make)
        await database.execute(SQL["ensure_partition"], day)
