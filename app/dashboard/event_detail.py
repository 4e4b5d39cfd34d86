"""The page of one usage event: what was recorded, and its way through meters and cycles to an invoice line."""

from __future__ import annotations

from litestar import Router, get
from litestar.params import FromPath
from litestar.response import Template

from app.dashboard.event_search import SQL
from app.dashboard.event_trail import SUBSCRIPTIONS_SHOWN, Landed, Verdict, landings, verdicts
from app.dashboard.events import pairs
from app.dashboard.line_steps import KINDS
from app.dashboard.page import page
from app.http.reading import Asked, Serving
from app.reading_log import reading
from domain.errors import NotFound
from projections.counting import HOUR, hour_of
from projections.log_reader import END

OUTCOMES = {
    "counted": ("Counted", "good"),
    "filtered": ("Not counted: filter", "quiet"),
    "unmeasured": ("Not counted: no usable value", "warn"),
    "archived": ("Not counted: archived then", "quiet"),
    "voided": ("Voided: counts no more", "warn"),
    "waiting": ("Being counted", "info"),
}
"""What a meter makes of an event, in words, and the tone of the pill that says so."""

ON_LINES = ("counted", "voided", "waiting")
"""The outcomes whose meters may have a line for the event."""


@get("/dashboard/events/{position:int}")
async def event_page(request: Asked, service: Serving, position: FromPath[int]) -> Template:
    """The usage event at a position of the log."""
    tenant_id = request.auth.tenant_id
    row = None
    if 1 <= position <= END:
        row = await service.pool.fetchrow(SQL["usage_at"], tenant_id, position)
    if row is None:
        raise NotFound("usage event at position", str(position))
    # As of the log's end, so that nothing made a moment ago is denied; quantities follow within moments.
    async with reading(service, request.auth, latest=True) as known:
        judged = await verdicts(known, row)
        counting = frozenset(verdict.meter_id for verdict in judged if verdict.outcome in ON_LINES)
        landed = await landings(known, row, counting)
        counted, others = known.counted, len(await known.meters()) - len(judged)
    hour = hour_of(row["timestamp"])
    return page(
        request,
        "events/event.html",
        title=f"Event {row['event_id']}",
        nav="events",
        event=row,
        pairs=pairs(row["metadata"]),
        hour=(hour, hour + HOUR),
        verdicts=judged,
        outcomes=OUTCOMES,
        others=others,
        waiting=any(verdict.outcome == "waiting" for verdict in judged),
        counted=counted,
        landed=landed,
        kinds=KINDS,
        subscriptions_shown=SUBSCRIPTIONS_SHOWN,
        summary=_summary(judged, landed),
    )


def _summary(judged: list[Verdict], landed: list[Landed]) -> str:
    """The event's way in one sentence."""
    counting = [verdict for verdict in judged if verdict.outcome == "counted"]
    meters = f"{len(counting)} of {len(judged)} meters of its name count it" if judged else "No meter has its name"
    cycles = [each for each in landed if each.cycle is not None]
    if not landed:
        return f"{meters}; its customer has no subscription, so it is kept and not billed."
    if not cycles:
        return f"{meters}; it falls into no cycle of its customer, so it is kept and not billed."
    invoiced = [each.bill.document.number or "" for each in cycles if each.bill is not None]
    where = f"on invoice {', '.join(invoiced)}" if invoiced else "on the open estimate"
    return f"{meters}; its cycle is {where}."


ROUTER = Router("/", route_handlers=[event_page])
