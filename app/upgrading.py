"""Read models of an older program's shape: rebuilt as the service starts, while it takes events.

See docs/decisions/0025-read-models-of-another-shape.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import asyncpg

from app.database import SQL, DatabaseError, Owner, check_schema, connect_owner, refuse_newer
from app.lost_database import LOST
from app.projecting import pause
from projections.rebuild import build_beside, rebuild
from projections.shape import Standing, standing

TELL_SECONDS = 5.0
"""The least time between two lines about the progress of a rebuild."""

WAIT_SECONDS = 1.0
"""The pause before a rebuild that another process is at is asked after again, or a swap is tried again."""

LOOK_SECONDS = 2.0
"""How often a running service looks whether the database has moved on to a newer program."""

Say = Callable[[str], None]


async def read_models_fit(dsn: str) -> bool:
    """Whether the service can use the read models as they are. Raises ``DatabaseError`` when they are a newer one's."""
    owner = await connect_owner(dsn)
    try:
        await refuse_newer(owner)
        return await standing(owner) is Standing.FITS
    finally:
        await owner.close()


async def bring_read_models(dsn: str, say: Say, *, swap: bool = True) -> None:
    """Make the read models this program's, going on with what was built before; nothing happens when they are.

    Any number of processes may ask at once: one works, the others wait. Without ``swap`` they are built beside those in
    use, for a later start. Raises ``DatabaseError`` when a newer program made them.
    """
    owner = await connect_owner(dsn)
    try:
        await alone(owner, say)
        await refuse_newer(owner)
        if await standing(owner) is Standing.FITS:
            return
        report = _telling(say, await owner.fetchval(SQL["log_size"]))
        if not swap:
            await build_beside(owner, report)
            return
        while True:
            try:
                await rebuild(owner, report, resume=True)
                return
            except asyncpg.LockNotAvailableError:
                say("the new read models are ready and wait for a command that takes long")
                await asyncio.sleep(WAIT_SECONDS)
    finally:
        await owner.close()


async def watch_fit(dsn: Callable[[], str], stop: asyncio.Event, say: Say) -> bool:
    """Look until ``stop`` whether the database is still as this program needs it; if not, set ``stop`` and answer True.

    A newer program has migrated it, or rebuilt its read models in another shape. What cannot be asked is no reason.
    """
    while not stop.is_set():
        try:
            await _look(dsn(), stop)
        except DatabaseError as error:
            say(f"{error}. Stopping")
            stop.set()
            return True
        except (*LOST, asyncpg.PostgresError):
            await pause(stop, LOOK_SECONDS)
    return False


async def _look(dsn: str, stop: asyncio.Event) -> None:
    owner = await connect_owner(dsn)
    try:
        while not stop.is_set():
            await check_schema(owner)
            await pause(stop, LOOK_SECONDS)
    finally:
        await owner.close()


async def alone(owner: Owner, say: Say) -> None:
    """Wait until nobody else rebuilds; nobody else does then, until the connection is closed."""
    told = False
    while not await owner.fetchval(SQL["try_rebuild"]):
        if not told:
            say("another process rebuilds the read models; waiting for it")
        told = True
        await asyncio.sleep(WAIT_SECONDS)


def _telling(say: Say, size: int) -> Callable[[str, int, int], None]:
    """Say how far it is, all tenants together: at the first step, and then every few seconds."""
    reached: dict[str, int] = {}
    next_at = 0.0

    def report(tenant_id: str, position: int, until: int) -> None:
        nonlocal next_at
        reached[tenant_id] = position
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + TELL_SECONDS
            done, total = sum(reached.values()), max(size, sum(reached.values()), 1)
            say(f"rebuilding the read models: {100 * done // total} % ({done:,} of {total:,} events)")

    return report
