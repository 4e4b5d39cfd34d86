"""How an invoice came about: every line with its facts and its arithmetic, and the events behind each line."""

from __future__ import annotations

from typing import Annotated, TypeAlias
from urllib.parse import urlencode

import msgspec
from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Template

from app.audit.explaining import LineStory, events_behind, explain_invoice
from app.audit.line_events import Reason, Show
from app.dashboard.line_steps import KINDS, Step, written
from app.dashboard.page import page
from app.http.reading import Asked, Serving, path_id
from domain.rating import LineKind
from projections.log_reader import END

ROWS = 50
"""Events on a page."""

SHOWN = {
    Show.all: "All",
    Show.counted: "Counted",
    Show.left_out: "Left out",
    Show.late: "Late",
}
"""Which events are listed, in words."""

OUTCOMES = {
    None: ("counted", "good"),
    Reason.archived: ("meter archived", "quiet"),
    Reason.filtered: ("filter", "quiet"),
    Reason.unmeasured: ("no usable value", "warn"),
    Reason.retracted: ("voided", "warn"),
    Reason.recorded_later: ("recorded later", "warn"),
    Reason.not_deciding: ("does not decide", "quiet"),
    Reason.repeated: ("value seen before", "quiet"),
}
"""What a line made of an event, in words, and the tone of the pill that says so."""

After: TypeAlias = Annotated[int | None, QueryParameter(ge=1, le=END)]


class ShownStory(msgspec.Struct, frozen=True):
    """A line with its steps as people read them. ``events`` is empty for a line that has none."""

    story: LineStory
    kind: str
    steps: list[Step]
    unit: str
    events: str


@get("/dashboard/invoices/{invoice_id:str}/explain")
async def explanation_page(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Template:
    """An invoice, each line with everything that it rests on."""
    invoice_id = path_id(invoice_id, "invoice")
    found = await explain_invoice(service, request.auth, invoice_id)
    document = found.document
    return page(
        request,
        "invoices/explain.html",
        title=f"How {document.number} came about",
        nav="invoices",
        document=document,
        agrees=found.explanation.agrees,
        disagreements=found.explanation.disagreements,
        lines=[_shown(line, document.currency, invoice_id) for line in found.lines],
        totals=written(found.explanation.totals, document.currency),
    )


def _shown(told: LineStory, currency: str, invoice_id: str) -> ShownStory:
    line = told.explained.line
    unit = told.meter.measurement_unit if told.meter else ""
    listed = told.ground is not None and line.kind is not LineKind.overage
    events = f"/dashboard/invoices/{invoice_id}/explain/{told.number}" if listed else ""
    return ShownStory(told, KINDS[line.kind], written(told.explained.steps, currency, unit), unit, events)


@get("/dashboard/invoices/{invoice_id:str}/explain/{line:int}")
async def line_events_page(
    request: Asked,
    service: Serving,
    invoice_id: FromPath[str],
    line: FromPath[int],
    show: FromQuery[Show] = Show.all,
    after: After = None,
) -> Template:
    """The events behind a line, in the order of time, each with what the line made of it."""
    invoice_id = path_id(invoice_id, "invoice")
    found = await events_behind(service, request.auth, invoice_id, line, show=show, after=after, size=ROWS)
    query = {"show": show.value}
    resume = found.page.resume
    return page(
        request,
        "invoices/line_events.html",
        title=f"Events behind line {line}",
        nav="invoices",
        document=found.document,
        line=found.line,
        number=line,
        meter=found.meter,
        ground=found.ground,
        rows=[(event, *OUTCOMES[event.reason], found.corrected_by.get(event.position)) for event in found.page.events],
        show=show,
        choices=SHOWN,
        after=after,
        onward="" if resume is None else urlencode({**query, "after": resume}),
    )


ROUTER = Router("/", route_handlers=[explanation_page, line_events_page])
