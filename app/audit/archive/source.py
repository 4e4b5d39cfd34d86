"""An archive as an audit reads it: the same protocol as the database's, so that whatever verifies one verifies both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from itertools import islice
from typing import Any

from app.audit.archive import tables
from app.audit.archive.manifest import DoesNotFit
from app.audit.archive.reading import TABLE_OF_KIND, Archive, stored_commit_of
from app.audit.archive.writing import parquet
from domain.chain import FACT_HEADER, FACT_VERSION, RETRACTION_HEADER, RETRACTION_VERSION
from domain.event import canonical
from projections.log_reader import EMPTY, END, Head, StoredCommit
from projections.log_source import COMMITS_PAGE, CommitKind, Page, Unreadable


class ArchiveSource:
    """The log in an archive. It says what its files say: whether these are the ones of the manifest is asked before."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    async def tenants(self) -> list[str]:
        """Every tenant of the manifest."""
        return [head.tenant_id for head in self.archive.heads]

    async def head(self, tenant_id: str) -> Head:
        """What the manifest says of the tenant's head."""
        for head in self.archive.heads:
            if head.tenant_id == tenant_id:
                return Head(head.position, bytes.fromhex(head.digest), head.recorded_at)
        return EMPTY

    async def commits(self, tenant_id: str, after: int = 0, up_to: int = END) -> AsyncIterator[list[StoredCommit]]:
        """The rows of the table of commits, ``COMMITS_PAGE`` at a time. Raises ``Unreadable``."""
        try:
            rows = self.archive.rows(tenant_id, tables.COMMITS, after=after)
            held = (stored_commit_of(tenant_id, row) for row in rows)
            wanted = (stored for stored in held if after < stored.commit.last_position <= up_to)
            while page := list(islice(wanted, COMMITS_PAGE)):
                yield page
        except DoesNotFit as error:
            raise Unreadable(str(error)) from None

    async def events(self, tenant_id: str, kind: CommitKind, after: int, up_to: int) -> AsyncGenerator[Page, None]:
        """The rows of one table; a page is what the library unpacks at once. Raises ``Unreadable``."""
        table, content = TABLE_OF_KIND[kind], CONTENTS[kind]
        try:
            for path in self.archive.paths(tenant_id, table):
                for columns in parquet().read_parquet(path, table.columns, after=after, up_to=up_to, raw=True):
                    positions, *values = _within(columns, after, up_to)
                    if positions:
                        yield Page(positions, list(map(content, *values)))
        except (DoesNotFit, TypeError) as error:
            # A type is another only where a value is missing that every row has.
            raise Unreadable(str(error)) from None


def _within(columns: Sequence[list[Any]], after: int, up_to: int) -> Sequence[list[Any]]:
    """The rows whose first column is a position of the span."""
    positions = columns[0]
    if after < min(positions) and max(positions) <= up_to:
        return columns
    wanted = [after < position <= up_to for position in positions]
    return [[value for value, one in zip(column, wanted, strict=True) if one] for column in columns]


def _fact(stream: bytes, version: int, kind: bytes, state: bytes) -> bytes:
    return FACT_HEADER.pack(FACT_VERSION, len(stream), version, len(kind), len(state)) + stream + kind + state


def _retraction(event_id: bytes, reason: bytes) -> bytes:
    return RETRACTION_HEADER.pack(RETRACTION_VERSION, len(event_id), len(reason)) + event_id + reason


CONTENTS: dict[CommitKind, Callable[..., bytes]] = {
    CommitKind.usage: canonical,
    CommitKind.domain: _fact,
    CommitKind.retraction: _retraction,
}
"""The canonical bytes of a row without its position, its texts given in UTF-8."""
