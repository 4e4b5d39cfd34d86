"""The cycles of a subscription that are not closed, as its pages show them: usage, estimate and forecast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import msgspec

from app.dashboard.forecast import forecast_of
from app.live.held import shown_cycles
from app.opening import open_cycles
from app.reckoning import Reckoning, reckon
from domain import instant, number
from domain.invoice import Document
from domain.plan import OpenedCycle
from domain.rating import LineKind
from domain.subscription import Subscription
from projections.aggregates import Aggregates

PER_MILLE = 1_000
"""The steps of a cycle's progress bar: finer than it has pixels."""

STEPS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
"""What the distance of a cycle's end is told in."""


class MeterShown(msgspec.Struct, frozen=True):
    """What a meter counts in the cycle. ``forecast`` is what it will count by its end, empty where none is told.

    ``free`` is how much of the free threshold is used, in per mille; ``None`` without a threshold.
    """

    meter_id: str
    name: str
    unit: str
    quantity: str
    forecast: str
    free_units: str
    free: int | None


class CycleShown(msgspec.Struct, frozen=True):
    """A cycle with its estimate. ``start`` and ``end`` are texts as on the wire; ``passed`` is in per mille of it.

    ``ends`` says in words how far its end is from the tenant's now, which a test clock may have moved.
    """

    subscription_id: str
    start: str
    end: str
    passed: int
    ends: str
    ended: bool
    trial: bool
    document: Document
    forecast: Document | None
    meters: Sequence[MeterShown]

    @property
    def key(self) -> str:
        """What names the cycle among the live values."""
        return f"{self.subscription_id}/{self.start}"


async def cycles_shown(known: Aggregates, subscription: Subscription) -> list[CycleShown]:
    """The earliest cycle that is not closed, which the next invoice is for, and the newest; often they are one."""
    await open_cycles(known, subscription, known.now)
    return [await cycle_shown(known, subscription, cycle) for cycle in shown_cycles(subscription)]


async def cycle_shown(known: Aggregates, subscription: Subscription, cycle: OpenedCycle) -> CycleShown:
    """One cycle that is not closed, with its estimate and forecast."""
    reckoning = await reckon(known, subscription, cycle)
    forecast = await forecast_of(known, reckoning)
    return CycleShown(
        subscription_id=subscription.object_id,
        start=instant.text(cycle.start),
        end=instant.text(cycle.end),
        passed=_passed(cycle, known),
        ends=_ends(cycle.end - known.now),
        ended=cycle.end <= known.now,
        trial=cycle.trial,
        document=await reckoning.document(known),
        forecast=forecast,
        meters=_meters(reckoning, forecast),
    )


def _passed(cycle: OpenedCycle, known: Aggregates) -> int:
    whole = instant.micros(cycle.end) - instant.micros(cycle.start)
    passed = instant.micros(known.now) - instant.micros(cycle.start)
    return max(0, min(PER_MILLE, passed * PER_MILLE // whole))


def _ends(left: timedelta) -> str:
    name, length = next((step for step in STEPS if abs(left) >= step[1]), STEPS[-1])
    count = abs(left) // length
    many = f"{count} {name}" if count == 1 else f"{count} {name}s"
    return f"ends in {many}" if left > timedelta() else f"ended {many} ago"


def _meters(reckoning: Reckoning, forecast: Document | None) -> list[MeterShown]:
    """Each meter once, however many products are priced by it."""
    foreseen = {
        line.meter_id: line.consumed_units
        for line in (forecast.lines if forecast else ())
        if line.kind is LineKind.usage
    }
    found: dict[str, MeterShown] = {}
    lines = {line.meter_id: line for line in reckoning.rated.lines if line.kind is LineKind.usage}
    for product in reckoning.facts.products:
        for usage in product.usage:
            meter_id = usage.price.meter_id
            found.setdefault(
                meter_id,
                MeterShown(
                    meter_id=meter_id,
                    name=usage.name,
                    unit=usage.measurement_unit,
                    quantity=lines[meter_id].consumed_units,
                    forecast=foreseen.get(meter_id, ""),
                    free_units=usage.price.free_threshold,
                    free=_share(usage.consumed, usage.price.free_units),
                ),
            )
    return list(found.values())


def _share(used: Decimal, free: Decimal) -> int | None:
    """How much of the free units is used, in per mille; past them it is all."""
    if not free:
        return None
    return max(0, min(PER_MILLE, int(number.quotient(number.times(used, Decimal(PER_MILLE)), free, 0))))
