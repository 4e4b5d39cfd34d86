"""Usage that was recorded or retracted after its cycle was closed: found, rated again, put on an invoice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from app.invoicing import standing_documents
from domain.invoice import Document
from domain.plan import OpenedCycle
from domain.rating import Computation, Line, LineKind, adjustment_line, computation_of, rate
from domain.subscription import Subscription
from projections.aggregates import Aggregates
from projections.late_hours import LateHour, late_hours
from projections.rating_facts import LineCredits, MeterKey, corrected_facts, meter_lines, prices_of

HOUR = timedelta(hours=1)


class LateCycle(msgspec.Struct, frozen=True):
    """A closed cycle with usage that its invoice does not know of, and the lines that it touches.

    ``priced_at`` is the position of its invoice, ``recorded_at`` when the first of that usage was recorded, and
    ``invoiced`` what each of the lines has come to so far.
    """

    cycle: OpenedCycle
    priced_at: int
    recorded_at: datetime
    invoiced: Mapping[MeterKey, Computation]


async def unsettled_hours(known: Aggregates, subscription: Subscription) -> list[LateHour]:
    """The customer's hours that changed after a close, and that this subscription has not settled since."""
    return await late_hours(
        known.database,
        known.tenant_id,
        subscription.customer_id,
        subscription.settled_position,
        known.counted,
    )


async def late_cycles(known: Aggregates, subscription: Subscription) -> list[LateCycle]:
    """The closed cycles of a subscription that have to be rated again, as known at the position."""
    hours = await unsettled_hours(known, subscription)
    closed = [cycle for cycle in subscription.cycles if cycle.invoice_id is not None]
    found: list[LateCycle] = []
    documents: Sequence[Document] | None = None
    for cycle in closed if hours else []:
        late = [hour for hour in hours if cycle.start - HOUR < hour.hour < cycle.end]
        if not late:
            continue
        if documents is None:
            documents = await standing_documents(
                known.database, known.tenant_id, subscription.object_id, known.position
            )
        own = next(document for document in documents if document.invoice_id == cycle.invoice_id)
        unknown = [hour for hour in late if hour.position > own.position]
        meters = {hour.meter_id for hour in unknown}
        lines = meter_lines(await prices_of(known, cycle, own.position))
        touched = [line.key for line in lines if line.price.meter_id in meters]
        if touched:
            invoiced = {key: _invoiced(documents, own, key) for key in touched}
            found.append(LateCycle(cycle, own.position, min(hour.recorded_at for hour in unknown), invoiced))
    return found


def _invoiced(documents: Sequence[Document], own: Document, key: MeterKey) -> Computation:
    """What a line of a closed cycle has come to: the latest computation, and the sum of the amounts."""
    first = computation_of([line for line in own.lines if _is_of(line, key) and line.kind is not LineKind.adjustment])
    adjustments = [
        line
        for document in documents
        for line in document.lines
        if line.kind is LineKind.adjustment and _is_of(line, key) and line.cycle_start == own.cycle_start
    ]
    latest = adjustments[-1].after if adjustments else first
    assert latest is not None, "an adjustment shows both computations"
    return msgspec.structs.replace(latest, amount=first.amount + sum(line.amount for line in adjustments))


def _is_of(line: Line, key: MeterKey) -> bool:
    return (line.product_id, line.meter_id) == key


async def adjustment_lines(
    known: Aggregates, subscription: Subscription, late: LateCycle, settled: Mapping[MeterKey, LineCredits]
) -> list[Line]:
    """One line for each (product, meter) of a closed cycle whose computation differs from what was invoiced."""
    facts = await corrected_facts(known, subscription, late.cycle, settled, late.priced_at, late.invoiced.keys())
    rated = rate(facts).lines
    names = {
        (product.product_id, usage.price.meter_id): (product.name, usage.name)
        for product in facts.products
        for usage in product.usage
    }
    lines: list[Line] = []
    for key, before in late.invoiced.items():
        own = [line for line in rated if _is_of(line, key)]
        after = computation_of(own)
        if after != before:
            product_name, meter_name = names[key]
            lines.append(
                adjustment_line(
                    product_id=key[0],
                    product_name=product_name,
                    meter_id=key[1],
                    meter_name=meter_name,
                    price_per_unit=next(line.price_per_unit for line in own if line.kind is LineKind.usage),
                    cycle_start=late.cycle.start,
                    cycle_end=late.cycle.end,
                    before=before,
                    after=after,
                )
            )
    return lines
