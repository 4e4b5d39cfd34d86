"""Exporting: the whole log as an archive, or a span of it for people and their tools."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import msgspec

from app import __version__
from app.audit.archive import tables
from app.audit.archive.derived import credit_rows, invoice_rows, wallet_rows
from app.audit.archive.manifest import (
    ArchiveError,
    DoesNotFit,
    Encoding,
    Exported,
    FileNote,
    HeadNote,
    Manifest,
    write_manifest,
)
from app.audit.archive.reading import Archive, root_of, usage_events
from app.audit.archive.retired_months import retired_months
from app.audit.archive.streaming import OwnerConnection, streamed
from app.audit.archive.tables import Table
from app.audit.archive.writing import TableWriter
from app.engine.durable import sync_directory
from domain.chain import Commit
from projections.aggregates import Aggregates
from projections.fault_points import FaultPoint, reach
from projections.log_reader import StoredCommit, commits_after
from projections.statements import load

SQL = load("app.sql", "archive.sql")

COMMITS_AHEAD = 2_000
"""Commits that are read at once; with one event each they are still one page."""

SPAN_EVENTS = 100_000
"""Events of the commits that one statement reads: enough that the statement costs nothing beside its rows."""

Report = Callable[[str, int, int], None]
"""Called with tenant, position reached and position to reach."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to export: one tenant or all, a span of time or the whole log, with the keys or without.

    ``archives`` have the rows of months that are retired.
    """

    tenant_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    encoding: Encoding = "parquet"
    secrets: bool = False
    archives: tuple[Archive, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the result is an archive."""
        return self.since is None and self.until is None and self.encoding == "parquet"


async def export(
    connection: OwnerConnection, directory: Path, wanted: Wanted, now: datetime, report: Report
) -> Exported:
    """Write an export to ``directory``, which must not exist or be empty; one snapshot of the database.

    ``connection`` is the owner's. Raises ``ArchiveError``; then there is nothing in the directory's place.
    """
    side = _begin(directory)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            heads, files = await _write_tenants(connection, side, wanted, report)
        await reach(FaultPoint.export_written)
        manifest = Manifest(
            kind="archive" if wanted.whole else "extract",
            encoding=wanted.encoding,
            taximeter=__version__,
            exported_at=now,
            since=wanted.since,
            until=wanted.until,
            holds_secrets=wanted.secrets,
            heads=tuple(heads),
            files=tuple(files),
        )
        return await asyncio.to_thread(_finish, side, directory, manifest)
    except BaseException:
        shutil.rmtree(side, ignore_errors=True)
        raise


def _begin(directory: Path) -> Path:
    """Where the files are written. Only with its manifest does an export get its name: what dies before is none."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ArchiveError(f"{directory} is there already; an export is never written over something")
    side = directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(side, ignore_errors=True)
    side.mkdir(parents=True)
    return side


def _finish(side: Path, directory: Path, manifest: Manifest) -> Exported:
    digest = write_manifest(side, manifest)
    for tenant_id in {note.tenant_id for note in manifest.files}:
        sync_directory(side / tenant_id)
    if directory.exists():
        directory.rmdir()
    side.rename(directory)
    sync_directory(directory.parent)
    return Exported(directory, manifest, digest)


async def _write_tenants(
    connection: OwnerConnection, side: Path, wanted: Wanted, report: Report
) -> tuple[list[HeadNote], list[FileNote]]:
    rows = await connection.fetch(SQL["heads"])
    heads = [
        HeadNote(
            tenant_id=row["tenant_id"],
            position=row["position"],
            commits=row["commits"],
            recorded_at=row["recorded_at"],
            digest=row["digest"].hex(),
            counted_position=row["counted_position"],
        )
        for row in rows
    ]
    if wanted.tenant_id is not None:
        heads = [head for head in heads if head.tenant_id == wanted.tenant_id]
    if not heads:
        of_whom = "the database" if wanted.tenant_id is None else f"tenant '{wanted.tenant_id}'"
        raise ArchiveError(f"there is nothing to export: {of_whom} has no log")
    files: list[FileNote] = []
    for head in heads:
        files += await _Exporter(connection, side, head, wanted, report).run()
    return heads, files


class _Exporter:
    """Writes the files of one tenant."""

    def __init__(self, connection: OwnerConnection, side: Path, head: HeadNote, wanted: Wanted, report: Report) -> None:
        self._connection, self._side, self._head, self._wanted, self._report = connection, side, head, wanted, report
        self._notes: list[FileNote] = []

    async def run(self) -> list[FileNote]:
        """Everything that was wanted of the tenant; the files in the order in which they were written."""
        await self._log()
        if self._wanted.whole:
            await self._plain(tables.DOMAIN_EVENTS)
        await self._plain(tables.RETRACTIONS)
        if self._wanted.whole:
            await self._plain(tables.REJECTED_EVENTS)
        if self._wanted.secrets:
            for table in tables.SECRETS:
                await self._plain(table)
        head = self._head
        aggregates = Aggregates(
            self._connection, head.tenant_id, head.recorded_at, head.position, head.counted_position
        )
        for table, source in (
            (tables.INVOICE_LINES, invoice_rows),
            (tables.CREDIT_LEDGER, credit_rows),
            (tables.WALLET_LEDGER, wallet_rows),
        ):
            writer = self._writer(table)
            async for rows in source(self._connection, aggregates, self._within):
                writer.add_rows(rows)
            self._notes += writer.finish()
        return self._notes

    def _writer(self, table: Table) -> TableWriter:
        return TableWriter(self._side, self._head.tenant_id, table, self._wanted.encoding)

    def _within(self, at: datetime) -> bool:
        since, until = self._wanted.since, self._wanted.until
        return (since is None or since <= at) and (until is None or at < until)

    async def _plain(self, table: Table) -> None:
        """A table that one statement reads."""
        writer = self._writer(table)
        async for rows in streamed(self._connection, SQL[table.name], self._head.tenant_id):
            writer.add_rows(rows)
        self._notes += writer.finish()

    async def _log(self) -> None:
        """Commits and the usage rows of each, in the order of positions."""
        commits, usage = self._writer(tables.COMMITS), self._writer(tables.USAGE_EVENTS)
        months = [one for one in await retired_months(self._connection) if one.tenant_id == self._head.tenant_id]
        async for span in _spans(self._connection, self._head.tenant_id):
            commits.add_rows([_commit_row(stored) for stored in span])
            # What is retired is read out of an archive, the rest out of the database: neighbours with one statement.
            for retired, run in groupby(span, lambda stored: any(month.holds(stored) for month in months)):
                held = [stored.commit for stored in run]
                await (self._archived_usage if retired else self._usage)(usage, held)
            await reach(FaultPoint.export_span)
            self._report(self._head.tenant_id, span[-1].commit.last_position, self._head.position)
        self._notes += commits.finish() + usage.finish()

    async def _usage(self, writer: TableWriter, commits: Sequence[Commit]) -> None:
        low, high = commits[0].first_position - 1, commits[-1].last_position
        since, until = self._wanted.since, self._wanted.until
        before, expected = writer.rows, sum(_events(one) for one in commits if one.kind == "usage")
        values = (self._head.tenant_id, low, high, since, until)
        async for rows in streamed(self._connection, SQL["usage_of_positions"], *values):
            writer.add_rows(rows)
        if since is None and until is None and writer.rows - before != expected:
            raise ArchiveError(
                f"tenant '{self._head.tenant_id}' lacks {expected - writer.rows + before} usage rows between "
                f"positions {low + 1} and {high}: `taximeter audit verify` says which"
            )

    async def _archived_usage(self, writer: TableWriter, commits: Sequence[Commit]) -> None:
        """Retired rows, out of the first archive that reaches so far; each commit's root is computed from them."""
        last = commits[-1].last_position
        for archive in self._wanted.archives:
            if archive.position_of(self._head.tenant_id) >= last:
                for archived in archive.commits_of(self._head.tenant_id, commits):
                    if root_of(archived) != archived.commit.root:
                        raise DoesNotFit(f"the archive's events up to position {last} are not those that were sealed")
                    first = archived.commit.first_position
                    events = enumerate(usage_events(archived), start=first)
                    writer.add_rows(
                        [
                            (position, *msgspec.structs.astuple(event))
                            for position, event in events
                            if self._within(cast("datetime", event.timestamp))
                        ]
                    )
                return
        raise ArchiveError(
            f"usage of tenant '{self._head.tenant_id}' up to position {last} is retired: name an archive that holds it"
            " with --with-archive"
        )


async def _spans(connection: OwnerConnection, tenant_id: str) -> AsyncIterator[list[StoredCommit]]:
    """The tenant's commits, as many at once as have about ``SPAN_EVENTS`` events."""
    span, events, position = list[StoredCommit](), 0, 0
    while page := await commits_after(connection, tenant_id, position, limit=COMMITS_AHEAD):
        for stored in page:
            span.append(stored)
            events += _events(stored.commit)
            if events >= SPAN_EVENTS:
                yield span
                span, events = [], 0
        position = page[-1].commit.last_position
    if span:
        yield span


def _events(commit: Commit) -> int:
    return commit.last_position - commit.first_position + 1


def _commit_row(stored: StoredCommit) -> tuple[Any, ...]:
    commit = stored.commit
    return (
        commit.last_position,
        commit.first_position,
        commit.kind,
        str(stored.batch),
        commit.recorded_at,
        commit.origin,
        commit.root,
        commit.digest,
    )
