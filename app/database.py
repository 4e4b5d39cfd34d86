"""Connections, migrations of the permanent tables, and the schema of the read models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib import resources
from typing import Any, Protocol, cast

import asyncpg

from app.limits import COMMAND_TIMEOUT_SECONDS, IDLE_TRANSACTION_SECONDS, LOCK_TIMEOUT_SECONDS, POOL_SIZE
from app.service import Pool
from projections.database import Database
from projections.rebuild import create_schema, schema_digest, stored_schema_digest
from projections.statements import load

SQL = load("app.sql", "database.sql")

APP_ROLE = "taximeter_app"
"""May append to the log, never change it. The service works under this role, whoever it logs in as."""

OLDEST_MAJOR, NEWEST_MAJOR = 15, 18


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


def _settings(role: str | None) -> dict[str, str]:
    settings = {
        "application_name": "taximeter",
        "search_path": "read",
        "timezone": "UTC",
        "jit": "off",
        "synchronous_commit": "on",
        "statement_timeout": f"{COMMAND_TIMEOUT_SECONDS}s",
        "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS}s",
    }
    return settings | ({"role": role} if role else {})


@asynccontextmanager
async def open_pool(dsn: str, size: int = POOL_SIZE) -> AsyncIterator[Pool]:
    """A pool of connections under ``APP_ROLE``."""
    settings = _settings(APP_ROLE)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=size, server_settings=settings, reset=_leave) as pool:
        yield cast("Pool", pool)


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

    Raises ``DatabaseError`` when an applied migration differs from the file of its name: history is never edited.
    """
    connection = await connect_owner(dsn)
    try:
        await check_version(connection)
        async with connection.transaction():
            # Whoever migrates this database waits here for whoever began before.
            await connection.execute(SQL["lock_migrations"])
            await connection.execute(SQL["create_ledger"])
            applied = await _apply_missing(connection)
            if await stored_schema_digest(connection) is None:
                await create_schema(connection, "read")
                applied.append("read models")
        return applied
    finally:
        await connection.close()


async def _apply_missing(connection: Owner) -> list[str]:
    known = {row["name"]: row["digest"] for row in await connection.fetch(SQL["applied"])}
    applied: list[str] = []
    for name, text in migrations():
        digest = sha256(text.encode()).digest()
        if name not in known:
            await connection.execute(text)
            await connection.execute(SQL["record"], name, digest)
            applied.append(name)
        elif known[name] != digest:
            raise DatabaseError(f"migration {name} was applied in another form; this program does not fit the database")
    return applied


def migrations() -> list[tuple[str, str]]:
    """Every migration, in order: name and SQL text."""
    files = sorted(
        (file for file in resources.files("app.migrations").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return [(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")) for file in files]


async def check_schema(connection: Owner) -> None:
    """Raises ``DatabaseError`` when a migration is missing, or the read models have another shape."""
    ledger = await connection.fetchval(SQL["has_ledger"])
    known = {row["name"] for row in await connection.fetch(SQL["applied"])} if ledger else set[str]()
    missing = [name for name, _ in migrations() if name not in known]
    if missing:
        raise DatabaseError(f"migrations are missing ({', '.join(missing)}); run `taximeter migrate`")
    if await stored_schema_digest(connection) != schema_digest():
        raise DatabaseError("the read models have another shape; run `taximeter rebuild`")
