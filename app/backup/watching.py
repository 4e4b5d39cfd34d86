"""An archive that takes no files fills the disk and ends what a restore can reach, so the service says it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg

from app.backup.taking import archive_trouble
from app.database import connect_owner
from app.lost_database import LOST
from app.projecting import pause

LOOK_SECONDS = 30.0
"""How often the archive is asked after: files come once a minute at least while there is something to archive."""


async def watch_archive(dsn: Callable[[], str], stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Until ``stop``, say once when the embedded server's archive begins to fail, and when it works again."""
    told = False
    while not stop.is_set():
        try:
            owner = await connect_owner(dsn())
            try:
                trouble = await archive_trouble(owner)
            finally:
                await owner.close()
        except (*LOST, asyncpg.PostgresError):
            # Whoever watches the database itself says so.
            await pause(stop, LOOK_SECONDS)
            continue
        if trouble is not None and not told:
            say(trouble)
        elif trouble is None and told:
            say("the WAL archive takes files again")
        told = trouble is not None
        await pause(stop, LOOK_SECONDS)
