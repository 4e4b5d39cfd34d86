"""Reading an archive: commit by commit, each with what it recorded, and whether all of it fits the chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import dropwhile
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from app.audit.archive import tables
from app.audit.archive.manifest import ArchiveError, DoesNotFit, Exported, HeadNote, check_files, read_manifest
from app.audit.archive.tables import Table
from app.audit.archive.writing import parquet
from domain import chain
from domain.chain import GENESIS, Commit
from domain.event import UsageEvent, canonical
from domain.instant import EPOCH
from projections.log_reader import StoredCommit


class ArchivedCommit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit and the rows that it sealed, as tuples in the order of positions, without these.

    ``rows`` are those of ``USAGE_EVENTS``, ``DOMAIN_EVENTS`` or ``RETRACTIONS``, by the commit's kind.
    """

    commit: Commit
    batch: UUID
    rows: Sequence[tuple[Any, ...]]


NO_BATCH = UUID(int=0)
"""Of a commit whose batch does not matter."""

TABLE_OF_KIND = {"usage": tables.USAGE_EVENTS, "domain": tables.DOMAIN_EVENTS, "retraction": tables.RETRACTIONS}
"""Where the events of each kind of commit are."""


class Archive:
    """An archive whose files were not read yet. Raises ``ArchiveError``, also for an export that is no archive."""

    def __init__(self, directory: Path) -> None:
        self.exported: Exported = read_manifest(directory)
        manifest = self.exported.manifest
        if manifest.kind != "archive":
            raise ArchiveError(f"{directory} holds a part of the log, or holds it as {manifest.encoding}: no archive")

    @property
    def heads(self) -> tuple[HeadNote, ...]:
        """How far the log of each tenant was."""
        return self.exported.manifest.heads

    def check_files(self) -> None:
        """Compare every file with the manifest. Raises ``DoesNotFit``."""
        check_files(self.exported)

    def paths(self, tenant_id: str, table: Table) -> list[Path]:
        """The files of a tenant's table, in the order of their rows."""
        notes = self.exported.manifest.files
        return [
            self.exported.directory / note.path
            for note in notes
            if (note.tenant_id, note.table) == (tenant_id, table.name)
        ]

    def rows(self, tenant_id: str, table: Table, *, after: int | None = None) -> Iterator[tuple[Any, ...]]:
        """A tenant's rows of a table, or those of groups that reach past a position; an instant as microseconds since
        1970. Raises ``DoesNotFit``."""
        read_parquet = parquet().read_parquet
        for path in self.paths(tenant_id, table):
            for columns in read_parquet(path, table.columns, after=after):
                yield from zip(*columns, strict=True)

    def position_of(self, tenant_id: str) -> int:
        """How far a tenant's log was; 0 for one that is not in it."""
        return next((head.position for head in self.heads if head.tenant_id == tenant_id), 0)

    def commits_of(self, tenant_id: str, wanted: Sequence[Commit]) -> Iterator[ArchivedCommit]:
        """Neighbouring usage commits, known already, with their rows here. Raises ``DoesNotFit``."""
        rows = self.rows(tenant_id, tables.USAGE_EVENTS, after=wanted[0].first_position - 1)
        following = dropwhile(lambda row: row[0] < wanted[0].first_position, rows)
        for commit in wanted:
            yield ArchivedCommit(commit=commit, batch=NO_BATCH, rows=_take(following, commit))

    def commits(self, tenant_id: str) -> Iterator[ArchivedCommit]:
        """A tenant's commits with what they recorded. Raises ``DoesNotFit`` when rows are missing or left over."""
        sources = {kind: self.rows(tenant_id, table) for kind, table in TABLE_OF_KIND.items()}
        for row in self.rows(tenant_id, tables.COMMITS):
            stored = stored_commit_of(tenant_id, row)
            commit, batch = stored.commit, stored.batch
            if commit.kind not in sources:
                raise DoesNotFit(f"the commit at {_place(commit)} is of the kind '{commit.kind}', which nobody knows")
            yield ArchivedCommit(commit=commit, batch=batch, rows=_take(sources[commit.kind], commit))
        for kind, source in sources.items():
            for row in source:
                raise DoesNotFit(f"tenant {tenant_id}: the {kind} event at position {row[0]} is in no commit")


def stored_commit_of(tenant_id: str, row: tuple[Any, ...]) -> StoredCommit:
    """A row of the table of commits. Raises ``DoesNotFit``."""
    last, first, kind, batch, recorded_at, origin, root, digest = row
    commit = Commit(
        tenant_id=tenant_id,
        kind=kind,
        first_position=first,
        last_position=last,
        recorded_at=instant_of(recorded_at),
        root=root,
        origin=origin,
        digest=digest,
    )
    try:
        return StoredCommit(commit, UUID(batch))
    except ValueError:
        raise DoesNotFit(f"the commit at {_place(commit)} has the batch '{batch}', which is none") from None


def _take(source: Iterator[tuple[Any, ...]], commit: Commit) -> list[tuple[Any, ...]]:
    """The rows of a commit, without their positions."""
    taken: list[tuple[Any, ...]] = []
    for position in range(commit.first_position, commit.last_position + 1):
        row = next(source, None)
        if row is None or row[0] != position:
            raise DoesNotFit(f"the {commit.kind} event at position {position} of tenant {commit.tenant_id} is missing")
        taken.append(row[1:])
    return taken


def instant_of(micros: int) -> datetime:
    """The instant of so many microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


def usage_events(archived: ArchivedCommit) -> list[UsageEvent]:
    """The events of a usage commit."""
    return [
        UsageEvent(event_id, event_name, customer_id, instant_of(micros), metadata)
        for event_id, event_name, customer_id, micros, metadata in archived.rows
    ]


def root_of(archived: ArchivedCommit) -> bytes:
    """The Merkle root over what the commit recorded, from its rows."""
    match archived.commit.kind:
        case "usage":
            return chain.root_of(
                canonical(event_id.encode(), name.encode(), customer_id.encode(), micros, metadata.encode())
                for event_id, name, customer_id, micros, metadata in archived.rows
            )
        case "domain":
            return chain.root_of(chain.canonical_fact(*row) for row in archived.rows)
        case _:
            return chain.root_of(chain.canonical_retraction(*row) for row in archived.rows)


class Chain:
    """Follows the chain of one tenant, commit by commit."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.position, self.digest, self.recorded_at = 0, GENESIS, EPOCH
        self.commits = 0

    def follow(self, commit: Commit, root: bytes) -> None:
        """Extend the chain by a commit whose rows have this root. Raises ``DoesNotFit``."""
        if commit.first_position != self.position + 1 or commit.last_position < commit.first_position:
            raise DoesNotFit(f"the commit at {_place(commit)} does not begin after position {self.position}")
        if commit.recorded_at < self.recorded_at:
            raise DoesNotFit(f"the commit at {_place(commit)} was recorded before the one in front of it")
        if root != commit.root:
            raise DoesNotFit(f"the events at {_place(commit)} are not those that were sealed: their root is another")
        if chain.digest_of(self.digest, commit) != commit.digest:
            raise DoesNotFit(f"the commit at {_place(commit)} does not extend the chain: its digest is another")
        self.position, self.digest, self.recorded_at = commit.last_position, commit.digest, commit.recorded_at
        self.commits += 1

    def end(self, head: HeadNote) -> None:
        """The chain has to end in the head that the manifest names. Raises ``DoesNotFit``."""
        found = (self.position, self.commits, self.digest.hex(), self.recorded_at)
        if found != (head.position, head.commits, head.digest, head.recorded_at):
            raise DoesNotFit(
                f"tenant {self.tenant_id}: the chain ends at position {self.position} with the digest "
                f"{self.digest.hex()}; the manifest says position {head.position} and {head.digest}"
            )


def check_chain(archive: Archive) -> None:
    """Walk the chain of every tenant from its first commit, recomputing all of it. Raises ``DoesNotFit``."""
    for head in archive.heads:
        walk = Chain(head.tenant_id)
        for archived in archive.commits(head.tenant_id):
            walk.follow(archived.commit, root_of(archived))
        walk.end(head)


def _place(commit: Commit) -> str:
    return f"positions {commit.first_position} to {commit.last_position} of tenant {commit.tenant_id}"
