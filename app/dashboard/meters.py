"""The pages of meters: the list with what they count now, and one meter with its charts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from litestar import Router, get
from litestar.params import FromPath, FromQuery
from litestar.response import Template

from app.dashboard import meter_form
from app.dashboard.archiving import archive_routes
from app.dashboard.meter_counts import (
    GROUPED_EVENTS_MAX,
    WINDOWS,
    Counted,
    Groups,
    Span,
    TooMuch,
    bounded,
    count_groups,
    count_windows,
    span_of,
)
from app.dashboard.meter_counts import SQL as METER_SQL
from app.dashboard.meter_sample import SeenKey, recent_events, seen_keys
from app.dashboard.meter_words import aggregation_of, aggregation_words, stored_filter_words
from app.dashboard.page import event_command, fragment, page
from app.http.meters import SQL, find_meter, set_archived
from app.http.reading import Asked, PageNumber, Serving, path_id
from app.http.reading import page as page_of
from app.rules import now_of
from app.service import Service
from projections.database import Row

LIST_ROWS = 20
"""Meters on one page of the list: a screen or two."""

LIST_WINDOWS = {"hour": 24, "day": 30}
"""What the list shows: the last day by the hour, or the last month by the day."""

UNMEASURED_ROWS = 10
"""Unmeasured events on one page: enough to see what they have in common."""


async def _rows(request: Asked, service: Service, archived: bool, window: str, page_number: int) -> dict[str, Any]:
    """One page of meters with what they counted; without numbers when there is too much to count."""
    window = window if window in LIST_WINDOWS else "hour"
    rows, tenant_id = page_of(page_number, LIST_ROWS), request.auth.tenant_id
    found = await service.pool.fetch(SQL["meters"], tenant_id, archived, rows.size + 1, rows.offset)
    meters, counted = found[:LIST_ROWS], dict[str, Counted]()
    try:
        async with bounded(service) as database:
            span = span_of(await now_of(service, tenant_id), window, LIST_WINDOWS[window])
            counted = await count_windows(database, tenant_id, meters, span) if meters else {}
    except TooMuch:
        counted = {}
    return {
        "items": [
            {
                "row": row,
                "counts": aggregation_words(aggregation_of(row)),
                "filter": stored_filter_words(row) if row["filter"] else "",
                "counted": counted.get(row["meter_id"]),
            }
            for row in meters
        ],
        "has_more": len(found) > LIST_ROWS,
        "page_number": page_number,
        "archived": archived,
        "window": window,
    }


@get("/dashboard/meters")
async def list_meters(
    request: Asked,
    service: Serving,
    archived: FromQuery[bool] = False,
    window: FromQuery[str] = "hour",
    page_number: PageNumber = 0,
) -> Template:
    """The meters, newest first, each with what it counts now."""
    first_event = {"customer_id": "ada", "event_name": "api.call", "metadata": {}}
    return page(
        request,
        "meters/list.html",
        title="Meters",
        nav="meters",
        curl=event_command(request, first_event),
        **await _rows(request, service, archived, window, page_number),
    )


@get("/dashboard/meters/rows")
async def meter_rows(
    request: Asked,
    service: Serving,
    archived: FromQuery[bool] = False,
    window: FromQuery[str] = "hour",
    page_number: PageNumber = 0,
) -> Template:
    """The list's rows again, with what the meters count by now."""
    return fragment(request, "meters/rows.html", **await _rows(request, service, archived, window, page_number))


class _Detail:
    """What the page and the chart of one meter are made of."""

    def __init__(self, row: Row, span: Span, counted: Counted | None, groups: Groups | None, note: str) -> None:
        self.row = row
        self.span = span
        self.counted = counted
        self.groups = groups
        self.note = note


async def _detail(service: Service, tenant_id: str, meter_id: str, window: str, group_by: str) -> _Detail:
    """Count a meter's windows, told apart by a key when one is given and there are not too many events for that."""
    row = await find_meter_of(service, tenant_id, meter_id)
    span = span_of(await now_of(service, tenant_id), window)
    counted, groups, note = None, None, ""
    try:
        async with bounded(service) as database:
            counted = (await count_windows(database, tenant_id, [row], span))[meter_id]
        if group_by and counted.events + counted.unmeasured > GROUPED_EVENTS_MAX:
            note = (
                f"More than {GROUPED_EVENTS_MAX:,} events lie in these windows, too many to tell apart by {group_by}"
                " while you wait. Take shorter windows, or ask the API."
            )
        elif group_by:
            async with bounded(service) as database:
                groups = await count_groups(database, tenant_id, meter_id, span, group_by)
    except TooMuch:
        note = "There is too much usage to count while you wait. Take shorter windows, or ask the API."
    return _Detail(row, span, counted, groups, note)


async def find_meter_of(service: Service, tenant_id: str, meter_id: str) -> Row:
    """A meter's row. Raises ``NotFound``."""
    async with service.pool.acquire() as connection:
        return await find_meter(connection, tenant_id, meter_id)


async def _keys(service: Service, tenant_id: str, event_name: str) -> list[SeenKey]:
    try:
        async with bounded(service) as database:
            return seen_keys(await recent_events(database, tenant_id, event_name))
    except TooMuch:
        return []


@get("/dashboard/meters/{meter_id:str}")
async def meter_page(
    request: Asked,
    service: Serving,
    meter_id: FromPath[str],
    window: FromQuery[str] = "hour",
    group_by: FromQuery[str] = "",
    page_number: PageNumber = 0,
    done: FromQuery[str] = "",
) -> Template:
    """One meter: what it counts, its chart, its groups, its unmeasured events."""
    meter_id, tenant_id = path_id(meter_id, "meter"), request.auth.tenant_id
    detail = await _detail(service, tenant_id, meter_id, window, group_by)
    row, rows = detail.row, page_of(page_number, UNMEASURED_ROWS)
    keys = await _keys(service, tenant_id, row["event_name"])
    unmeasured = await service.pool.fetch(
        METER_SQL["unmeasured_events"], tenant_id, meter_id, rows.size + 1, rows.offset
    )
    return page(
        request,
        "meters/detail.html",
        title=row["name"],
        nav="meters",
        row=row,
        counts=aggregation_words(aggregation_of(row)),
        key=aggregation_of(row).key,
        filter=stored_filter_words(row),
        counted=detail.counted,
        groups=detail.groups,
        note=detail.note,
        window=window,
        windows=WINDOWS,
        group_by=group_by,
        keys=keys,
        unmeasured=unmeasured[:UNMEASURED_ROWS],
        has_more=len(unmeasured) > UNMEASURED_ROWS,
        page_number=page_number,
        done=done,
        curl=event_command(request, _example(row, keys)),
    )


def _example(row: Row, keys: Sequence[SeenKey]) -> dict[str, Any]:
    """An event that the meter looks at."""
    key = aggregation_of(row).key
    named = [key] if key else [seen.name for seen in keys[:1]]
    return {
        "customer_id": "ada",
        "event_name": row["event_name"],
        "metadata": dict.fromkeys(named, 1),
    }


@get("/dashboard/meters/{meter_id:str}/usage.json")
async def meter_chart(
    request: Asked,
    service: Serving,
    meter_id: FromPath[str],
    window: FromQuery[str] = "hour",
    group_by: FromQuery[str] = "",
) -> dict[str, Any]:
    """What the meter counted in each window, for the chart."""
    detail = await _detail(service, request.auth.tenant_id, path_id(meter_id, "meter"), window, group_by)
    unit = detail.row["measurement_unit"]
    series: list[dict[str, Any]] = []
    if detail.groups is not None:
        series = [_series(group.name or f"without {group_by}", group.quantities, unit) for group in detail.groups.named]
        if detail.groups.others is not None:
            series.append(_series(f"{detail.groups.others_count} others", detail.groups.others.quantities, unit))
    elif detail.counted is not None:
        series = [_series(detail.row["name"], detail.counted.quantities, unit)]
    return {
        "x": [_seconds(at) for at in detail.span.starts] if series else [],
        "series": series,
        "kind": "line" if len(series) > 1 else "bar",
    }


def _series(label: str, quantities: Sequence[str], unit: str) -> dict[str, Any]:
    return {"label": label, "values": list(quantities), "unit": unit}


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


ROUTER = Router(
    "/",
    route_handlers=[
        meter_form.ROUTER,
        list_meters,
        meter_rows,
        meter_page,
        meter_chart,
        *archive_routes("meters", "meter", set_archived),
    ],
)
