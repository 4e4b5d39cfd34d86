"""Reading the log backwards for what was decided: commits with who asked for them, and what each decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from domain.aggregate import Fact
from projections.database import Database, Row
from projections.log_reader import Retraction, stored_event
from projections.mapper import to_fact
from projections.statements import load

SQL = load("projections.sql", "trail.sql")


class Decided(msgspec.Struct, frozen=True):
    """A commit of domain events or retractions. ``origin`` is who asked, as the chain covers it."""

    kind: str
    first_position: int
    last_position: int
    recorded_at: datetime
    origin: bytes
    digest: bytes


async def decided_before(
    database: Database, tenant_id: str, position: int, limit: int, *, stream: str | None = None
) -> list[Decided]:
    """At most ``limit`` commits that begin before ``position``, newest first; of one stream, when it is named.

    Of a stream, ``limit`` counts its events, several of which may be of one commit.
    """
    if stream is None:
        rows = await database.fetch(SQL["decided_before"], tenant_id, position, limit)
    else:
        rows = await database.fetch(SQL["decided_of_stream"], tenant_id, stream, position, limit)
    return [_decided(row) for row in rows]


def _decided(row: Row) -> Decided:
    return Decided(
        row["kind"], row["first_position"], row["last_position"], row["recorded_at"], row["origin"], row["digest"]
    )


async def facts_of_commits(
    database: Database,
    tenant_id: str,
    commits: Sequence[Decided],
    limit: int,
    *,
    stream: str | None = None,
    kind: str | None = None,
) -> list[tuple[int, Fact]]:
    """The first ``limit`` domain events of each of these commits with their positions, in order."""
    spans = [one.first_position for one in commits], [one.last_position for one in commits]
    rows = await database.fetch(SQL["facts_of_commits"], tenant_id, *spans, stream, kind, limit)
    return [(row["position"], to_fact(stored_event(row))) for row in rows]


async def retractions_of_commits(
    database: Database, tenant_id: str, commits: Sequence[Decided], limit: int, *, event_id: str | None = None
) -> list[Retraction]:
    """The first ``limit`` retractions of each of these commits, in order."""
    spans = [one.first_position for one in commits], [one.last_position for one in commits]
    rows = await database.fetch(SQL["retractions_of_commits"], tenant_id, *spans, event_id, limit)
    return [Retraction(row["position"], row["event_id"], row["reason"]) for row in rows]
