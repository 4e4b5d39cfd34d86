"""What every part of a running service needs: the database, the clock and the settings."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from app.clock import Clock
from app.command_lines import CommandLines
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
    """Built once per process. ``pool`` connects as the role that can append to the log but not change it.

    In ``lines`` commands wait for their turn.
    """

    pool: Pool
    clock: Clock
    rules: Rules
    lines: CommandLines = field(default_factory=CommandLines)


class Via(StrEnum):
    """How somebody came to ask. The log keeps it with every command, so the words are for ever."""

    key = "key"
    """With an API key, over HTTP."""
    session = "session"
    """Signed in to the dashboard with a key."""
    token = "token"
    """With a customer token, which only reads."""
    command_line = "command_line"
    """At a terminal of the machine, or from a script there."""
    service = "service"
    """Nobody asked: the service did what was due."""


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
    via: Via = Via.key
