"""A write that changes nothing: takes the way of an append, under the role of the service, down to the disk."""

from __future__ import annotations

from contextlib import suppress

import asyncpg

from app.health.lag import SQL
from projections.database import Database

LOCK_SECONDS = 1.0
WRITE_SECONDS = 1.5
"""How long the probe waits for a lock, and how long a statement of it may take in all. An append takes milliseconds.
Who asks hears the reason, because both are shorter than the patience of `app.health.readiness`."""


class _Undo(Exception):
    """Rolls the savepoint back."""


async def try_write(database: Database) -> None:
    """Write and commit. Raises what asyncpg raises."""
    async with database.transaction():
        limits = [f"{round(seconds * 1_000)}ms" for seconds in (LOCK_SECONDS, WRITE_SECONDS)]
        await database.execute(SQL["limit_probe"], *limits)
        with suppress(_Undo):
            async with database.transaction():
                await database.execute(SQL["probe_head"])
                raise _Undo
        await database.execute(SQL["probe_keys"])
        await database.execute(SQL["probe_rows"])
        await database.execute(SQL["probe_commit"])


def why_not(error: BaseException) -> str:
    """What stands in the way, without names of hosts or objects: anybody may ask."""
    match error:
        case asyncpg.LockNotAvailableError():
            return "a write waits for a lock that somebody else holds"
        case asyncpg.QueryCanceledError():
            return f"a write takes longer than {WRITE_SECONDS:g} s"
        case asyncpg.ReadOnlySQLTransactionError():
            return "the database is read-only"
        case asyncpg.DiskFullError():
            return "the database has no room left on its disk"
        case OSError() | asyncpg.InterfaceError() | asyncpg.InternalClientError() | asyncpg.PostgresConnectionError():
            return "the database cannot be reached"
        case _:
            return f"the database refuses a write ({type(error).__name__})"
