"""The scheduler: opens and closes cycles as their time comes. Any number of them may run."""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from app.billing import close_due_everywhere
from app.event_log import ensure_partitions
from app.projecting import pause
from app.service import Service

LOG = logging.getLogger("taximeter.scheduler")

TICK_SECONDS = 5.0
"""How often it looks for what is due: one indexed read per tenant."""


async def run_scheduler(service: Service, stop: asyncio.Event) -> None:
    """Close what is due until ``stop`` is set. A failure is logged and tried again with the next tick."""
    while not stop.is_set():
        try:
            async with service.pool.acquire() as connection:
                await ensure_partitions(connection, service.clock())
            done = await close_due_everywhere(service)
            if done.closed:
                LOG.info("%s cycles closed", done.closed)
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as error:
            LOG.warning("the scheduler lost the database (%s) and tries again", error)
        except Exception:
            # The projector runs beside it and would be stopped with it.
            LOG.exception("closing what is due failed and is tried again")
        await pause(stop, TICK_SECONDS)
