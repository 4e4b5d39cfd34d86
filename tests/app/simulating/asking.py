"""Asking for simulations in tests."""

from __future__ import annotations

from app.projecting import project_all
from app.simulating.question import Question
from app.simulating.running import simulate
from domain.comparison import SimulatedCustomer, SimulatedCycle, Totals
from domain.price import MeterPrice
from domain.proposal import ProductChange, Proposal, Span
from tests.app.shop import Shop

EVER = Span()
"""Every cycle that has begun."""


async def simulated(
    shop: Shop, proposal: Proposal | None = None, span: Span = EVER
) -> tuple[list[SimulatedCustomer], Totals]:
    """The customers and the totals of a simulation that does not rest, of all that is recorded."""
    await project_all(shop.service)
    question = Question(proposal or Proposal(), span)
    steps = [step async for step in simulate(shop.service, shop.caller, question, rests=0)]
    (totals,) = (step for step in steps if isinstance(step, Totals))
    return [step for step in steps if isinstance(step, SimulatedCustomer)], totals


async def cycles_of(shop: Shop, proposal: Proposal | None = None, span: Span = EVER) -> list[SimulatedCycle]:
    """The cycles of all customers, in the order in which they were closed."""
    customers, _ = await simulated(shop, proposal, span)
    return [cycle for customer in customers for cycle in customer.cycles]


def repriced(price_per_unit: str, meter_id: str = "calls", product_id: str = "api", **changes: str) -> Proposal:
    """Another price per unit of one meter of one product."""
    line = MeterPrice(meter_id=meter_id, price_per_unit=price_per_unit, **changes)
    return Proposal({product_id: ProductChange(meters=(line,))})
