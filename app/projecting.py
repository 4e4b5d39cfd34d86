"""Keeping the read models close behind the log: the projector's loop, its doorbell, and waiting for a position."""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from app.limits import WAIT_FOR_POSITION_SECONDS
from app.lost_database import LOST
from app.measured_work import measured_page
from app.measures import PAGE_FAILURES
from app.service import Service
from domain.errors import Invalid, Refusal
from projections.database import Database
from projections.fault_points import FaultPoint, reach
from projections.log_reader import head
from projections.quantities import catch_up, lagging, project_page, projected_position, ring

LOG = logging.getLogger("taximeter.projector")

DOORBELL = "taximeter_doorbell"
"""The channel on which ingest says that a tenant's log grew: the payload is its id. A lost ring costs a second, nothing
else."""

SWEEP_SECONDS = 1.0
"""How long the projector waits for a ring before it looks by itself."""

POLL_SECONDS = 0.02
"""How soon `at_least` looks again for the first time; a poll is one read by primary key."""

POLL_SECONDS_MAX = 0.25
"""What the pause between two polls grows to, so that many who wait for long do not keep the database busy."""

RETRY_SECONDS = 1.0
"""The pause after the database was lost."""


class NotProjected(Refusal):
    """The read models did not get as far as was asked in time; asking again later is right."""


async def wait_for(service: Service, tenant_id: str, position: int) -> None:
    """Return when the tenant's quantities are at ``position`` or past it.

    Raises ``Invalid`` at once when the log does not reach so far, and ``NotProjected`` after a while. No connection is
    held between two polls: a caller that holds one lets the others of its process starve.
    """
    if await _projected(service, tenant_id) >= position:
        return
    async with service.pool.acquire() as connection:
        end = (await head(connection, tenant_id)).position
    if position > end:
        raise Invalid("at_least", f"must not be past the end of the log, which is at position {end}")
    deadline, seconds = asyncio.get_running_loop().time() + WAIT_FOR_POSITION_SECONDS, POLL_SECONDS
    while await _projected(service, tenant_id) < position:
        if asyncio.get_running_loop().time() > deadline:
            raise NotProjected(
                "NOT_PROJECTED_YET",
                f"position {position} is not projected after {WAIT_FOR_POSITION_SECONDS} s; is a projector running?",
            )
        await asyncio.sleep(seconds)
        seconds = min(seconds * 1.5, POLL_SECONDS_MAX)


async def _projected(service: Service, tenant_id: str) -> int:
    async with service.pool.acquire() as connection:
        return await projected_position(connection, tenant_id)


async def project_all(service: Service) -> int:
    """Fold everything that the log is ahead, fairly: a page of each tenant in turn. The number of pages."""
    pages = 0
    async with service.pool.acquire() as connection:
        while tenants := [row.tenant_id for row in await lagging(connection)]:
            moved = [await _project_one(connection, tenant_id) for tenant_id in tenants]
            pages += sum(moved)
            if not any(moved):
                break  # Other projectors have these tenants.
    return pages


async def project_most(service: Service, tenant_id: str) -> None:
    """Bring the quantities to where the log ends now, before the head is locked, so that it is locked briefly.

    Whoever else projects is waited for here, and not with the head. What is recorded meanwhile is left: where usage
    never stops, there would be no end.
    """
    async with service.pool.acquire() as connection:
        until = (await head(connection, tenant_id)).position
        while await projected_position(connection, tenant_id) < until:
            with measured_page() as page:
                async with connection.transaction():
                    await catch_up(connection, tenant_id, until, pages=1)
                page.moved = True


async def _project_one(database: Database, tenant_id: str) -> bool:
    """One page of one tenant. A page that cannot be folded is a defect of ours: it is told, and the others go on."""
    try:
        with measured_page() as page:
            page.moved = await project_page(database, tenant_id)
        return page.moved
    except LOST:
        raise
    except Exception:
        PAGE_FAILURES.inc()
        LOG.exception("the log of tenant %s cannot be projected", tenant_id)
        # The database itself may refuse a page, as with a number that is too large; raises when the connection is lost.
        await database.execute("select 1")
        return False


async def run_projector(
    service: Service, dsn: str, stop: asyncio.Event, projected: asyncio.Event | None = None
) -> None:
    """Project until ``stop`` is set, woken by the doorbell or by the sweep; a lost database is waited for.

    ``projected`` is set whenever quantities moved on.
    """
    while not stop.is_set():
        try:
            await _listen_and_project(service, dsn, stop, projected)
        except (*LOST, asyncpg.PostgresError) as error:
            LOG.warning("the projector lost the database (%s) and tries again", error)
            await pause(stop, RETRY_SECONDS)


async def _listen_and_project(service: Service, dsn: str, stop: asyncio.Event, projected: asyncio.Event | None) -> None:
    rung = asyncio.Event()
    listener = await asyncpg.connect(dsn, server_settings={"application_name": "taximeter projector"})
    try:
        await listener.add_listener(DOORBELL, lambda *_: rung.set())
        await reach(FaultPoint.projector_listening)
        while not stop.is_set():
            rung.clear()
            if await project_all(service) and projected is not None:
                projected.set()
            await wait_any(rung, stop, SWEEP_SECONDS)
    finally:
        await listener.close()


async def wait_any(first: asyncio.Event, second: asyncio.Event, seconds: float | None = None) -> None:
    """Wait until one of them is set, or so long; without ``seconds`` for as long as it takes."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


class Doorbell:
    """Rings for projector and live feed after appends, at most once per ``PAUSE_SECONDS`` however many there are.

    A NOTIFY takes a lock of the whole server while it commits, so it stays out of the append's transaction.
    """

    PAUSE_SECONDS = 0.02

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ringing: asyncio.Task[None] | None = None
        self._tenants: set[str] = set()

    def ring(self, tenant_id: str) -> None:
        """Say that the tenant's log grew; returns at once."""
        self._tenants.add(tenant_id)
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.get_running_loop().create_task(self._ring())

    async def _ring(self) -> None:
        while self._tenants:
            tenants, self._tenants = self._tenants, set()
            try:
                await reach(FaultPoint.doorbell_ring)
                async with self._service.pool.acquire() as connection:
                    await ring(connection, DOORBELL, tenants)
            except (*LOST, asyncpg.PostgresError) as error:
                LOG.info("the doorbell did not ring (%s); the sweep finds the work", error)
            await asyncio.sleep(self.PAUSE_SECONDS)
