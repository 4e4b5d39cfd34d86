"""What every part of a running service needs: the database, the clock and the settings."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from app.clock import Clock
from domain.tenant import Rules
from projections.database import Database, Row


class Pool(Protocol):
    """Connections of one process; a single statement may be asked of the pool itself."""

    def acquire(self) -> AbstractAsyncContextManager[Database]:
        """A connection, for as long as the block lasts."""
        ...

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


@dataclass(frozen=True)
class Service:
    """Built once per process. ``pool`` connects as the role that can append to the log but not change it."""

    pool: Pool
    clock: Clock
    rules: Rules


@dataclass(frozen=True)
class Caller:
    """Who asks: the tenant and key, what the key may do, and where the request came from.

    With ``customer_id`` it is a customer token, minted by that key, and sees that customer's live values alone.
    """

    tenant_id: str
    key_id: str
    scope: str
    address: str
    customer_id: str | None = None
