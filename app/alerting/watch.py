"""The watch: looks at the alerts of customers whose estimates may have changed. Any number of them may run.

How far the log was looked at is kept beside the quantities' own progress, and moved after the firing: a crash only
looks again.
"""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from app.alerting.firing import look_at
from app.alerting.rows import SQL
from app.keys import system_caller
from app.lost_database import LOST
from app.projecting import SWEEP_SECONDS, pause, wait_any
from app.retries import Retries
from app.service import Service
from domain.alert import Alert
from domain.meter import Meter
from domain.tenant import Tenant
from projections.fault_points import FaultPoint, reach

LOG = logging.getLogger("taximeter.alerts")

PAUSE_SECONDS = 0.2
"""The least time between two looks, so that a stream of small commits does not have everybody reckoned for each."""

SPAN_MAX = 50_000
"""Positions past which the events since the last look are not read: whoever has alerts is looked at."""

_SILENT = (
    Alert.Fired.TOPIC,
    Alert.Deleted.TOPIC,
    Meter.Described.TOPIC,
    Tenant.Created.TOPIC,
    Tenant.KeyCreated.TOPIC,
    Tenant.KeyRevoked.TOPIC,
    Tenant.ClockMoved.TOPIC,
)
"""Kinds of events that change no estimate. What opens or closes as a test clock moves has events of its own."""


class Watch:
    """How far one process has looked, and which customers it could not look at."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._retries = Retries(asyncio.get_running_loop().time)
        self._looked: dict[str, int] = {}
        self._failing: dict[str, set[str]] = {}

    async def look(self) -> int:
        """Look at what changed in every tenant that has alerts; the number of firings.

        A customer who cannot be looked at is logged and tried again, and the others go on. Raises only when the
        database is lost.
        """
        fired = 0
        for row in await self._service.pool.fetch(SQL["behind"]):
            tenant_id = row["tenant_id"]
            if not self._retries.ready((tenant_id, "")):
                continue
            try:
                fired += await self._look_at_tenant(tenant_id, row["looked"], row["counted"])
            except Exception as error:
                await self._failed(tenant_id, "", error)
            else:
                self._retries.succeeded((tenant_id, ""))
        return fired

    async def _look_at_tenant(self, tenant_id: str, checkpoint: int, counted: int) -> int:
        """The checkpoint waits for customers that fail, so that a new process looks at them; this one goes on."""
        failing = self._failing.setdefault(tenant_id, set())
        looked = max(checkpoint, self._looked.get(tenant_id, 0))
        again = {customer_id for customer_id in failing if self._retries.ready((tenant_id, customer_id))}
        customers = again | (await self._changed(tenant_id, looked, counted) if counted > looked else set())
        fired = 0
        for customer_id in sorted(customers):
            try:
                fired += await look_at(self._service, system_caller(tenant_id), customer_id)
            except Exception as error:
                failing.add(customer_id)
                await self._failed(tenant_id, customer_id, error)
            else:
                failing.discard(customer_id)
                self._retries.succeeded((tenant_id, customer_id))
        self._looked[tenant_id] = max(looked, counted)
        if counted > checkpoint and not failing:
            await move_looked(self._service, tenant_id, counted)
        return fired

    async def _changed(self, tenant_id: str, looked: int, counted: int) -> set[str]:
        """The customers with alerts whose estimates may have changed in ``(looked, counted]``."""
        pool = self._service.pool
        if not looked or counted - looked > SPAN_MAX:
            rows = await pool.fetch(SQL["watched_customers"], tenant_id)
        else:
            rows = await pool.fetch(SQL["customers_with_changes"], tenant_id, looked, counted, _SILENT)
        return {row["customer_id"] for row in rows}

    async def _failed(self, tenant_id: str, customer_id: str, error: Exception) -> None:
        # Raises when the database is lost: then nothing else could be looked at either.
        await self._service.pool.execute("select 1")
        if self._retries.failed((tenant_id, customer_id), f"{type(error).__name__}: {error}"):
            who = f"customer {customer_id} of tenant {tenant_id}" if customer_id else f"tenant {tenant_id}"
            LOG.error("the alerts of %s cannot be looked at and are tried again", who, exc_info=error)


async def move_looked(service: Service, tenant_id: str, position: int) -> None:
    """Note that everything up to a position was looked at."""
    await reach(FaultPoint.alert_looked)
    await service.pool.execute(SQL["move_looked"], tenant_id, position)


async def run_watch(service: Service, stop: asyncio.Event, projected: asyncio.Event) -> None:
    """Watch until ``stop`` is set, woken by ``projected`` or by the sweep; a lost database is waited for."""
    watch = Watch(service)
    while not stop.is_set():
        projected.clear()
        try:
            await watch.look()
        except (*LOST, asyncpg.PostgresError) as error:
            LOG.warning("the watch on alerts lost the database (%s) and tries again", error)
        except Exception:
            # The projector runs beside it and would be stopped with it.
            LOG.exception("looking at alerts failed and is tried again")
        await pause(stop, PAUSE_SECONDS)
        await wait_any(projected, stop, SWEEP_SECONDS)
