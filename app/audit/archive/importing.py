"""Importing an archive into an installation that holds nothing: the same heads, or nothing at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date
from itertools import islice
from typing import Any

from msgspec import structs

from app.audit.archive import tables
from app.audit.archive.exporting import Report
from app.audit.archive.manifest import ArchiveError, DoesNotFit, HeadNote
from app.audit.archive.reading import Archive, ArchivedCommit, Chain, instant_of, root_of, usage_events
from app.audit.archive.streaming import OwnerConnection
from app.audit.archive.tables import Table
from app.event_log import SQL as APPEND
from app.usage_copy import KEY_COLUMNS, ROW_COLUMNS, usage_copy
from projections.fault_points import FaultPoint, reach
from projections.shape import LIVE
from projections.statements import load

SQL = load("app.sql", "archive.sql")

ROWS_AHEAD = 5_000
"""Rows that are copied at once."""


async def import_archive(connection: OwnerConnection, archive: Archive, report: Report) -> None:
    """Fill the empty database with an archive, in one transaction, checking the chain on the way.

    ``connection`` is the owner's, on today's schema. The read models are left marked as unfit: whoever starts next
    makes them. Raises ``ArchiveError`` when the database holds something, ``DoesNotFit`` when the archive is damaged.
    """
    archive.check_files()
    async with connection.transaction():
        await connection.execute(SQL["lock_log"])
        if await connection.fetchval(SQL["holds_something"]):
            raise ArchiveError(
                "the database holds a log or keys already; an archive is only imported into an empty one"
            )
        for head in archive.heads:
            await _Importer(connection, archive, head, report).run()
        await connection.execute(SQL["mark_unfit"].format(schema=LIVE))
        await reach(FaultPoint.import_written)


class _Importer:
    """Copies what one tenant has."""

    def __init__(self, connection: OwnerConnection, archive: Archive, head: HeadNote, report: Report) -> None:
        self._connection, self._archive, self._head, self._report = connection, archive, head, report
        self._tenant_id = head.tenant_id
        self._months = set[date]()
        self._commits = list[ArchivedCommit]()

    async def run(self) -> None:
        """The log, then what is beside it."""
        walk = Chain(self._tenant_id)
        for archived in self._archive.commits(self._tenant_id):
            root = await self._usage(archived) if archived.commit.kind == "usage" else root_of(archived)
            walk.follow(archived.commit, root)
            # Usage is copied already; what waits here is small.
            self._commits.append(structs.replace(archived, rows=()) if archived.commit.kind == "usage" else archived)
            if len(self._commits) >= ROWS_AHEAD:
                await self._flush()
        await self._flush()
        walk.end(self._head)
        await self._connection.execute(SQL["set_head"], self._tenant_id, walk.position, walk.digest, walk.recorded_at)
        for table, target in (
            (tables.REJECTED_EVENTS, "rejected_event"),
            (tables.SEALING_KEYS, "customer_key"),
            (tables.API_KEYS, "api_key"),
        ):
            await self._beside(table, target)
        await self._connection.execute(SQL["seal_for_ever"], self._tenant_id)

    async def _usage(self, archived: ArchivedCommit) -> bytes:
        """Copy the rows and keys of a usage commit; the root over them."""
        month = _month_of(archived)
        if month not in self._months:
            await self._connection.execute(APPEND["ensure_partition"], month)
            self._months.add(month)
        return await copy_usage(self._connection, self._tenant_id, archived)

    async def _flush(self) -> None:
        """Copy the commits that were followed, and what those of them recorded that hold no usage."""
        facts, retractions, commits = list[Any](), list[Any](), list[Any]()
        for archived in self._commits:
            commit, batch = archived.commit, archived.batch
            commits.append(
                (
                    self._tenant_id,
                    commit.first_position,
                    commit.last_position,
                    commit.kind,
                    batch,
                    commit.recorded_at,
                    commit.origin,
                    commit.root,
                    commit.digest,
                )
            )
            for ordinal, row in enumerate(archived.rows):
                position = commit.first_position + ordinal
                if commit.kind == "domain":
                    stream, version, kind, state = row
                    facts.append((self._tenant_id, stream, version, position, kind, state))
                else:
                    event_id, reason = row
                    retractions.append((self._tenant_id, event_id, batch, ordinal, position, reason))
        for table, rows in (("domain_event", facts), ("retraction", retractions), ("commit", commits)):
            await self._connection.copy_records_to_table(table, schema_name="log", records=rows)
        if self._commits:
            self._report(self._tenant_id, self._commits[-1].commit.last_position, self._head.position)
        self._commits.clear()
        await reach(FaultPoint.import_span)

    async def _beside(self, table: Table, target: str) -> None:
        """A table of what is permanent beside the log; an archive without it has no file of it."""
        rows = self._archive.rows(self._tenant_id, table)
        columns = ["tenant_id", *table.names()]
        while page := list(islice(rows, ROWS_AHEAD)):
            records = [(self._tenant_id, *values) for values in _with_instants(page, table)]
            await self._connection.copy_records_to_table(target, schema_name="kept", records=records, columns=columns)


async def copy_usage(
    connection: OwnerConnection, tenant_id: str, archived: ArchivedCommit, *, keys: bool = True
) -> bytes:
    """Copy the rows of a usage commit, and their keys unless these are here; the Merkle root over the rows."""
    packed = usage_copy(tenant_id, archived.batch, usage_events(archived))
    if keys:
        await _copy_packed(connection, "event_key", KEY_COLUMNS, packed.keys)
    await _copy_packed(connection, "usage_event", ROW_COLUMNS, packed.rows)
    return packed.root


async def _copy_packed(connection: OwnerConnection, table: str, columns: Sequence[str], packed: bytes) -> None:
    await connection.copy_to_table(
        table, schema_name="log", columns=list(columns), source=_once(packed), format="binary"
    )


def _with_instants(rows: Sequence[tuple[Any, ...]], table: Table) -> Iterator[tuple[Any, ...]]:
    instants = [column.kind == "instant" for column in table.columns]
    for row in rows:
        yield tuple(
            instant_of(value) if is_instant and value is not None else value
            for value, is_instant in zip(row, instants, strict=True)
        )


def _month_of(archived: ArchivedCommit) -> date:
    """The month of a batch: its first 48 bits are milliseconds since 1970, as in UUIDv7."""
    try:
        return instant_of((archived.batch.int >> 80) * 1_000).date().replace(day=1)
    except OverflowError:
        raise DoesNotFit(f"batch {archived.batch} was made in no year that there is") from None


async def _once(packed: bytes) -> AsyncIterator[bytes]:
    yield packed
