"""Following the log in one process: whoever is watched is held, moved on with every commit, and offered again.

Whoever appends usage rings, and the projector when it has moved a tenant on. The feed then reads the span of the log
that it has not seen, counts its usage for those who are held, and offers what became different. It does not wait for
the projector: only who is read anew is read as of a projected position, and that one is waited for. A page of the log
is taken in at once, so the more there is to do, the fewer values are shown in between: nobody waits for an old one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import cast
from zlib import crc32

import asyncpg

from app.live.changes import changes_after
from app.live.followed import Followed
from app.live.held import HeldCustomer
from app.live.listening import listening
from app.live.readers import Readers
from app.live.standing import Standing
from app.live.statements import SQL
from app.live.watching import Watcher
from app.lost_database import LOST
from app.projecting import DOORBELL, RETRY_SECONDS, NotProjected, wait_any, wait_for
from app.rules import now_of
from app.service import Service
from domain.errors import NotFound
from projections.fault_points import FaultPoint, reach
from projections.quantities import PROJECTED, projected_position

LOG = logging.getLogger("taximeter.live")

SWEEP_SECONDS = 1.0
"""How long the feed waits for a ring before it looks by itself: a lost one costs that much and nothing else."""

READING_MAX = 60
"""Customers of a tenant that are being read anew or wait for a reader. What is read meanwhile is kept for each."""

PACE_SECONDS = 0.05
"""The least time between two offers of a customer: twenty a second look like motion."""

PACE_SECONDS_EACH = 0.00016
"""What each watcher adds to the time between two offers of a customer: 5,000 are offered something every 0.8 s, which
leaves a good part of a core to those who send events."""

SHORTEST_REST = 0.2
"""The part of that time which lies between two offers at the least."""

GATHER_SECONDS = 0.02
"""How far apart turns are that nothing but the end of somebody's rest asks for, so that one turn serves many."""

BREATHE_SECONDS = 0.002
"""How long estimates are reckoned before others in this process get their turn."""

KEPT_SECONDS = 60.0
"""How long a customer whom nobody watches stays held: a page that is loaded again is answered without reading."""

HELD_MAX = 10_000
"""Customers held for those who watch a whole tenant; some ten kilobytes each. Beyond it the longest held go."""

PAGE_CUSTOMERS = 200
"""Customers offered at once to somebody who begins to watch a tenant."""


class LogFeed:
    """The feed of one process; see ``app.live.watching.Feed``."""

    def __init__(
        self, service: Service, *, pace_seconds: float = PACE_SECONDS, pace_seconds_each: float = PACE_SECONDS_EACH
    ) -> None:
        self._service = service
        self._pace_seconds = pace_seconds
        self._pace_seconds_each = pace_seconds_each
        self._tenants: dict[str, Followed] = {}
        self._rung: set[str] = set()
        self._ring = asyncio.Event()
        self._work = asyncio.Event()
        self._readers = Readers(service, self._was_read)
        self._watches = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._sweeps_at = 0.0
        self._lost = False
        self._failed: BaseException | None = None

    async def watch_customer(self, tenant_id: str, customer_id: str, watcher: Watcher) -> Standing:
        """The customer's current state; from now on every newer one is offered. Raises ``NotFound``."""
        known = tenant_id in self._tenants and customer_id in self._tenants[tenant_id].held
        if not known and not await self._has_customer(tenant_id, customer_id):
            raise NotFound("customer", customer_id)
        # Nothing is waited for between this and the watcher: a tenant with nobody in it is swept away.
        tenant = await self._follow(tenant_id)
        watchers = tenant.by_customer.setdefault(customer_id, set())
        self._watches += watcher not in watchers
        watchers.add(watcher)
        tenant.idle_since.pop(customer_id, None)
        held = tenant.held.get(customer_id)
        if held is None or not held.catch_up():
            held = await asyncio.shield(self._readers.read(tenant, customer_id))
        # The others are shown it when it is their turn.
        held.restate(tenant.position)
        return held.standing

    async def watch_tenant(self, tenant_id: str, watcher: Watcher) -> None:
        """Offers of every customer that changes from now on, and first of those that have open cycles."""
        tenant = await self._follow(tenant_id)
        tenant.watchers.add(watcher)
        after = ""
        while watcher in tenant.watchers:
            rows = await self._service.pool.fetch(SQL["subscribed_customers"], tenant_id, after, PAGE_CUSTOMERS)
            for row in rows:
                after = row["customer_id"]
                held = tenant.held.get(after)
                if held is None or not held.catch_up():
                    held = await asyncio.shield(self._readers.read(tenant, after))
                watcher.offer(held.standing)
            if len(rows) < PAGE_CUSTOMERS:
                return

    def unwatch(self, watcher: Watcher) -> None:
        """Offer this watcher nothing any more."""
        for tenant in self._tenants.values():
            tenant.watchers.discard(watcher)
            for customer_id in [key for key, watchers in tenant.by_customer.items() if watcher in watchers]:
                self.unwatch_customer(tenant.tenant_id, customer_id, watcher)

    def unwatch_customer(self, tenant_id: str, customer_id: str, watcher: Watcher) -> None:
        """End what ``watch_customer`` began; nothing happens when it is not watched."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None or watcher not in tenant.by_customer.get(customer_id, ()):
            return
        self._watches -= 1
        tenant.by_customer[customer_id].discard(watcher)
        if not tenant.by_customer[customer_id]:
            del tenant.by_customer[customer_id]
            tenant.idle_since[customer_id] = asyncio.get_running_loop().time()

    def unwatch_tenant(self, tenant_id: str, watcher: Watcher) -> None:
        """End what ``watch_tenant`` began; nothing happens when it is not watched."""
        if tenant_id in self._tenants:
            self._tenants[tenant_id].watchers.discard(watcher)

    def position(self, tenant_id: str) -> int:
        """Every offer up to here has been made; 0 for a tenant that nobody watches."""
        tenant = self._tenants.get(tenant_id)
        return tenant.offered if tenant else 0

    def alerts_until(self, tenant_id: str) -> int:
        """In what is taken in of the log no alert is past this position; 0 for a tenant that nobody watches."""
        tenant = self._tenants.get(tenant_id)
        return tenant.alerts_until if tenant else 0

    async def reach(self, tenant_id: str, position: int) -> None:
        """Wait until the log is taken in up to ``position``. Raises as ``app.projecting.wait_for``."""
        tenant = await self._follow(tenant_id)
        if tenant.position >= position:
            return
        await self._take_in(tenant)
        if tenant.position < position:
            # Past the log's end, which is refused, or so far ahead of the quantities that nothing is read yet.
            await wait_for(self._service, tenant_id, position)
            await self._take_in(tenant)
        await self._serve(tenant)

    async def customer_of(self, tenant_id: str, subscription_id: str) -> str:
        """The customer of a subscription. Raises ``NotFound``."""
        rows = await self._service.pool.fetch(SQL["customers_of_subscriptions"], tenant_id, [subscription_id])
        if not rows:
            raise NotFound("subscription", subscription_id)
        return cast("str", rows[0]["customer_id"])

    async def run(self) -> None:
        """Follow the log until cancelled; a lost database is waited for, and then everybody is read anew."""
        while True:
            try:
                async with (
                    listening(self._service.pool, (DOORBELL, PROJECTED), self._rang) as hung_up,
                    asyncio.TaskGroup() as tasks,
                ):
                    if self._lost:
                        self._read_all_anew()
                        self._lost = False
                    tasks.create_task(self._keep(self._follow_log, self._ring, hung_up))
                    tasks.create_task(self._keep(self._serve_all, self._work, hung_up))
            except* (*LOST, asyncpg.PostgresError) as lost:
                LOG.warning("the live channel lost the database (%s) and tries again", lost.exceptions[0])
                self._lost = True
                await asyncio.sleep(RETRY_SECONDS)

    async def _keep(self, doing: Callable[[], Awaitable[None]], asked: asyncio.Event, hung_up: asyncio.Event) -> None:
        """Do it whenever it is asked for, and now and then without. Taking in the log does not wait for those who are
        served: who comes later is shown what is new.
        """
        while True:
            await doing()
            await wait_any(asked, hung_up, SWEEP_SECONDS)
            if hung_up.is_set():
                raise ConnectionError("the connection ended")

    def _rang(self, tenant_id: str) -> None:
        self._rung.add(tenant_id)
        self._ring.set()

    def _read_all_anew(self) -> None:
        for tenant in self._tenants.values():
            for customer_id, held in tenant.held.items():
                held.stale = True
                tenant.dirty[customer_id] = None
            for watcher in tenant.everyone():
                watcher.resync()

    async def turn(self) -> None:
        """Take in what was rung for and serve whose turn it is, once."""
        await self._follow_log()
        await self._serve_all()

    async def _follow_log(self) -> None:
        """Take in the log of the tenants that were rung for; now and then sweep: all of them."""
        loop = asyncio.get_running_loop()
        swept = not self._ring.is_set() or loop.time() >= self._sweeps_at
        self._ring.clear()
        rung, self._rung = self._rung, set()
        if swept:
            self._sweeps_at = loop.time() + SWEEP_SECONDS
            for tenant in list(self._tenants.values()):
                await self._sweep(tenant)
        tenants = [one for one in self._tenants.values() if swept or one.tenant_id in rung]
        await self._each(self._take_in(tenant) for tenant in tenants)
        self._work.set()

    async def _serve_all(self) -> None:
        self._work.clear()
        await self._each(self._serve(tenant) for tenant in list(self._tenants.values()))

    async def _each(self, moves: Iterable[Awaitable[None]]) -> None:
        """All of them side by side. A defect of ours in one tenant does not hold up the others."""
        for outcome in await asyncio.gather(*moves, return_exceptions=True):
            if isinstance(outcome, LOST):
                raise outcome
            if isinstance(outcome, BaseException):
                LOG.error("a tenant's live values could not be moved on", exc_info=outcome)

    async def _sweep(self, tenant: Followed) -> None:
        """Let go of whom nobody has watched for a while, and read anew whose next cycle has begun."""
        now = asyncio.get_running_loop().time()
        tenant.rests_until = {one: until for one, until in tenant.rests_until.items() if until > now}
        for customer_id, since in list(tenant.idle_since.items()):
            if now - since > KEPT_SECONDS:
                del tenant.idle_since[customer_id]
                if not tenant.watchers:
                    tenant.held.pop(customer_id, None)
        extra = [customer_id for customer_id in tenant.held if customer_id not in tenant.by_customer]
        for customer_id in extra[: max(0, len(extra) - HELD_MAX)]:
            del tenant.held[customer_id]
        if not tenant.everyone() and not tenant.held and not tenant.reading:
            self._tenants.pop(tenant.tenant_id, None)
            return
        if any(held.read_again_at for held in tenant.held.values()):
            clock = await now_of(self._service, tenant.tenant_id)
            for customer_id, held in tenant.held.items():
                if held.read_again_at is not None and held.read_again_at <= clock:
                    held.stale = True
                    tenant.dirty[customer_id] = None

    async def _follow(self, tenant_id: str) -> Followed:
        if tenant_id not in self._tenants:
            async with self._service.pool.acquire() as connection:
                position = await projected_position(connection, tenant_id)
            self._tenants.setdefault(tenant_id, Followed(tenant_id, position, position, position, position))
        return self._tenants[tenant_id]

    async def _has_customer(self, tenant_id: str, customer_id: str) -> bool:
        return bool(await self._service.pool.fetchval(SQL["has_customer"], tenant_id, customer_id))

    async def _take_in(self, tenant: Followed) -> None:
        """Count what is recorded and not seen."""
        async with tenant.lock, self._service.pool.acquire() as connection:
            more = True
            while more:
                asked = tenant.interesting()
                changes = await changes_after(connection, tenant.tenant_id, tenant.position, asked)
                if changes is not None:
                    tenant.take_in(changes, asked)
                more = changes is not None and changes.more

    async def _serve(self, tenant: Followed) -> None:
        """Reckon and offer those whose turn it is, and begin to read anew those who have to be."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        loop = asyncio.get_running_loop()
        since = now = loop.time()
        for customer_id in tenant.due(now):
            if customer_id not in tenant.dirty:
                continue  # Somebody else has served it meanwhile.
            held = tenant.held.get(customer_id)
            if held is None or not held.catch_up():
                self._read_anew(tenant, customer_id)
                continue
            del tenant.dirty[customer_id]
            held.restate(tenant.position)
            if held.owed:
                await reach(FaultPoint.live_offer)
                self._offer(tenant, held)
            if loop.time() - since > BREATHE_SECONDS:
                await asyncio.sleep(0)
                since = loop.time()
        tenant.note_offered()
        self._come_back_for(tenant)

    def _offer(self, tenant: Followed, held: HeldCustomer) -> None:
        """Offer a customer, and let it rest until its turn comes round.

        Everybody has a place of its own in the round, whenever it was served last: otherwise those who once had to wait
        together would come due together ever after.
        """
        pace = max(self._pace_seconds, self._watches * self._pace_seconds_each)
        earliest = asyncio.get_running_loop().time() + SHORTEST_REST * pace
        place = crc32(f"{tenant.tenant_id} {held.customer_id}".encode()) / 2**32 * pace
        tenant.rests_until[held.customer_id] = earliest + (place - earliest) % pace if pace else earliest
        held.owed = False
        tenant.offer(held)

    def _come_back_for(self, tenant: Followed) -> None:
        """Look again as soon as the first of those who are still dirty may be offered."""
        if not tenant.dirty:
            return
        loop = asyncio.get_running_loop()
        at = min(tenant.rests_until.get(customer_id, 0.0) for customer_id in tenant.dirty)
        at = max(at, loop.time() + GATHER_SECONDS)
        if not loop.time() < self._rings_at <= at:
            if self._timer is not None:
                self._timer.cancel()
            self._rings_at = at
            self._timer = loop.call_at(self._rings_at, self._work.set)

    def _read_anew(self, tenant: Followed, customer_id: str) -> None:
        if customer_id in tenant.reading or len(tenant.reading) < READING_MAX:
            del tenant.dirty[customer_id]
            task = self._readers.read(tenant, customer_id)
            task.add_done_callback(lambda done: self._note_failure(tenant, customer_id, done))

    def _note_failure(self, tenant: Followed, customer_id: str, task: asyncio.Task[HeldCustomer]) -> None:
        """A reading that came to nothing is made again; after a defect of ours only when something changes."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, (*LOST, NotProjected)):
            tenant.dirty[customer_id] = None
        else:
            LOG.error("customer %s of tenant %s cannot be read", customer_id, tenant.tenant_id, exc_info=error)
        if isinstance(error, LOST):
            self._failed = error
        self._work.set()

    def _was_read(self, tenant: Followed, held: HeldCustomer) -> None:
        """Take the place of what was held before, and offer it; what is stale already is read once more."""
        customer_id = held.customer_id
        before = tenant.held.get(customer_id)
        different = held.follow(before) if before is not None else True
        tenant.held[customer_id] = held
        if customer_id not in tenant.by_customer:
            tenant.idle_since.setdefault(customer_id, asyncio.get_running_loop().time())
        if not held.catch_up():
            tenant.dirty[customer_id] = None
        held.restate(tenant.position)
        if held.owed or different:
            self._offer(tenant, held)
        self._work.set()
