"""Simulations: real history rated with other prices, told customer by customer as it is reckoned."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Router, post
from litestar.datastructures import State
from litestar.params import FromQuery, JSONBody
from litestar.response import Stream

from app.http.auth import requires
from app.http.problems import UNAVAILABLE
from app.http.proposals import SimulationInput, read_question
from app.http.reading import Asked, Serving, members
from app.limits import SIMULATION_RESTS
from app.lost_database import LOST
from app.reading_log import reading
from app.service import Caller, Service
from app.simulating.flags import Detail
from app.simulating.running import Advanced, Begun, Pace, Step, simulate
from domain.comparison import Amounts, SimulatedCustomer, SimulatedCycle, Totals, owed
from domain.errors import Refusal

NDJSON = "application/x-ndjson"


async def started(
    service: Service, caller: Caller, given: SimulationInput, exact: Mapping[str, Any], rests: int
) -> AsyncGenerator[Step]:
    """A simulation that has begun: what could be refused would have been. Its first step is ``Begun``.

    Raises ``Invalid`` and ``Conflict``.
    """
    async with reading(service, caller) as known:
        question = await read_question(known, given, exact, Pace(0).rest)
    steps = simulate(service, caller, question, rests)
    begun = await anext(steps)
    return _again(begun, steps)


async def _again(first: Step, steps: AsyncGenerator[Step]) -> AsyncGenerator[Step]:
    async with aclosing(steps):
        yield first
        async for step in steps:
            yield step


@post("/simulations", status_code=200, media_type=NDJSON, guards=[requires("read")])
async def create_simulation(
    request: Asked,
    service: Serving,
    state: State,
    data: JSONBody[SimulationInput],
    detail: FromQuery[Detail] = Detail.cycles,
) -> Stream:
    """What customers would have paid with other prices, thresholds, credits or meters.

    The answer is a stream of JSON objects, one a line: ``begun``, then each ``customer`` as he is reckoned, with
    ``advanced`` in between, and at its end ``totals``. Without them it is not complete: a ``problem`` says why. Nothing
    is recorded. Whoever hangs up ends it.
    """
    steps = await started(service, request.auth, data, members(request), SIMULATION_RESTS)
    return Stream(_lines(steps, detail, state), media_type=NDJSON)


async def _lines(steps: AsyncGenerator[Step], detail: Detail, state: State) -> AsyncGenerator[bytes]:
    async with aclosing(steps):
        try:
            async for step in steps:
                yield msgspec.json.encode(told(step, detail)) + b"\n"
                if state.operating.draining.begun:
                    yield _problem("STOPPING", "the service stops; ask again")
                    return
        except Refusal as error:
            yield _problem(error.code, error.message)
        except LOST:
            yield _problem("DATABASE_UNAVAILABLE", UNAVAILABLE.partition(";")[0])


def _problem(code: str, message: str) -> bytes:
    return msgspec.json.encode({"type": "problem", "code": code, "message": message}) + b"\n"


def told(step: Step, detail: Detail) -> dict[str, Any]:
    """A step on the wire."""
    match step:
        case Begun():
            return {"type": "begun", "position": step.position, "customers": step.customers}
        case Advanced():
            return {"type": "advanced", "customers": step.customers}
        case SimulatedCustomer():
            return _customer(step, detail)
        case Totals():
            return _totals(step)


def _customer(customer: SimulatedCustomer, detail: Detail) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "type": "customer",
        "customer_id": customer.customer_id,
        "position": customer.position,
        "amounts": [_amounts(amounts) for amounts in customer.amounts()],
    }
    if detail is not Detail.amounts:
        answer["cycles"] = [_cycle(cycle, detail) for cycle in customer.cycles]
    return answer


def _amounts(amounts: Amounts) -> dict[str, Any]:
    return {
        "currency": amounts.currency,
        "current_amount": amounts.current,
        "proposed_amount": amounts.proposed,
        "difference": amounts.difference,
    }


def _cycle(cycle: SimulatedCycle, detail: Detail) -> dict[str, Any]:
    current, recorded = cycle.current, cycle.recorded
    answer: dict[str, Any] = {
        "subscription_id": current.subscription_id,
        "cycle_start": current.cycle_start,
        "cycle_end": current.cycle_end,
        **_amounts(Amounts(current.currency, owed(current), owed(cycle.proposed))),
        "invoice_id": recorded.document.invoice_id if recorded else None,
        "number": recorded.document.number if recorded else None,
        "recorded_amount": recorded.amount if recorded else None,
        "reproduced": cycle.reproduced,
    }
    if detail is Detail.invoices:
        answer |= {"current": current, "proposed": cycle.proposed}
    return answer


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "type": "totals",
        "customers": totals.customers,
        "cycles": totals.cycles,
        "invoices": totals.invoices,
        "invoices_reproduced": totals.reproduced,
        "amounts": [
            {
                **_amounts(one.amounts),
                "customers_more": one.more,
                "customers_less": one.less,
                "customers_same": one.same,
            }
            for _, one in sorted(totals.by_currency.items())
        ],
    }


ROUTER = Router("/", route_handlers=[create_simulation], tags=["Simulations"])
