"""Reading a tenant's log: its head, its commits, its retractions, the streams of its aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from eventsourcing.persistence import StoredEvent

from domain.aggregate import Fact, Root
from domain.chain import GENESIS, Commit
from domain.instant import EPOCH
from projections.database import Database, Row
from projections.mapper import to_fact
from projections.statements import load

SQL = load("projections.sql", "log.sql")
END = 2**63 - 1
"""Past every position that a bigint can hold."""

AnyRoot = TypeVar("AnyRoot", bound=Root)


class Head(msgspec.Struct, frozen=True):
    """The last position of a tenant's log, the digest there and when it was recorded."""

    position: int
    digest: bytes
    recorded_at: datetime


EMPTY = Head(0, GENESIS, EPOCH)
"""The head of a log that holds nothing yet."""


class StoredCommit(msgspec.Struct, frozen=True):
    """A commit and the batch that its usage rows are found by."""

    commit: Commit
    batch: Any


class Retraction(msgspec.Struct, frozen=True):
    """An event taken back at ``position``; ``reason`` is empty when none was given."""

    position: int
    event_id: str
    reason: str


async def head(database: Database, tenant_id: str) -> Head:
    """The tenant's head; ``EMPTY`` before its first commit."""
    row = await database.fetchrow(SQL["head"], tenant_id)
    return EMPTY if row is None else Head(row["position"], row["digest"], row["recorded_at"])


async def commits_after(
    database: Database, tenant_id: str, position: int, *, up_to: int = END, limit: int
) -> list[StoredCommit]:
    """The commits past ``position`` that end by ``up_to``, in order."""
    rows = await database.fetch(SQL["commits_after"], tenant_id, position, up_to, limit)
    return [stored_commit(tenant_id, row) for row in rows]


async def commits_before(database: Database, tenant_id: str, position: int, limit: int) -> list[StoredCommit]:
    """The commits that end before ``position``, newest first."""
    rows = await database.fetch(SQL["commits_before"], tenant_id, position, limit)
    return [stored_commit(tenant_id, row) for row in rows]


async def last_recorded_by(database: Database, tenant_id: str, at: datetime, end: int) -> Commit | None:
    """The last commit up to position ``end`` that was recorded by an instant; ``None`` when the log begins later.

    Recording times never decrease, so it is found by halving: some forty look-ups however long the log is.
    """
    found: Commit | None = None
    low, high = 1, end
    while low <= high:
        (stored,) = await commits_after(database, tenant_id, (low + high) // 2 - 1, limit=1)
        if stored.commit.recorded_at <= at:
            found, low = stored.commit, stored.commit.last_position + 1
        else:
            high = stored.commit.first_position - 1
    return found


def stored_commit(tenant_id: str, row: Row) -> StoredCommit:
    """A row of ``log.commit``."""
    commit = Commit(
        tenant_id=tenant_id,
        kind=row["kind"],
        first_position=row["first_position"],
        last_position=row["last_position"],
        recorded_at=row["recorded_at"],
        root=row["root"],
        origin=row["origin"],
        digest=row["digest"],
    )
    return StoredCommit(commit, row["batch"])


async def retractions_after(
    database: Database, tenant_id: str, position: int, *, up_to: int, limit: int
) -> list[Retraction]:
    """The retractions past ``position``, in order."""
    rows = await database.fetch(SQL["retractions_after"], tenant_id, position, up_to, limit)
    return [Retraction(row["position"], row["event_id"], row["reason"]) for row in rows]


async def facts_of(
    database: Database, tenant_id: str, stream: str, *, after_version: int = 0, up_to: int = END
) -> list[Fact]:
    """The events of one stream as known at position ``up_to``, in order."""
    rows = await database.fetch(SQL["facts_of_stream"], tenant_id, stream, after_version, up_to)
    return [to_fact(stored_event(row)) for row in rows]


async def fact_of_version(database: Database, tenant_id: str, stream: str, version: int) -> tuple[int, Fact] | None:
    """One event of a stream with its position; ``None`` when the stream is not that long."""
    row = await database.fetchrow(SQL["fact_of_version"], tenant_id, stream, version)
    return None if row is None else (cast("int", row["position"]), to_fact(stored_event(row)))


async def facts_of_streams(
    database: Database, tenant_id: str, streams: Iterable[str], *, up_to: int = END
) -> dict[str, list[Fact]]:
    """The events of each of these streams as known at position ``up_to``, in order; none of one that is not there."""
    found: dict[str, list[Fact]] = {stream: [] for stream in streams}
    for row in await database.fetch(SQL["facts_of_streams"], tenant_id, list(found), up_to):
        found[row["originator_id"]].append(to_fact(stored_event(row)))
    return found


async def placed_facts_of(
    database: Database, tenant_id: str, stream: str, *, up_to: int = END
) -> list[tuple[int, Fact]]:
    """As ``facts_of``, each event with its position."""
    rows = await database.fetch(SQL["facts_of_stream"], tenant_id, stream, 0, up_to)
    return [(cast("int", row["position"]), to_fact(stored_event(row))) for row in rows]


async def facts_after(
    database: Database, tenant_id: str, position: int, *, up_to: int, limit: int
) -> list[tuple[int, Fact]]:
    """The domain events past ``position`` with their positions, in order."""
    rows = await database.fetch(SQL["facts_after"], tenant_id, position, up_to, limit)
    return [(cast("int", row["position"]), to_fact(stored_event(row))) for row in rows]


async def streams_changed(
    database: Database, tenant_id: str, since: int, *, after: int, up_to: int, limit: int
) -> list[tuple[str, int]]:
    """Streams with events past ``since``, each with the position of the first of these, in that order.

    A page of them: those where it lies past ``after``.
    """
    rows = await database.fetch(SQL["streams_changed"], tenant_id, since, after, up_to, limit)
    return [(row["originator_id"], row["position"]) for row in rows]


async def last_version(database: Database, tenant_id: str, stream: str) -> int:
    """The number of events in a stream."""
    return cast("int", await database.fetchval(SQL["last_version"], tenant_id, stream))


async def aggregate(
    database: Database, tenant_id: str, kind: type[AnyRoot], object_id: str, *, up_to: int = END
) -> AnyRoot | None:
    """An aggregate as known at position ``up_to``, replayed from its stream; ``None`` when it is not there."""
    return fold(kind, await facts_of(database, tenant_id, kind.stream(object_id), up_to=up_to))


def fold(kind: type[AnyRoot], facts: Sequence[Fact]) -> AnyRoot | None:
    """Apply the events of a stream one after another, from nothing."""
    found: Root | None = None
    for fact in facts:
        found = fact.mutate(found)
    if found is not None and found.TOPIC != kind.TOPIC:
        raise TypeError(f"the stream of {found.id} is not one of {kind.TOPIC}")
    return cast("AnyRoot | None", found)


def stored_event(row: Row) -> StoredEvent:
    """A row of ``log.domain_event`` in the library's form."""
    return StoredEvent(
        originator_id=row["originator_id"],
        originator_version=row["originator_version"],
        topic=row["kind"],
        state=row["state"],
    )
