"""What stands on an invoice or an estimate, each line explained, and the events behind a line."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlencode

import msgspec
from litestar import Router, get
from litestar.params import FromQuery, QueryParameter
from litestar.response import Template

from app.audit.invoice_facts import SQL
from app.audit.line_events import contributed
from app.dashboard.event_search import WINDOWS_MAX
from app.dashboard.event_trail import CATALOG
from app.dashboard.line_steps import Explained, explain
from app.dashboard.page import page
from app.documents.page import sums_of
from app.http.reading import Asked, Position, Serving, read_instant
from domain import instant
from domain.errors import Invalid, NotFound
from domain.event import read_metadata
from domain.invoice import Document
from domain.rating import LineKind
from projections.counting import CountedMeter
from projections.database import Database, Row
from projections.quantities import counted_meters

ROWS = 50
"""Events behind a line on one page."""

WINDOW_EVENTS = 1_000
"""Events read at once while looking for those that the meter counts."""

MeterId: TypeAlias = Annotated[str, QueryParameter(min_length=1)]
CustomerId: TypeAlias = Annotated[str, QueryParameter(min_length=1)]


class ShownLine(msgspec.Struct, frozen=True):
    """A line with its steps, and the address of the events behind it; empty when there are none."""

    explained: Explained
    events: str


async def shown_document(database: Database, tenant_id: str, document: Document) -> dict[str, Any]:
    """What a template needs of a document: its lines explained, and its sums."""
    ids = [line.meter_id for line in document.lines if line.meter_id is not None]
    rows = await database.fetch(CATALOG["meters_by_id"], tenant_id, ids)
    units = {row["meter_id"]: row["measurement_unit"] for row in rows}
    lines = [
        ShownLine(explain(line, document.currency, units.get(line.meter_id or "", "")), _events_path(document, number))
        for number, line in enumerate(document.lines, start=1)
    ]
    return {"document": document, "lines": lines, "sums": list(sums_of(document))}


def _events_path(document: Document, number: int) -> str:
    """Where the events behind a line are listed; of an invoice each with what became of it."""
    line = document.lines[number - 1]
    if line.meter_id is None or line.kind is LineKind.overage:
        return ""
    if document.invoice_id is not None:
        return f"/dashboard/invoices/{document.invoice_id}/explain/{number}"
    query = {
        "meter_id": line.meter_id,
        "customer_id": document.customer_id,
        "start": line.cycle_start or document.cycle_start,
        "end": line.cycle_end or document.cycle_end,
        "known_at": document.position,
    }
    return f"/dashboard/events/counted?{urlencode(query)}"


@get("/dashboard/events/counted")
async def counted(
    request: Asked,
    service: Serving,
    meter_id: MeterId,
    customer_id: CustomerId,
    start: FromQuery[str],
    end: FromQuery[str],
    known_at: Position,
    after: FromQuery[str | None] = None,
    after_position: Position = 0,
) -> Template:
    """The events of one customer in a span that a meter counts, in the order of time.

    Those that were recorded or voided past ``known_at`` are marked: the invoice of that position does not know of it.
    """
    span = (_instant(start, "start"), _instant(end, "end"))
    past = (read_instant(after, "after") or span[0], after_position)
    async with service.pool.acquire() as connection:
        meter = (await counted_meters(connection, request.auth.tenant_id)).get(meter_id)
        if meter is None:
            raise NotFound("meter", meter_id)
        (described,) = await connection.fetch(CATALOG["meters_by_id"], request.auth.tenant_id, [meter_id])
        found, resume = await _counted(connection, request.auth.tenant_id, meter, customer_id, span, past)
    query = {"meter_id": meter_id, "customer_id": customer_id, "start": start, "end": end, "known_at": known_at}
    if resume is not None:
        query |= {"after": instant.text(resume[0]), "after_position": resume[1]}
    return page(
        request,
        "events/counted.html",
        title="Events behind a line",
        nav="events",
        meter=described,
        aggregation=meter.aggregation,
        customer_id=customer_id,
        span=span,
        known_at=known_at,
        rows=[
            (row, contributed(meter.aggregation, read_metadata(row["metadata"])), _mark(row, known_at)) for row in found
        ],
        onward=f"/dashboard/events/counted?{urlencode(query)}" if resume is not None else "",
    )


def _instant(value: str, field: str) -> datetime:
    read = read_instant(value, field)
    if read is None:
        raise Invalid(field, "is required")
    return read


async def _counted(
    database: Database,
    tenant_id: str,
    meter: CountedMeter,
    customer_id: str,
    span: tuple[datetime, datetime],
    past: tuple[datetime, int],
) -> tuple[list[Row], tuple[datetime, int] | None]:
    """A page of the events that the meter counts, and where to go on, or ``None`` at the end."""
    passing: list[Row] = []
    for _ in range(WINDOWS_MAX):
        rows = await database.fetch(
            SQL["usage_of_span"], tenant_id, customer_id, meter.event_name, *span, *past, WINDOW_EVENTS
        )
        for row in rows:
            past = (row["timestamp"], row["position"])
            if meter.counts(row["position"], read_metadata(row["metadata"])):
                passing.append(row)
                if len(passing) == ROWS:
                    return passing, past
        if len(rows) < WINDOW_EVENTS:
            return passing, None
    return passing, past


def _mark(row: Row, known_at: int) -> str:
    """What the reader of an invoice has to know of an event: empty when it is simply counted."""
    voided = row["retracted_position"]
    if row["position"] > known_at:
        return "recorded later"
    if voided is not None:
        return "voided" if voided <= known_at else "voided later"
    return ""


ROUTER = Router("/", route_handlers=[counted])
