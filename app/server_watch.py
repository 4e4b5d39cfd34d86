"""Watching the embedded server: it is gone when nobody takes calls any more."""

from __future__ import annotations

import asyncio

import asyncpg

from app.commands import tell
from app.projecting import pause, wait_any

WATCH_SECONDS = 1.0
"""The pause before a database that hung up is called again."""

REFUSALS_MAX = 3
"""Calls in a row that nobody takes before the embedded server counts as gone: one may fail on a busy machine."""

CALL_SECONDS = 30
"""A server that lives takes a call in milliseconds; one that only is slow is called again."""


async def watch(dsn: str, stop: asyncio.Event) -> bool:
    """Hold a connection until ``stop``; True when the server is gone.

    A server that hangs up and then says that it recovers, or that it has no connection to spare, lives.
    """
    refusals = 0
    while not stop.is_set():
        try:
            await _until_hung_up(dsn, stop)
            refusals = 0
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            refusals = 0
        except OSError as error:
            refusals += 1
            if refusals >= REFUSALS_MAX:
                tell(f"the embedded PostgreSQL server is gone ({error}); its log is server.log in the data directory")
                return True
        await pause(stop, WATCH_SECONDS)
    return False


async def _until_hung_up(dsn: str, stop: asyncio.Event) -> None:
    """Return when the connection ends, or at the stop. Raises what `asyncpg.connect` raises."""
    hung_up = asyncio.Event()
    connection = await asyncpg.connect(
        dsn, timeout=CALL_SECONDS, server_settings={"application_name": "taximeter watch"}
    )
    try:
        connection.add_termination_listener(lambda _: hung_up.set())
        if not connection.is_closed():
            await wait_any(hung_up, stop)
    finally:
        connection.terminate()
