"""What a lost database looks like through its driver: background work waits for it, requests are answered with 503."""

from __future__ import annotations

import asyncpg

LOST: tuple[type[Exception], ...] = (
    OSError,
    asyncpg.PostgresConnectionError,
    # A server that shuts down, died, or is still recovering.
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    # What the driver raises when its connection is cut just as it begins with a statement.
    asyncpg.InternalClientError,
)
