"""The log as an audit reads it: tenants, commits in order, and the canonical bytes of the events of a span.

`LogSource` says what an audit needs, wherever the log lies; `DatabaseSource` reads it out of the database.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from domain.chain import FACT_HEADER, FACT_VERSION, RETRACTION_HEADER, RETRACTION_VERSION
from domain.event import CANONICAL_HEADER, CANONICAL_VERSION
from projections.database import Database
from projections.log_reader import END, Head, StoredCommit, commits_after, head
from projections.statements import load

SQL = load("projections.sql", "log_source.sql")

COMMITS_PAGE = 2_000
"""Commits read at once: under a megabyte, but for origins, which are a line each."""

CHUNKS_MAX = 2
"""Chunks that wait to be taken, of some 64 kB each as the driver hands them over: the database works on meanwhile."""


class CommitKind(StrEnum):
    """What the events of a commit are."""

    usage = "usage"
    domain = "domain"
    retraction = "retraction"


class Unreadable(Exception):
    """What is stored is no event of the log's layout; the message says where."""


class Page(msgspec.Struct, frozen=True):
    """Some events in the order of their positions: where each stands, and its canonical bytes."""

    positions: list[int]
    contents: list[bytes]


class LogSource(Protocol):
    """Where an audit reads a log. What belongs together is read from one moment."""

    async def tenants(self) -> list[str]:
        """Every tenant that has a log, in order."""
        ...

    async def head(self, tenant_id: str) -> Head:
        """Where the tenant's log ends, as it says itself."""
        ...

    def commits(self, tenant_id: str, after: int = 0, up_to: int = END) -> AsyncIterator[list[StoredCommit]]:
        """The commits past a position that end by another, in order, some at a time."""
        ...

    def events(self, tenant_id: str, kind: CommitKind, after: int, up_to: int) -> AsyncGenerator[Page, None]:
        """The events of the commits of a kind in the span ``(after, up_to]``, whose ends are ends of commits.

        In position order, in pages of bounded size. Says what is stored: positions may be missing, or stand twice.
        Raises ``Unreadable``.
        """
        ...


class CopyingDatabase(Database, Protocol):
    """A connection that can also send rows with COPY, the fastest way out."""

    async def copy_from_query(
        self, query: str, /, *args: object, output: Callable[[bytes], Awaitable[None]], format: str
    ) -> str:
        """Send the rows of a query to ``output``, in chunks that know nothing of rows."""
        ...


class DatabaseSource:
    """The log in the database. The caller's transaction makes it one moment: ``repeatable_read``, read only."""

    def __init__(self, database: CopyingDatabase) -> None:
        self._database = database

    async def tenants(self) -> list[str]:
        """Every tenant that has a head or a commit."""
        return [row["tenant_id"] for row in await self._database.fetch(SQL["tenants"])]

    async def head(self, tenant_id: str) -> Head:
        """The row of ``log.head``, or an empty head without one."""
        return await head(self._database, tenant_id)

    async def commits(self, tenant_id: str, after: int = 0, up_to: int = END) -> AsyncIterator[list[StoredCommit]]:
        """The rows of ``log.commit``, ``COMMITS_PAGE`` at a time."""
        while page := await commits_after(self._database, tenant_id, after, up_to=up_to, limit=COMMITS_PAGE):
            yield page
            after = page[-1].commit.last_position

    async def events(self, tenant_id: str, kind: CommitKind, after: int, up_to: int) -> AsyncGenerator[Page, None]:
        """The rows of one table. A page is a chunk of the driver's; left early, the rest of the span is thrown away.

        To cancel the statement instead would abort the caller's transaction, and the driver takes the next chunk of a
        cancelled COPY for its end: what is asked next on the connection fails.
        """
        layout = LAYOUTS[kind]
        chunks, room, left = asyncio.Queue[bytes](), asyncio.Semaphore(CHUNKS_MAX), False

        async def take(chunk: bytes) -> None:
            if not left:
                await room.acquire()
                chunks.put_nowait(chunk)

        statement = SQL[layout.statement]
        copying = asyncio.create_task(
            self._database.copy_from_query(statement, tenant_id, after, up_to, output=take, format="binary")
        )
        copying.add_done_callback(lambda _: chunks.put_nowait(_END))
        try:
            while chunk := await chunks.get():
                room.release()
                page = _cut(layout, chunk)
                if page.positions:
                    yield page
        except asyncio.CancelledError:
            copying.cancel()
            raise
        finally:
            left = True
            room.release()
            await copying


_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_END = b""
_EPOCH_MICROS = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01T00:00:00Z, later than canonical bytes by these."""


Numbers = tuple[int, ...]
"""What a row begins with: its position, the numbers of its layout, the length of the rest."""


class Layout(msgspec.Struct, frozen=True):
    """How COPY sends a row of one table, a prefix of fixed width and the rest, and the canonical bytes of many rows."""

    statement: str
    prefix: struct.Struct
    canonical: Callable[[Sequence[Numbers], Sequence[bytes]], list[bytes]]


# A function for each row would take as long as all else that is done to it.
def _usage(rows: Sequence[Numbers], rests: Sequence[bytes]) -> list[bytes]:
    pack = CANONICAL_HEADER.pack
    return [
        pack(CANONICAL_VERSION, event_id, event_name, customer_id, at + _EPOCH_MICROS, metadata) + rest
        for (_, event_id, event_name, customer_id, metadata, at, _), rest in zip(rows, rests, strict=True)
    ]


def _facts(rows: Sequence[Numbers], rests: Sequence[bytes]) -> list[bytes]:
    pack = FACT_HEADER.pack
    return [
        pack(FACT_VERSION, stream, version, kind, state) + rest
        for (_, stream, version, kind, state, _), rest in zip(rows, rests, strict=True)
    ]


def _retractions(rows: Sequence[Numbers], rests: Sequence[bytes]) -> list[bytes]:
    pack = RETRACTION_HEADER.pack
    return [
        pack(RETRACTION_VERSION, event_id, reason) + rest
        for (_, event_id, reason, _), rest in zip(rows, rests, strict=True)
    ]


# Before each number stand the four bytes of its own length, and before the first two more: how many there are.
LAYOUTS = {
    CommitKind.usage: Layout("usage", struct.Struct(">6xq4xi4xi4xi4xi4xqi"), _usage),
    CommitKind.domain: Layout("facts", struct.Struct(">6xq4xi4xq4xi4xii"), _facts),
    CommitKind.retraction: Layout("retractions", struct.Struct(">6xq4xi4xii"), _retractions),
}


def _cut(layout: Layout, chunk: bytes) -> Page:
    """The events of a chunk, which ends where a row does: each message of the server is one row."""
    unpack_from, width = layout.prefix.unpack_from, layout.prefix.size
    rows, rests = list[Numbers](), list[bytes]()
    place = len(_BEGIN) if chunk.startswith(_BEGIN) else 0
    end = len(chunk)
    while place + width <= end:
        numbers = unpack_from(chunk, place)
        begin, place = place + width, place + width + numbers[-1]
        if place < begin:
            raise _unreadable(rows)
        rows.append(numbers)
        rests.append(chunk[begin:place])
    if place > end or chunk[place:] not in (_END, _TRAILER):
        raise _unreadable(rows)
    try:
        return Page([numbers[0] for numbers in rows], layout.canonical(rows, rests))
    except struct.error:
        raise _unreadable(rows) from None


def _unreadable(rows: Sequence[Numbers]) -> Unreadable:
    return Unreadable(
        f"a row from position {rows[0][0]:,} on has a value that no append writes" if rows else "a row has no value"
    )
