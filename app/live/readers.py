"""Reading customers anew: a few at a time, each as of a position that covers whatever the feed does not keep for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.keys import system_caller
from app.live.followed import Followed, Reading
from app.live.held import HeldCustomer, hold
from app.projecting import wait_for
from app.service import Service
from projections.fault_points import FaultPoint, reach

READERS = 3
"""Customers that are read at once. Each takes a connection, and requests need most of them."""


class Readers:
    """The readers of one process. ``done`` is called with what was read, before whoever waits for it goes on."""

    def __init__(self, service: Service, done: Callable[[Followed, HeldCustomer], None]) -> None:
        self._service = service
        self._done = done
        self._free = asyncio.Semaphore(READERS)

    def read(self, tenant: Followed, customer_id: str) -> asyncio.Task[HeldCustomer]:
        """Read a customer; everybody who asks meanwhile is given the same reading."""
        running = tenant.reading.get(customer_id)
        if running is None:
            task = asyncio.create_task(self._read(tenant, customer_id))
            running = tenant.reading[customer_id] = Reading(task, tenant.position)
        return running.task

    async def _read(self, tenant: Followed, customer_id: str) -> HeldCustomer:
        reading = tenant.reading[customer_id]
        try:
            while True:
                await self._projected(tenant, reading.since)
                async with self._free:
                    held = await hold(self._service, system_caller(tenant.tenant_id), customer_id)
                if held.position >= reading.since:
                    break
                # More was taken in without keeping it for this one, or the quantities are being counted from the start.
                tenant.projected = min(tenant.projected, held.position)
        finally:
            del tenant.reading[customer_id]
        for row in reading.rows:
            if row["position"] > held.position:
                held.note(row)
        held.stale |= reading.stale_at > held.position
        await reach(FaultPoint.live_read)
        self._done(tenant, held)
        return held

    async def _projected(self, tenant: Followed, position: int) -> None:
        """Wait until the quantities are there; all who wait ask once. Raises as ``app.projecting.wait_for``."""
        while tenant.projected < position:
            if tenant.projecting is None or tenant.projecting.done():
                tenant.projecting = asyncio.create_task(self._wait(tenant, tenant.position))
            await asyncio.shield(tenant.projecting)

    async def _wait(self, tenant: Followed, position: int) -> None:
        await wait_for(self._service, tenant.tenant_id, position)
        tenant.projected = max(tenant.projected, position)
