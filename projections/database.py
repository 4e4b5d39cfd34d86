"""What the read models need of a database: the part of asyncpg's connection that they use, with types."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Row(Protocol):
    """One row of an answer."""

    def __getitem__(self, key: str, /) -> Any:
        """The value of a column."""
        ...


class Database(Protocol):
    """A connection, alone or out of a pool; its search path holds the read models."""

    async def fetch(self, query: str, /, *args: object) -> list[Row]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, /, *args: object) -> Row | None:
        """The first row."""
        ...

    async def fetchval(self, query: str, /, *args: object) -> Any:
        """The first column of the first row."""
        ...

    async def execute(self, query: str, /, *args: object) -> str:
        """The command's tag."""
        ...

    async def executemany(self, query: str, args: Sequence[Sequence[object]], /) -> None:
        """One statement for each of these rows of arguments, without waiting for one before the next is sent."""
        ...

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[object]:
        """A transaction, or a savepoint inside of one."""
        ...

    async def copy_to_table(
        self, table_name: str, /, *, schema_name: str, columns: Sequence[str], source: AsyncIterable[bytes], format: str
    ) -> str:
        """Append rows with COPY, the fastest way in."""
        ...
