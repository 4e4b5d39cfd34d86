"""The events pages: a tail of the log that grows while it is watched, and what was not recorded."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from litestar import Response, Router, get
from litestar.params import FromQuery
from litestar.response import Redirect, Template

from app.dashboard.event_search import Found, Sought, search
from app.dashboard.forms import Form
from app.dashboard.page import event_command, fragment, page
from app.http.events import SQL
from app.http.reading import Asked, PageNumber, Position, Serving
from app.http.reading import page as page_rows
from app.service import Service
from domain import instant
from domain.errors import Invalid, NotFound
from domain.event import read_metadata
from projections.database import Row
from projections.log_reader import head
from projections.usage import group_text

TAIL_ROWS = 50
"""Events on a page of the tail: two screens."""

NEWER_ROWS_MAX = 100
"""Events that are added to the tail at once; when more arrive in two seconds nobody reads them all."""

REJECTED_ROWS = 25
"""Rejected events on a page: each brings its reasons and its content."""

PAIRS_SHOWN = 4
"""Pairs of an event's metadata in a row of the tail; its own page has them all."""

Given: TypeAlias = FromQuery[str]


def pairs(metadata: str) -> list[tuple[str, str]]:
    """The metadata of an event as texts, numbers in plain notation, in the order in which it was sent."""
    return [(key, str(group_text(value))) for key, value in read_metadata(metadata).items()]


@get("/dashboard/events")
async def tail(
    request: Asked,
    service: Serving,
    event_name: Given = "",
    customer_id: Given = "",
    metadata: Given = "",
    event_id: Given = "",
    before: Position = 0,
) -> Template | Redirect:
    """The latest events, or those before a position; with an id, on to that event."""
    sought = Sought(event_name.strip(), customer_id.strip(), metadata.strip())
    form = Form(**msgspec.structs.asdict(sought), event_id=event_id.strip())
    if form.text("event_id"):
        try:
            return Redirect(f"/dashboard/events/{await _position_of(service, request, form.text('event_id'))}")
        except NotFound as error:
            form.wrong("event_id", f"{error.message}; look among the rejected events too")
    async with service.pool.acquire() as connection:
        end = (await head(connection, request.auth.tenant_id)).position
        try:
            # Nothing stands past the end, however far a caller asks.
            top = min(before, end + 1) if before else end + 1
            found = await search(connection, request.auth.tenant_id, sought, before=top, limit=TAIL_ROWS)
        except Invalid as error:
            form.refuse(error)
            found = Found([], 0)
    live = not before and not form.errors
    return page(
        request,
        "events/tail.html",
        title="Events",
        nav="events",
        status=422 if form.errors else 200,
        form=form,
        sought=sought,
        pairs_shown=PAIRS_SHOWN,
        before=before,
        curl=_first_event(request),
        **_shown(found, sought, end if live else None),
    )


@get("/dashboard/events/newer")
async def newer(
    request: Asked,
    service: Serving,
    after: Position,
    event_name: Given = "",
    customer_id: Given = "",
    metadata: Given = "",
) -> Template | Response[None]:
    """The rows past a position, to be put on top of the tail; nothing while the log stays where it is."""
    sought, tenant_id = Sought(event_name, customer_id, metadata), request.auth.tenant_id
    async with service.pool.acquire() as connection:
        end = (await head(connection, tenant_id)).position
        if end <= after:
            return Response(None, status_code=204)
        found = await search(connection, tenant_id, sought, after=after, before=end + 1, limit=NEWER_ROWS_MAX)
    return fragment(request, "events/rows.html", pairs_shown=PAIRS_SHOWN, fresh=True, **_shown(found, sought, end))


def _shown(found: Found, sought: Sought, end: int | None) -> dict[str, Any]:
    """What rows need: events, the address that continues before them, and the one that asks for newer ones."""
    return {
        "rows": [(row, pairs(row["metadata"])) for row in found.rows],
        "older": f"/dashboard/events?{sought.query(before=found.searched_to + 1)}" if found.searched_to else "",
        "poll": "" if end is None else f"/dashboard/events/newer?{sought.query(after=end)}",
        "end": end,
    }


async def _position_of(service: Service, request: Asked, event_id: str) -> int:
    """Where an event stands. Raises ``NotFound``."""
    row = await service.pool.fetchrow(SQL["event"], request.auth.tenant_id, event_id)
    if row is None:
        raise NotFound("event", event_id)
    position: int = row["position"]
    return position


def _first_event(request: Asked) -> str:
    event = {
        "customer_id": "ada",
        "event_name": "llm.completion",
        "metadata": {"tokens": 1280, "model": "large"},
    }
    return event_command(request, event)


@get("/dashboard/events/rejected")
async def rejected(
    request: Asked, service: Serving, event_id: Given = "", reason: Given = "", page_number: PageNumber = 0
) -> Template:
    """Events that were not recorded, latest first, and why."""
    rows, form = page_rows(page_number, REJECTED_ROWS), Form(event_id=event_id.strip(), reason=reason)
    found = await service.pool.fetch(
        SQL["rejected"],
        request.auth.tenant_id,
        form.text("event_id") or None,
        reason or None,
        rows.size + 1,
        rows.offset,
    )
    return page(
        request,
        "events/rejected.html",
        title="Rejected events",
        nav="events",
        form=form,
        query={"event_id": form.text("event_id"), "reason": reason},
        rows=[_rejected(row) for row in found[: rows.size]],
        page_number=page_number,
        has_more=len(found) > rows.size,
    )


def _rejected(row: Row) -> dict[str, Any]:
    problems = msgspec.json.decode(row["problems"], type=list[dict[str, Any]])
    return {
        "event_id": row["event_id"],
        "customer_id": row["customer_id"],
        "reason": row["reason"],
        "why": [str(problem.get("message", problem.get("code"))) for problem in problems],
        "content": row["content"],
        "recorded_at": instant.text(row["recorded_at"]),
    }


ROUTER = Router("/", route_handlers=[tail, newer, rejected])
