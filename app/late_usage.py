"""Usage that was recorded or retracted after its cycle was closed: found, rated again, put on an invoice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from app.invoicing import documents_of
from domain import instant
from domain.invoice import Document
from domain.meter import Meter
from domain.plan import OpenedCycle
from domain.product import Product
from domain.rating import Computation, Line, LineKind, adjustment_line, computation_of, invoiced_computation, rate
from domain.subscription import Subscription
from projections.aggregates import Aggregates
from projections.late_hours import LateHour
from projections.rating_facts import LineCredits, MeterKey, corrected_facts, meter_lines, prices_of

HOUR = timedelta(hours=1)


class LateCycle(msgspec.Struct, frozen=True):
    """A closed cycle with usage that its invoice does not know of, and the lines that it touches.

    ``priced_at`` is the position of its invoice, ``recorded_at`` when the first of that usage was recorded, or when an
    invoice was voided since, and ``invoiced`` what each of the lines has come to so far.
    """

    cycle: OpenedCycle
    priced_at: int
    recorded_at: datetime
    invoiced: Mapping[MeterKey, Computation]


async def unsettled_hours(known: Aggregates, subscription: Subscription) -> list[LateHour]:
    """The customer's hours that changed after a close, and that this subscription has not settled since."""
    return await known.late_hours(subscription.customer_id, subscription.settled_position)


async def late_cycles(known: Aggregates, subscription: Subscription) -> list[LateCycle]:
    """The closed cycles of a subscription that have to be rated again, as known at the position.

    Since an invoice was voided that is also what any document ever corrected: a correction may have gone with it.
    """
    hours = await unsettled_hours(known, subscription)
    closed = [cycle for cycle in subscription.cycles if cycle.invoice_id is not None]
    if not closed or not (hours or subscription.reopened_at):
        return []
    documents = await documents_of(known, subscription.object_id)
    standing = [document for document, stood in documents if stood]
    found: list[LateCycle] = []
    for cycle in closed:
        own = next(document for document in standing if document.invoice_id == cycle.invoice_id)
        late = [hour for hour in hours if cycle.start - HOUR < hour.hour < cycle.end and hour.position > own.position]
        corrected = [document for document, _ in documents] if subscription.reopened_at else []
        touched = await _touched(known, cycle, own, {hour.meter_id for hour in late}, corrected)
        if touched:
            invoiced = {key: _invoiced(standing, own.cycle_start, key, own.lines) for key in touched}
            times = [min(hour.recorded_at for hour in late)] if late else []
            times += [subscription.reopened_at] if subscription.reopened_at else []
            found.append(LateCycle(cycle, own.position, max(times), invoiced))
    return found


async def _touched(
    known: Aggregates, cycle: OpenedCycle, own: Document, meters: Collection[str], corrected: Sequence[Document]
) -> list[MeterKey]:
    """The lines of a closed cycle that count with these meters, and those that any of the documents ever corrected."""
    if not meters and not corrected:
        return []
    lines = meter_lines(await prices_of(known, cycle, own.position))
    touched = [line.key for line in lines if line.price.meter_id in meters]
    touched += [_key(line) for document in corrected for line in _corrections(document, own.cycle_start)]
    return list(dict.fromkeys(touched))


def _corrections(document: Document, cycle_start: str) -> list[Line]:
    """The lines of a document that correct the cycle with this start."""
    return [line for line in document.lines if line.kind is LineKind.adjustment and line.cycle_start == cycle_start]


def _key(line: Line) -> MeterKey:
    return line.product_id, str(line.meter_id)


def _invoiced(documents: Sequence[Document], cycle_start: str, key: MeterKey, own: Sequence[Line]) -> Computation:
    """What a line of a cycle has come to. ``own`` are the lines of the cycle's own invoice."""
    adjustments = [line for document in documents for line in _lines_of(_corrections(document, cycle_start), key)]
    return invoiced_computation(_lines_of(own, key), adjustments)


def _lines_of(lines: Iterable[Line], key: MeterKey) -> list[Line]:
    return [line for line in lines if _key(line) == key]


async def adjustment_lines(
    known: Aggregates, subscription: Subscription, late: LateCycle, settled: Mapping[MeterKey, LineCredits]
) -> list[Line]:
    """One line for each (product, meter) of a closed cycle whose computation differs from what was invoiced."""
    facts = await corrected_facts(known, subscription, late.cycle, settled, late.priced_at, late.invoiced.keys())
    return await _differences(known, late.cycle, late.invoiced, rate(facts).lines)


async def reissue_lines(
    known: Aggregates, subscription: Subscription, cycle: OpenedCycle, own: Sequence[Line]
) -> list[Line]:
    """What takes back standing corrections of a voided invoice's cycle, on the invoice that is issued for it again.

    That one's ``own`` lines have all usage in them, so without these the corrections would be paid twice.
    """
    start = instant.text(cycle.start)
    standing = [document for document, stood in await documents_of(known, subscription.object_id) if stood]
    keys = dict.fromkeys(_key(line) for document in standing for line in _corrections(document, start))
    return await _differences(known, cycle, {key: _invoiced(standing, start, key, own) for key in keys}, own)


async def _differences(
    known: Aggregates, cycle: OpenedCycle, invoiced: Mapping[MeterKey, Computation], rated: Sequence[Line]
) -> list[Line]:
    """One line for each (product, meter) that came to something else than what ``rated`` says."""
    lines: list[Line] = []
    for key, before in invoiced.items():
        own = [line for line in _lines_of(rated, key) if line.kind is not LineKind.adjustment]
        after = computation_of(own)
        if after != before:
            product = await known.at_instant(Product, key[0], cycle.end)
            meter = await known.at_instant(Meter, key[1], cycle.end)
            lines.append(
                adjustment_line(
                    product_id=key[0],
                    product_name=product.name,
                    meter_id=key[1],
                    meter_name=meter.name,
                    # A price version that was recorded since may not name the meter any more.
                    price_per_unit=next((line.price_per_unit for line in own if line.kind is LineKind.usage), "0"),
                    cycle_start=cycle.start,
                    cycle_end=cycle.end,
                    before=before,
                    after=after,
                )
            )
    return lines
