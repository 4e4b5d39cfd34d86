"""Connections, migrations of the permanent tables, and the schema of the read models."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib import resources
from typing import Any, Protocol, cast

import asyncpg

from app.bounded_pool import BoundedPool
from app.limits import (
    ANSWER_GRACE_SECONDS,
    COMMAND_TIMEOUT_SECONDS,
    CONNECT_SECONDS,
    IDLE_TRANSACTION_SECONDS,
    LOCK_TIMEOUT_SECONDS,
    POOL_SIZE,
)
from app.service import Pool
from projections.database import Database
from projections.fault_points import FaultPoint, reach
from projections.shape import LIVE, NUMBER, Standing, create_schema, made_read_models, standing
from projections.statements import load

SQL = load("app.sql", "database.sql")

APP_ROLE = "taximeter_app"
"""May append to the log, never change it. The service works under this role, whoever it logs in as."""

OLDEST_MAJOR, NEWEST_MAJOR = 15, 18

_OLDER_MAY_RUN = re.compile(r"^-- Older services: may run\.$", re.MULTILINE)
"""The line of a migration that programs which do not know it can live with."""


class Owner(Database, Protocol):
    """A connection of the database's owner, outside of any pool."""

    def get_server_version(self) -> Any:
        """The server's version; its ``major`` counts."""
        ...

    async def close(self) -> None:
        """Leave."""
        ...


class DatabaseError(Exception):
    """The database cannot be used as it is; the message says what to do."""


def _settings(role: str | None, schema: str = LIVE) -> dict[str, str]:
    settings = {
        "application_name": "taximeter",
        "search_path": schema,
        "timezone": "UTC",
        "jit": "off",
        # A page of usage is sorted by customer and hour, rows and all: with the default 4 MB that spills to disk.
        "work_mem": "32MB",
        "synchronous_commit": "on",
        "statement_timeout": f"{COMMAND_TIMEOUT_SECONDS}s",
        "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS}s",
    }
    return settings | ({"role": role} if role else {})


@asynccontextmanager
async def open_pool(dsn: str, size: int = POOL_SIZE, schema: str = LIVE) -> AsyncIterator[Pool]:
    """A pool of connections under ``APP_ROLE``, on the read models of a schema. A statement that is not answered ends
    here too, for the database's own limits say nothing of a line that is dead."""
    async with asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        server_settings=_settings(APP_ROLE, schema),
        reset=_leave,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS + ANSWER_GRACE_SECONDS,
    ) as pool:
        yield BoundedPool(pool, size)


async def _leave(_: object) -> None:
    """Nothing has to be undone in a session that is given back, so no statement is spent on it.

    Settings and locks here end with their transaction, and a transaction that was left open is rolled back before this.
    """


async def connect_owner(dsn: str) -> Owner:
    """One connection as whoever the address logs in as: for migrations and rebuilds only, without time limits."""
    settings = _settings(None) | {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    return cast("Owner", await asyncpg.connect(dsn, server_settings=settings))


async def check_version(connection: Owner) -> None:
    """Raises ``DatabaseError`` for a PostgreSQL that is too old. A newer one than was tried is let through."""
    major = connection.get_server_version().major
    if major < OLDEST_MAJOR:
        raise DatabaseError(f"PostgreSQL {major} is too old; {OLDEST_MAJOR} to {NEWEST_MAJOR} are supported")


async def migrate(dsn: str) -> list[str]:
    """Bring the database to today's schema; the names of what was applied. Safe to run by several at once.

    Raises ``DatabaseError`` when an applied migration differs from the file of its name (history is never edited), or
    when a newer program has migrated the database in a way that this one cannot live with.
    """
    connection = await connect_owner(dsn)
    try:
        await check_version(connection)
        async with connection.transaction():
            # Whoever migrates this database waits here for whoever began before.
            await connection.execute(SQL["lock_migrations"])
            await connection.execute(SQL["create_ledger"])
            if not await connection.fetchval(SQL["says_older"]):
                await connection.execute(SQL["add_older"])
            await reach(FaultPoint.migration_locked)
            applied = await _apply_missing(connection)
            await connection.execute(SQL["grant_ledger"])
            if await standing(connection) is Standing.NONE:
                await create_schema(connection, LIVE)
                applied.append("read models")
            await reach(FaultPoint.migration_applied)
        return applied
    finally:
        await connection.close()


async def _apply_missing(connection: Owner) -> list[str]:
    missing = await _missing(connection)
    for name, text in missing:
        await connection.execute(text)
        older_may_run = _OLDER_MAY_RUN.search(text) is not None
        await connection.execute(SQL["record"], name, sha256(text.encode()).digest(), older_may_run)
    return [name for name, _ in missing]


def migrations() -> list[tuple[str, str]]:
    """Every migration, in order: name and SQL text."""
    files = sorted(
        (file for file in resources.files("app.migrations").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return [(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")) for file in files]


async def _missing(connection: Database) -> list[tuple[str, str]]:
    """The migrations that were not applied. Raises ``DatabaseError`` when those that were are not this program's."""
    ledger = await connection.fetchval(SQL["has_ledger"])
    applied = {row["name"]: row for row in await connection.fetch(SQL["applied"])} if ledger else {}
    known = migrations()
    newer = sorted(applied.keys() - {name for name, _ in known})
    barring = [name for name in newer if not applied[name]["older_may_run"]]
    if barring:
        raise DatabaseError(
            f"the database was migrated by a newer Taximeter ({', '.join(barring)}), and this one would not understand"
            " it; install the newer one"
        )
    for name, text in known:
        if name in applied and applied[name]["digest"] != sha256(text.encode()).digest():
            raise DatabaseError(f"migration {name} was applied in another form; this program does not fit the database")
    return [(name, text) for name, text in known if name not in applied]


async def check_migrations(connection: Database) -> None:
    """Raises ``DatabaseError`` when a migration is missing or was applied in another form, or a newer one bars us."""
    missing = [name for name, _ in await _missing(connection)]
    if missing:
        raise DatabaseError(f"migrations are missing ({', '.join(missing)}); run `taximeter migrate`")


async def check_schema(connection: Database) -> None:
    """Raises ``DatabaseError`` when the database is not as this program needs it: migrations and read models."""
    await check_migrations(connection)
    stands = await standing(connection)
    if stands is Standing.NEWER:
        await refuse_newer(connection)
    if stands is not Standing.FITS:
        raise DatabaseError(
            "the read models have another shape; `taximeter serve` rebuilds them, and so does `taximeter rebuild`"
        )


async def refuse_newer(connection: Database) -> None:
    """Raises ``DatabaseError`` when a newer program has made the read models: going back is for people to decide."""
    made = await made_read_models(connection)
    if made is not None and made.number > NUMBER:
        raise DatabaseError(
            f"a newer Taximeter has made the read models (shape {made.number}; this one makes {NUMBER}); install the"
            " newer one, or go back to this one with `taximeter rebuild`"
        )
