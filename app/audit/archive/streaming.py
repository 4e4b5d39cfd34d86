"""What an export and an import need of a connection of the owner beyond other readers: rows by the million."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

from app.database import connect_owner
from projections.database import Database

ROWS_AHEAD = 2_000
"""Rows that are read at once: some megabytes, or a hundred where every event has all the metadata it may have."""


class OwnerConnection(Database, Protocol):
    """A connection of the database's owner, with the parts of asyncpg's that move many rows."""

    async def copy_records_to_table(
        self,
        table_name: str,
        /,
        *,
        schema_name: str,
        records: Sequence[Sequence[object]],
        columns: Sequence[str] | None = None,
    ) -> str:
        """Append rows with COPY."""
        ...

    async def close(self) -> None:
        """Leave."""
        ...


async def streamed(connection: OwnerConnection, statement: str, *values: Any) -> AsyncIterator[list[Any]]:
    """The rows of a statement, some at a time, in the transaction of the caller."""
    opened = await cast("Any", connection).cursor(statement, *values)
    while rows := await opened.fetch(ROWS_AHEAD):
        yield rows


@asynccontextmanager
async def owner_of(dsn: str) -> AsyncIterator[OwnerConnection]:
    """A connection of the database's owner, without time limits."""
    owner = cast("OwnerConnection", await connect_owner(dsn))
    try:
        yield owner
    finally:
        await owner.close()
