"""Running a simulation beside the live service: a few customers at a time, with rests, and never two at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import msgspec

from app.limits import (
    SIMULATED_CYCLES_MAX,
    SIMULATION_PAGE_CUSTOMERS,
    SIMULATION_PAGE_SECONDS,
    SIMULATION_REST_SECONDS_MAX,
    SIMULATION_STATEMENT_SECONDS,
)
from app.reading_log import reading
from app.service import Caller, Service
from app.simulating.page import SQL, Page
from app.simulating.question import Question
from domain.comparison import SimulatedCustomer, Totals
from domain.errors import Conflict, Invalid


class Begun(msgspec.Struct, frozen=True):
    """What a simulation has before it. ``position`` is the log's as far as it is counted: all up to it is known."""

    position: int
    customers: int


class Advanced(msgspec.Struct, frozen=True):
    """So many customers have been looked at; those without a cycle in the span are not told of otherwise."""

    customers: int


Step: TypeAlias = Begun | SimulatedCustomer | Advanced | Totals
"""What a run tells: once that it begins, then customers as they are done, and the totals at its end."""


class Pace:
    """How much a run rests: so many times as long as it worked. 0 is not at all."""

    def __init__(self, rests: int) -> None:
        self._rests = rests
        self._since = time.monotonic()

    async def rest(self) -> None:
        """Let others work. A run that is slowed down by others rests longer for it."""
        worked = time.monotonic() - self._since
        await asyncio.sleep(min(worked * self._rests, SIMULATION_REST_SECONDS_MAX))
        self._since = time.monotonic()


async def simulate(service: Service, caller: Caller, question: Question, rests: int) -> AsyncGenerator[Step]:
    """Rate the cycles of the span twice, customer by customer. Whoever stops to listen ends it.

    Raises ``Conflict`` (SIMULATION_RUNNING) while another one runs, and ``Invalid`` for a span that is too large.
    """
    pace, totals, looked_at, at_once = Pace(rests), Totals(), 0, 1
    async with _alone(service):
        yield await _size(service, caller, question)
        async for customer_ids in _pages(service, caller, question):
            waiting = customer_ids
            while waiting:
                done = await _some(service, caller, question, waiting[:at_once], pace)
                waiting, at_once = waiting[len(done) :], min(2 * len(done), SIMULATION_PAGE_CUSTOMERS)
                looked_at += len(done)
                for customer in done:
                    if customer.cycles:
                        totals.add(customer)
                        yield customer
                yield Advanced(looked_at)
                await pace.rest()
        yield totals


@asynccontextmanager
async def _alone(service: Service) -> AsyncIterator[None]:
    """One simulation at a time on a database: its share of the machine is bounded, and so is that of all of them."""
    async with service.pool.acquire() as connection:
        if not await connection.fetchval(SQL["try_alone"]):
            raise Conflict("SIMULATION_RUNNING", "another simulation is running; try again when it has ended")
        try:
            yield
        finally:
            # Also when the caller has gone away: a session of the pool would keep what it holds.
            await asyncio.shield(connection.execute(SQL["leave"]))


async def _size(service: Service, caller: Caller, question: Question) -> Begun:
    span, names = question.span, None if question.customer_ids is None else list(question.customer_ids)
    async with reading(service, caller) as known:
        asked = (caller.tenant_id, names, span.start, span.end, span.open_only)
        row = await known.database.fetchrow(SQL["size"], *asked)
        assert row is not None, "counts are one row"
        if row["customers"] + row["invoices"] > SIMULATED_CYCLES_MAX:
            raise Invalid("start", f"the span has more than {SIMULATED_CYCLES_MAX} cycles; narrow it or name customers")
        return Begun(known.position, row["customers"])


async def _pages(service: Service, caller: Caller, question: Question) -> AsyncIterator[list[str]]:
    after, names = "", None if question.customer_ids is None else list(question.customer_ids)
    while True:
        rows = await service.pool.fetch(SQL["customers"], caller.tenant_id, after, names, SIMULATION_PAGE_CUSTOMERS)
        if rows:
            yield [row["customer_id"] for row in rows]
        if len(rows) < SIMULATION_PAGE_CUSTOMERS:
            return
        after = rows[-1]["customer_id"]


async def _some(
    service: Service, caller: Caller, question: Question, customer_ids: Sequence[str], pace: Pace
) -> list[SimulatedCustomer]:
    """The first of these customers and those after him that the time suffices for, in one snapshot.

    A snapshot is short: while one is held, the rows of a head that moves with each commit pile up.
    """
    done: list[SimulatedCustomer] = []
    async with reading(service, caller) as known:
        await known.database.execute(SQL["bounds"], f"{SIMULATION_STATEMENT_SECONDS}s")
        until = time.monotonic() + SIMULATION_PAGE_SECONDS
        page = await Page.read(known, question, customer_ids, pace.rest)
        for customer_id in customer_ids:
            done.append(await page.simulate(customer_id))
            await asyncio.sleep(0)
            if time.monotonic() > until:
                break
    return done
