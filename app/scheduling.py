"""The scheduler: opens and closes cycles as their time comes. Any number of them may run."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import asyncpg

from app.due import close_due_everywhere
from app.event_log import ensure_partitions
from app.lost_database import LOST
from app.projecting import pause
from app.retries import Retries
from app.service import Service
from projections.fault_points import FaultPoint, reach

LOG = logging.getLogger("taximeter.scheduler")

TICK_SECONDS = 5.0
"""How often it looks for what is due: one indexed read per tenant."""


async def run_scheduler(service: Service, stop: asyncio.Event) -> None:
    """Close what is due until ``stop`` is set, which also ends a long run after the group at hand.

    A failure is logged and tried again; what keeps failing, more and more rarely.
    """
    retries = Retries(asyncio.get_running_loop().time)
    while not stop.is_set():
        try:
            await reach(FaultPoint.scheduler_tick)
            async with service.pool.acquire() as connection:
                await ensure_partitions(connection, service.clock())
            await _run(service, retries, stop)
        except (*LOST, asyncpg.OperatorInterventionError) as error:
            LOG.warning("the scheduler lost the database (%s) and tries again", error)
        except Exception:
            # The projector runs beside it and would be stopped with it.
            LOG.exception("closing what is due failed and is tried again")
        await pause(stop, TICK_SECONDS)


async def _run(service: Service, retries: Retries, stop: asyncio.Event) -> None:
    closed = 0
    async with aclosing(close_due_everywhere(service, retries)) as run:
        async for dealt in run:
            closed += dealt.closed
            if stop.is_set():
                break
    if closed:
        LOG.info("%s cycles closed", closed)
