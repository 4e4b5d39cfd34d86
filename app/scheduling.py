"""The scheduler: opens and closes cycles as their time comes. Any number of them may run."""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from app.billing import close_due_everywhere
from app.event_log import ensure_partitions
from app.projecting import pause
from app.service import Service
from domain.errors import Refusal

LOG = logging.getLogger("taximeter.scheduler")

TICK_SECONDS = 5.0
"""How often it looks for what is due: one indexed read per tenant."""


async def run_scheduler(service: Service, stop: asyncio.Event) -> None:
    """Close what is due until ``stop`` is set. A failure is logged and tried again with the next tick."""
    while not stop.is_set():
        try:
            async with service.pool.acquire() as connection:
                await ensure_partitions(connection, service.clock())
            closed = await close_due_everywhere(service)
            if closed:
                LOG.info("%s cycles closed", closed)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, Refusal) as error:
            LOG.warning("closing what is due failed (%s) and is tried again", error)
        await pause(stop, TICK_SECONDS)
