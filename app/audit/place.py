"""The place that an audit reads: the log, and the tables beside its chain, in one snapshot of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from app.database import connect_owner
from domain.chain import Commit
from projections.log_source import CopyingDatabase, DatabaseSource, LogSource
from projections.statements import load

SQL = load("app.sql", "audit.sql")


@dataclass(frozen=True)
class Place:
    """A log's source, and the database whose tables hold it."""

    source: LogSource
    database: CopyingDatabase

    async def with_rows(self, tenant_id: str, commits: Sequence[Commit]) -> Sequence[Commit]:
        """Those of the commits whose rows can be read: all, unless some were retired."""
        return commits


@asynccontextmanager
async def database_place(dsn: str, snapshot: str | None = None) -> AsyncIterator[Place]:
    """The database at one moment: of now, or of the snapshot that somebody else exports.

    Nothing is locked and nothing waits, however long it takes; rows that are replaced meanwhile (none of the log's) can
    be cleared away only after it.
    """
    owner = await connect_owner(dsn)
    try:
        # One process more for each of ours would be what the service needs.
        await owner.execute("set max_parallel_workers_per_gather = 0")
        async with owner.transaction(isolation="repeatable_read", readonly=True):
            if snapshot is not None:
                await owner.execute(SQL["take_snapshot"].format(snapshot=snapshot))
            database = cast("CopyingDatabase", owner)
            yield Place(DatabaseSource(database), database)
    finally:
        await owner.close()


async def export_snapshot(place: Place) -> str:
    """The name by which others can read the same moment, as long as this place is open."""
    return str(await place.database.fetchval(SQL["export_snapshot"]))
