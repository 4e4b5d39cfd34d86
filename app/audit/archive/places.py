"""What an audit reads where not all of the log lies in the database: an archive alone, or beside retired months."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.audit.archive.reading import Archive
from app.audit.archive.retired_months import RetiredMonth, retired_months
from app.audit.archive.source import ArchiveSource
from app.audit.findings import Finding, Rule
from app.audit.place import Place, database_place
from domain.chain import Commit
from domain.tenant import Tenant
from projections.database import Database, Row
from projections.log_reader import END, Head, StoredCommit, aggregate
from projections.log_source import CommitKind, CopyingDatabase, LogSource, Page


class _NoTables:
    """An archive has no tables beside its chain: whatever is asked of them, there is nothing."""

    async def fetch(self, query: str, /, *args: object) -> list[Row]:
        return []


@asynccontextmanager
async def archive_place(directory: Path) -> AsyncIterator[Place]:
    """An archive alone."""
    yield Place(ArchiveSource(Archive(directory)), cast("CopyingDatabase", _NoTables()))


@dataclass(frozen=True)
class PartlyRetired(Place):
    """A database some of whose usage rows are retired, and archives that may hold them."""

    source: FilledSource

    async def with_rows(self, tenant_id: str, commits: Sequence[Commit]) -> Sequence[Commit]:
        """Those of the commits whose rows are in the database or an archive; of the others the root alone is left."""
        if not commits or self.source.archive_of(tenant_id, commits[-1].last_position) is not None:
            return commits
        after, up_to = commits[0].first_position - 1, commits[-1].last_position
        gone = {stored.commit.last_position async for stored in self.source.retired(tenant_id, after, up_to)}
        return [commit for commit in commits if commit.last_position not in gone]


class FilledSource:
    """The log in the database, its retired months out of an archive where one of those given holds them."""

    def __init__(self, held: LogSource, archives: Sequence[ArchiveSource], spans: Sequence[RetiredMonth]) -> None:
        self.spans = spans
        self._held, self._archives = held, archives

    async def tenants(self) -> list[str]:
        """As the database says."""
        return await self._held.tenants()

    async def head(self, tenant_id: str) -> Head:
        """As the database says."""
        return await self._held.head(tenant_id)

    def commits(self, tenant_id: str, after: int = 0, up_to: int = END) -> AsyncIterator[list[StoredCommit]]:
        """The commits are never retired."""
        return self._held.commits(tenant_id, after, up_to)

    async def events(self, tenant_id: str, kind: CommitKind, after: int, up_to: int) -> AsyncGenerator[Page, None]:
        """The rows of the database, and between them those of an archive, a retired commit at a time."""
        source = self.archive_of(tenant_id, up_to)
        begin = after
        if kind == CommitKind.usage and source is not None:
            async for stored in self.retired(tenant_id, after, up_to):
                first, last = stored.commit.first_position - 1, stored.commit.last_position
                if begin < first:
                    async for page in self._held.events(tenant_id, kind, begin, first):
                        yield page
                async for page in source.events(tenant_id, kind, first, last):
                    yield page
                begin = last
        if begin < up_to:
            async for page in self._held.events(tenant_id, kind, begin, up_to):
                yield page

    async def retired(self, tenant_id: str, after: int, up_to: int) -> AsyncIterator[StoredCommit]:
        """The retired commits of a span of positions."""
        spans = [span for span in self.spans if span.reaches(tenant_id, after, up_to)]
        if spans:
            async for page in self._held.commits(tenant_id, after, up_to):
                for stored in page:
                    if any(span.holds(stored) for span in spans):
                        yield stored

    def archive_of(self, tenant_id: str, position: int) -> ArchiveSource | None:
        """The archive that was given and reaches as far as a position, and as far as what was retired before it."""
        wanted = max((span.last_position for span in self.spans if span.reaches(tenant_id, 0, position)), default=0)
        for source in self._archives:
            for head in source.archive.heads:
                if head.tenant_id == tenant_id and head.position >= wanted:
                    return source
        return None

    def told(self, tenant_id: str) -> str:
        """From where the retired commits of a tenant are verified, for a person."""
        spans = [span for span in self.spans if span.tenant_id == tenant_id]
        months, events = ", ".join(span.month for span in spans), sum(span.events for span in spans)
        source = self.archive_of(tenant_id, END)
        if source is None:
            whence = "by their recorded roots alone (with --with-archive, from their rows)"
        else:
            whence = f"from {source.archive.exported.directory}"
        return f"tenant {tenant_id}: {events:,} usage events of {months} are retired; verified {whence}"


@asynccontextmanager
async def filled_place(dsn: str, archives: Sequence[Path], snapshot: str | None = None) -> AsyncIterator[Place]:
    """The database at one moment, with these archives for what is retired in it."""
    async with database_place(dsn, snapshot) as place:
        spans = await retired_months(place.database)
        if not spans:
            yield place
            return
        sources = [ArchiveSource(Archive(directory)) for directory in archives]
        yield PartlyRetired(FilledSource(place.source, sources, spans), place.database)


async def check_archives(directories: Sequence[Path]) -> None:
    """Compare every file of these archives with its manifest. Raises ``ArchiveError`` and ``DoesNotFit``."""
    for directory in directories:
        await asyncio.to_thread(Archive(directory).check_files)


def retired_notes(place: Place) -> list[str]:
    """From where the retired events of each tenant were verified."""
    if not isinstance(place, PartlyRetired):
        return []
    tenants = sorted({span.tenant_id for span in place.source.spans})
    return [place.source.told(tenant_id) for tenant_id in tenants]


async def unexplained(database: Database, tenant_id: str) -> list[Finding]:
    """Rows that are said to be retired though the tenant's log does not say so, or says so of another archive.

    Whoever can delete rows could call them retired; that the log says so is in its chain.
    """
    said: dict[str, str] = {}
    spans = [span for span in await retired_months(database) if span.tenant_id == tenant_id]
    if spans:
        tenant = await aggregate(database, tenant_id, Tenant, tenant_id)
        said = tenant.retired_months if tenant is not None else {}
    return [
        Finding(
            rule=Rule.rows,
            message=f"the usage of {span.month} is marked as retired, and the log does not say that it was",
            first_position=span.first_position,
            last_position=span.last_position,
            expected=f"an archive with the digest {said[span.month]}" if span.month in said else "no retired month",
            found=f"an archive with the digest {span.archive}",
        )
        for span in spans
        if said.get(span.month) != span.archive
    ]
