"""The forecast: what a cycle comes to at its end if usage goes on at the pace that it had so far.

Only quantities are carried on, in a straight line from the cycle's start through now. What they cost is then rated like
any usage, so that thresholds, tiers, packages, credits, overage and taxes have their say: money is never scaled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from domain import instant, number
from domain.aggregation import Kind
from domain.claim import Claim, Step
from domain.rating import ZERO, CountedOverage, CycleFacts, MeterUsage, RatedProduct, chargeable_units

GROWING = frozenset({Kind.count, Kind.sum})
"""What grows with time. A greatest, least, latest or average value does not, and distinct values soon come again: they
are taken as they are."""

EARLIEST_SHARE = 50
"""A forecast waits until this part of the cycle has passed, 2 %: some 14 hours of a month. Before that one busy minute
would be taken for a month of them."""

Drawn = tuple[Decimal, CountedOverage | None]
"""The credits that a line draws, and what counts as overage beyond them."""


def tells(start: datetime, end: datetime, now: datetime) -> bool:
    """Whether a forecast of the cycle says anything: it has run for a while, and has not ended."""
    passed = instant.micros(now) - instant.micros(start)
    return now < end and passed * EARLIEST_SHARE >= instant.micros(end) - instant.micros(start)


def carried_on(kind: Kind, consumed: Decimal, start: datetime, now: datetime, until: datetime) -> Decimal:
    """What ``consumed`` since ``start`` will be at ``until``, at the same pace; events are counted whole.

    It stays as it is where ``until`` has passed, where nothing has begun, and for quantities that do not grow.
    """
    if kind not in GROWING or not start < now < until:
        return consumed
    passed = Decimal(instant.micros(now) - instant.micros(start))
    whole = Decimal(instant.micros(until) - instant.micros(start))
    places = 0 if kind is Kind.count else number.QUOTIENT_PLACES
    return number.quotient(number.times(consumed, whole), passed, places)


def carried_on_claim(
    claim: Claim, kind: Kind, consumed: Sequence[Decimal], free_units: Decimal, now: datetime
) -> Claim:
    """The claim on credits that the line will have: steps that have passed stay, later ones follow the pace.

    ``consumed`` is what the meter counted from the cycle's start to each step; the last one is all there is.
    """
    start = claim.key.cycle_start
    steps = tuple(
        Step(
            step.until,
            chargeable_units(
                counted if step.until <= now else carried_on(kind, consumed[-1], start, now, step.until), free_units
            ),
        )
        for step, counted in zip(claim.steps, consumed, strict=True)
    )
    return msgspec.structs.replace(claim, steps=steps)


def foreseen(
    facts: CycleFacts, kinds: Mapping[str, Kind], drawn: Mapping[tuple[str, str], Drawn], now: datetime
) -> CycleFacts:
    """The facts of the cycle at its end, to be rated. Fees and corrections of earlier cycles are what they are.

    ``kinds`` says for each meter how it counts; ``drawn`` what each line (product and meter) draws by then.
    """

    def usage_of(product: RatedProduct, usage: MeterUsage) -> MeterUsage:
        meter_id = usage.price.meter_id
        credits, overage = drawn.get((product.product_id, meter_id), (ZERO, None))
        consumed = carried_on(kinds[meter_id], usage.consumed, facts.start, now, facts.end)
        return msgspec.structs.replace(usage, consumed=consumed, credits=credits, overage=overage)

    products = tuple(
        msgspec.structs.replace(product, usage=tuple(usage_of(product, usage) for usage in product.usage))
        for product in facts.products
    )
    return msgspec.structs.replace(facts, products=products)
