"""Explaining an issued invoice: its lines with everything they rest on, and the events behind each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from app.audit.invoice_facts import SQL, Ground, InvoiceFacts, IssuedInvoice, issued_invoice
from app.audit.line_events import DECIDING, EventPage, EventsAsked, Judged, Show, line_events
from app.audit.price_history import RecordedVersion, price_history
from app.service import Caller, Service
from domain import instant
from domain.errors import NotFound
from domain.explanation import ExplainedLine, Explanation, MeterKey, explain
from domain.grant import Grant
from domain.invoice import Document
from domain.line_steps import DrawnCredits, GrantDraw
from domain.meter import Meter
from domain.rating import Line, LineKind
from projections.aggregates import Aggregates
from projections.database import Database

LOG = logging.getLogger("taximeter.audit")


class DrawnGrant(msgspec.Struct, frozen=True):
    """A grant that a line drew on, and what it drew."""

    entitlement_id: str
    grant: Grant
    draw: GrantDraw


class LineStory(msgspec.Struct, frozen=True, kw_only=True):
    """A line and what it rests on. ``number`` counts from 1; ``ground`` and ``meter`` are ``None`` without a meter.

    ``deciding`` is the position of the event whose value is the quantity, where one is.
    """

    number: int
    explained: ExplainedLine
    prices: Sequence[RecordedVersion]
    ground: Ground | None = None
    meter: Meter | None = None
    deciding: int | None = None
    draws: Sequence[DrawnGrant] = ()


class InvoiceStory(msgspec.Struct, frozen=True):
    """An invoice explained."""

    document: Document
    status: str
    explanation: Explanation
    lines: Sequence[LineStory]


class Corrected(msgspec.Struct, frozen=True):
    """The document that took a late event in."""

    invoice_id: str
    number: str


class BehindLine(msgspec.Struct, frozen=True):
    """A page of the events behind a line, and the documents that took the late ones in, by their positions."""

    document: Document
    line: Line
    meter: Meter | None
    ground: Ground | None
    page: EventPage
    corrected_by: dict[int, Corrected]


async def explain_invoice(service: Service, caller: Caller, invoice_id: str) -> InvoiceStory:
    """Explain an invoice by what was known at its position. Raises ``NotFound``.

    What does not come to what was billed is part of the explanation, and an error in the service's log.
    """
    async with issued_invoice(service, caller, invoice_id) as issued:
        facts = InvoiceFacts(issued)
        basis = await facts.basis()
        adjusted = await facts.adjusted(basis)
        explanation = explain(issued.document, basis, adjusted, await facts.wallet_balance())
        if not explanation.agrees:
            wrong = [*explanation.disagreements, *(text for line in explanation.lines for text in line.disagreements)]
            LOG.error("invoice %s is not what its facts come to: %s", invoice_id, "; ".join(wrong))
        drawn = [basis.drawn] * (len(issued.document.lines) - len(adjusted)) + [one.basis.drawn for one in adjusted]
        lines = [
            await _line_story(issued, facts, number, explained, drawn[number - 1])
            for number, explained in enumerate(explanation.lines, start=1)
        ]
        return InvoiceStory(issued.document, issued.status, explanation, lines)


async def _line_story(
    issued: IssuedInvoice,
    facts: InvoiceFacts,
    number: int,
    explained: ExplainedLine,
    drawn: Mapping[MeterKey, DrawnCredits],
) -> LineStory:
    line, known, document = explained.line, issued.known, issued.document
    ground = await facts.ground(line)
    if ground is None:
        start = instant.parse(document.cycle_start)
        prices = await price_history(known, line.product_id, start, document.position)
        return LineStory(number=number, explained=explained, prices=prices)
    key = (line.product_id, ground.usage.meter.meter_id)
    return LineStory(
        number=number,
        explained=explained,
        prices=await price_history(known, line.product_id, ground.cycle.start, ground.own.position),
        ground=ground,
        meter=await known.at_instant(Meter, key[1], ground.cycle.end),
        deciding=await _deciding(facts, ground),
        draws=await _draws(facts, drawn.get(key)),
    )


async def _deciding(facts: InvoiceFacts, ground: Ground) -> int | None:
    return await facts.deciding(ground.usage) if ground.usage.meter.aggregation.type in DECIDING else None


async def _draws(facts: InvoiceFacts, drawn: DrawnCredits | None) -> list[DrawnGrant]:
    if drawn is None or not drawn.draws:
        return []
    grants = await facts.grants(drawn.entitlement_id, [draw.grant_id for draw in drawn.draws])
    return [DrawnGrant(drawn.entitlement_id, *one) for one in zip(grants, drawn.draws, strict=True)]


async def events_behind(
    service: Service, caller: Caller, invoice_id: str, number: int, *, show: Show, after: int | None, size: int
) -> BehindLine:
    """A page of the events behind line ``number`` of an invoice, in the order of time; none where it has no meter.

    ``after`` is where the page before ended. Raises ``NotFound``, ``Invalid``.
    """
    async with issued_invoice(service, caller, invoice_id) as issued:
        if not 1 <= number <= len(issued.document.lines):
            raise NotFound("line", str(number))
        facts, line, known = InvoiceFacts(issued), issued.document.lines[number - 1], issued.known
        ground = await facts.ground(line)
        if ground is None or line.kind is LineKind.overage:
            # An overage is of the credits that its usage line wanted: that one has the events.
            return BehindLine(issued.document, line, None, None, EventPage([], None), {})
        deciding = await _deciding(facts, ground)
        asked = EventsAsked(usage=ground.usage, deciding=deciding, invoiced_at=ground.own.position, show=show)
        page = await line_events(known.database, asked, after, size)
        meter = await known.at_instant(Meter, ground.usage.meter.meter_id, ground.cycle.end)
        corrected = await _corrected_by(issued.known, issued.document.subscription_id, line, ground, page.events)
        return BehindLine(issued.document, line, meter, ground, page, corrected)


async def _corrected_by(
    known: Aggregates, subscription_id: str, line: Line, ground: Ground, events: Sequence[Judged]
) -> dict[int, Corrected]:
    """By the position of each late event, the first document that stands today and corrected the line since."""
    late = [event for event in events if event.late]
    if not late:
        return {}
    correcting = await _correcting(known.database, known.tenant_id, subscription_id, line, ground)
    found: dict[int, Corrected] = {}
    for event in late:
        document = next((one for one in correcting if one.position >= event.changed_position), None)
        if document is not None:
            found[event.position] = Corrected(str(document.invoice_id), str(document.number))
    return found


async def _correcting(
    database: Database, tenant_id: str, subscription_id: str, line: Line, ground: Ground
) -> list[Document]:
    """The documents that stand today and correct the line's meter in the line's cycle, oldest first."""
    start = instant.text(ground.cycle.start)
    rows = await database.fetch(SQL["standing_documents"], tenant_id, subscription_id)
    documents = [msgspec.json.decode(row["document"], type=Document) for row in rows]
    return [
        document
        for document in documents
        if any(
            (one.product_id, one.meter_id, one.cycle_start) == (line.product_id, line.meter_id, start)
            for one in document.lines
            if one.kind is LineKind.adjustment
        )
    ]
