"""Moving a test clock: through every instant at which something is due, in order, closing what is due at each.

Each move is a transaction of its own, and so is each close, by the code that closes for everybody. The clock moves on
only when nothing is due any more where it stands: a walk that was cut off is carried on by the next one.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import datetime, timedelta

import msgspec

from app.due import SQL as DUE_SQL
from app.due import close_due, next_due
from app.ingesting import TIMESTAMP_END
from app.invoicing import Bill
from app.limits import CLOCK_INVOICES_MAX, CLOCK_MOVE_DAYS_MAX, CLOCK_MOVE_SECONDS_MAX
from app.projecting import project_most
from app.rules import rules_of
from app.service import Caller, Service
from app.transaction import transaction
from domain import instant
from domain.cycle import Anchor, Interval, boundary
from domain.errors import Conflict, Invalid
from domain.tenant import Rules, Tenant, move_clock
from projections import catalog
from projections.fault_points import FaultPoint, reach
from projections.log_reader import head, last_version
from projections.quantities import catch_up
from projections.statements import load

SQL = load("app.sql", "test_clock.sql")


class Walk(msgspec.Struct):
    """How far a clock came on its way ``to``, and what happened.

    ``bills`` are the first invoices only; ``closed`` counts all. ``steps`` counts the moves.
    """

    now: datetime
    to: datetime
    steps: int = 0
    opened: int = 0
    closed: int = 0
    bills: list[Bill] = msgspec.field(default_factory=list[Bill])
    done: bool = False

    def add(self, bill: Bill) -> None:
        """Count an invoice in."""
        self.closed += 1
        if len(self.bills) < CLOCK_INVOICES_MAX:
            self.bills.append(bill)


async def advance(service: Service, caller: Caller, *, to: datetime | None = None, by: timedelta | None = None) -> Walk:
    """Move the tenant's test clock to an instant, or by a duration.

    A walk of many cycles ends early, not ``done``; asked again with the same ``to`` it goes on, and at the end it finds
    nothing left to do. Raises ``Conflict`` without test mode (NOT_IN_TEST_MODE) and when another request moves the
    clock meanwhile (CLOCK_MOVED), and ``Invalid`` for a target in the past or too far away. A cycle that cannot be
    closed raises, too, and the clock stays: time does not pass over it.
    """
    async with service.pool.acquire() as connection:
        rules = await rules_of(connection, service, caller.tenant_id)
        began = (await head(connection, caller.tenant_id)).position
    if rules.test_clock is None:
        raise Conflict("NOT_IN_TEST_MODE", "only a tenant in test mode has a clock that can be moved")
    walk = Walk(rules.test_clock, _target(rules.test_clock, to, by))
    deadline = asyncio.get_running_loop().time() + CLOCK_MOVE_SECONDS_MAX
    await _walk(service, caller, walk, rules, deadline)
    walk.opened = await service.pool.fetchval(SQL["cycles_opened"], caller.tenant_id, began)
    return walk


def _target(now: datetime, to: datetime | None, by: timedelta | None) -> datetime:
    field, far = ("to", None if to is None else to - now) if by is None else ("by", by)
    if far is None:
        raise Invalid("to", "either to or by is required")
    if far < timedelta():
        raise Invalid("to", f"must not lie before the tenant's now, which is {instant.text(now)}")
    if far > timedelta(days=CLOCK_MOVE_DAYS_MAX):
        raise Invalid(field, f"must not move the clock by more than {CLOCK_MOVE_DAYS_MAX} days at once")
    if TIMESTAMP_END - now <= far:
        raise Invalid(field, f"the clock ends at {instant.text(TIMESTAMP_END)}")
    return now + far


async def _walk(service: Service, caller: Caller, walk: Walk, rules: Rules, deadline: float) -> None:
    while await _close(service, caller, walk, deadline):
        if walk.now == walk.to:
            walk.done = True
            return
        at = await _next_instant(service, caller.tenant_id, walk, rules.close_grace)
        await _move(service, caller, walk.now, at)
        walk.now, walk.steps = at, walk.steps + 1
        if _late(deadline):
            return


def _late(deadline: float) -> bool:
    return asyncio.get_running_loop().time() >= deadline


async def _close(service: Service, caller: Caller, walk: Walk, deadline: float) -> bool:
    """Close what is due where the clock stands; whether it is all closed."""
    await _count_all(service, caller.tenant_id)
    async with aclosing(close_due(service, caller)) as bills:
        async for bill in bills:
            walk.add(bill)
            if _late(deadline):
                return False
    return True


async def _count_all(service: Service, tenant_id: str) -> None:
    """Bring the quantities to the log's end: late usage becomes due by itself only once it was found to be late."""
    await project_most(service, tenant_id)
    async with service.pool.acquire() as connection, connection.transaction():
        await catch_up(connection, tenant_id, (await head(connection, tenant_id)).position)


async def _next_instant(service: Service, tenant_id: str, walk: Walk, grace: timedelta) -> datetime:
    """The next instant at which something is due, or the end of the walk when nothing is due before."""
    due = await next_due(service, tenant_id, walk.now, grace)
    until = walk.to if due is None else min(due, walk.to)
    # Subscriptions that have not begun: their first cycle opens where the customer's time zone says.
    rows = await service.pool.fetch(DUE_SQL["unstarted"], tenant_id, until)
    starts = [
        boundary(
            msgspec.json.decode(row["anchor"], type=Anchor),
            msgspec.json.decode(row["payment_interval"], type=Interval),
            0,
            row["time_zone"],
        )
        for row in rows
    ]
    return min([until, *(start for start in starts if start > walk.now)])


async def _move(service: Service, caller: Caller, clock: datetime, to: datetime) -> None:
    """Move the clock from where this walk knows it to stand. Raises ``Conflict`` when it does not stand there."""
    async with transaction(service, caller, "test_clock.advance") as running:
        stands = (await running.rules()).test_clock
        if stands != clock:
            at = "nowhere" if stands is None else instant.text(stands)
            raise Conflict("CLOCK_MOVED", f"another request moves the clock at this moment; it stands at {at}")
        last = await last_version(running.database, running.tenant_id, Tenant.stream(running.tenant_id))
        running.add_event(move_clock(running.tenant_id, last, clock, to))
        # Nothing after the move is recorded before the instant that it moves to.
        running.now = to
        await catalog.move_clock(running.database, running.tenant_id, to)
        await reach(FaultPoint.clock_moved)
