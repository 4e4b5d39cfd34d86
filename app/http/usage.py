"""How much was used: by meter over any span, and by subscription over its cycles."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Router, get
from litestar.params import FromPath, FromQuery

from app.http.auth import requires
from app.http.customers import zone_of
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    AsOfQuery,
    PageNumber,
    PageSize,
    Position,
    Serving,
    page,
    path_id,
    read_as_of,
    read_instant,
)
from app.limits import USAGE_WINDOWS_MAX
from app.reading_log import reading
from app.usage_history import Period, usage_history
from domain import instant, number
from domain.aggregation import Aggregation
from domain.cycle import Anchor, Interval, Unit, boundary
from domain.errors import Invalid, NotFound
from projections.aggregates import Aggregates
from projections.as_of import AsOf
from projections.quantities import SQL as QUANTITY_SQL
from projections.raw_usage import everybody, measure_raw
from projections.usage import Measured, Question, measure, measure_groups

DEFAULT_SPAN = timedelta(days=30)
"""What a question without ``start`` covers."""

FIRST = datetime.min.replace(tzinfo=UTC)
"""The first instant that there is."""


class Window(StrEnum):
    """The spans that a question may be cut into."""

    hour = "hour"
    day = "day"
    month = "month"


class UsageAnswer(msgspec.Struct):
    """A quantity, and with ``window`` or ``group_by`` its parts. It holds what is recorded up to ``position``."""

    meter_id: str
    quantity: str
    items: list[Any]
    unmeasured_count: int
    position: int


class UnmeasuredList(msgspec.Struct):
    """A page of events that match a meter but have no usable value for its key, latest first."""

    items: list[Any]


class HistoryList(msgspec.Struct):
    """A page of periods, newest first."""

    items: list[Period]


def edges_of(start: datetime, end: datetime, window: Window | None, zone: str) -> list[datetime]:
    """The instants that cut ``[start, end)``: the zone's own hours, days or months. Raises ``Invalid``."""
    if start >= end:
        raise Invalid("end", "must lie after start")
    if window is None:
        return [start, end]
    try:
        return [start, *_edges_between(start, end, window, zone), end]
    except (OverflowError, ValueError):
        raise Invalid("window", "windows end with the calendar, in the years 1 and 9999") from None


def _edges_between(start: datetime, end: datetime, window: Window, zone: str) -> list[datetime]:
    inner: list[datetime] = []
    at = _next_edge(start, window, zone)
    while at < end:
        inner.append(at)
        if len(inner) >= USAGE_WINDOWS_MAX:
            raise Invalid("window", f"the answer would have more than {USAGE_WINDOWS_MAX} windows")
        at = _next_edge(at, window, zone)
    return inner


def _next_edge(after: datetime, window: Window, zone: str) -> datetime:
    """The first edge past an instant."""
    local = after.astimezone(ZoneInfo(zone))
    if window is Window.hour:
        # In elapsed time from the local full hour: zones differ from UTC by quarters of an hour, too.
        passed = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return (after - passed + timedelta(hours=1)).astimezone(UTC)
    first = local.date().replace(day=1) if window is Window.month else local.date()
    interval = Interval(count=1, unit=Unit.Month if window is Window.month else Unit.Day)
    edge, steps = after, 0
    while edge <= after:
        steps += 1
        edge = boundary(Anchor(date=first), interval, steps, zone)
    return edge


@get("/meters/{meter_id:str}/usage", guards=[requires("read")])
async def meter_usage(
    request: Asked,
    service: Serving,
    meter_id: FromPath[str],
    start: FromQuery[str | None] = None,
    end: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
    window: FromQuery[Window | None] = None,
    time_zone: FromQuery[str] = "UTC",
    group_by: FromQuery[str | None] = None,
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> UsageAnswer:
    """What a meter counted in ``[start, end)`` (by default the last 30 days up to now), for one customer or all.

    ``as_of`` asks what was known earlier, and takes its own moment for now. It is counted from the rows of usage.
    """
    since, until = read_instant(start, "start"), read_instant(end, "end")
    meter_id, zone = path_id(meter_id, "meter"), zone_of(time_zone)
    async with reading(service, request.auth, at_least=at_least, as_of=read_as_of(as_of)) as known:
        edges = edges_of(*_span(since, until or known.now), window, zone)
        question = await _question(known, meter_id, customer_id)
        if group_by is not None:
            return _groups(question, edges, await measure_groups(known.database, question, edges, group_by))
        counted = await (measure_raw if isinstance(known, AsOf) else measure)(known.database, question, edges)
        return _spans(question, edges, counted, window is not None)


def _span(since: datetime | None, until: datetime) -> tuple[datetime, datetime]:
    # Counted from the first instant, since the calendar may begin less than 30 days before the end.
    return since or FIRST + max(until - FIRST - DEFAULT_SPAN, timedelta()), until


async def _question(known: Aggregates, meter_id: str, customer_id: str | None) -> Question:
    meter = (await known.meters()).get(meter_id)
    if meter is None:
        raise NotFound("meter", meter_id)
    asked = Question(known.tenant_id, meter, customer_id, known.counted)
    if customer_id is None and isinstance(known, AsOf):
        return msgspec.structs.replace(asked, everybody=await everybody(known.database, known.tenant_id))
    return asked


def _item(aggregation: Aggregation, span: tuple[datetime, datetime], group: str | None, counted: Measured) -> Any:
    return {
        "start": instant.text(span[0]),
        "end": instant.text(span[1]),
        "group": group,
        "quantity": number.plain(counted.quantity(aggregation)),
    }


def _spans(question: Question, edges: list[datetime], spans: list[Measured], windowed: bool) -> UsageAnswer:
    aggregation = question.meter.aggregation
    items = [
        _item(aggregation, span, None, counted) for span, counted in zip(itertools.pairwise(edges), spans, strict=True)
    ]
    return _whole(question, spans, items if windowed else [])


def _groups(question: Question, edges: list[datetime], groups: dict[tuple[int, str | None], Measured]) -> UsageAnswer:
    aggregation = question.meter.aggregation
    ordered = sorted(groups.items(), key=lambda pair: (pair[0][0], pair[0][1] is not None, pair[0][1] or ""))
    items = [_item(aggregation, (edges[span], edges[span + 1]), group, counted) for (span, group), counted in ordered]
    return _whole(question, list(groups.values()), items)


def _whole(question: Question, parts: list[Measured], items: list[Any]) -> UsageAnswer:
    whole = Measured()
    for part in parts:
        whole.join(part)
    return UsageAnswer(
        meter_id=question.meter.meter_id,
        quantity=number.plain(whole.quantity(question.meter.aggregation)),
        items=items,
        unmeasured_count=whole.summary.unmeasured,
        position=question.position,
    )


@get("/meters/{meter_id:str}/unmeasured", guards=[requires("read")])
async def list_unmeasured(
    request: Asked,
    service: Serving,
    meter_id: FromPath[str],
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> UnmeasuredList:
    """The events that a meter matches but cannot measure."""
    rows, meter_id = page(page_number, page_size), path_id(meter_id, "meter")
    async with reading(service, request.auth) as known:
        await _question(known, meter_id, None)
        found = await known.database.fetch(
            QUANTITY_SQL["unmeasured"], known.tenant_id, meter_id, rows.size, rows.offset
        )
    return UnmeasuredList([{"event_id": row["event_id"], "position": row["position"]} for row in found])


@get("/subscriptions/{subscription_id:str}/usage-history", guards=[requires("read")])
async def subscription_usage_history(
    request: Asked,
    service: Serving,
    subscription_id: FromPath[str],
    start_date: FromQuery[str | None] = None,
    end_date: FromQuery[str | None] = None,
    meter_id: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> HistoryList:
    """What each cycle used and cost, newest first."""
    rows = page(page_number, page_size)
    periods = await usage_history(
        service,
        request.auth,
        path_id(subscription_id, "subscription"),
        since=read_instant(start_date, "start_date"),
        until=read_instant(end_date, "end_date"),
        meter_id=meter_id,
        limit=rows.size,
        offset=rows.offset,
    )
    return HistoryList(periods)


ROUTER = Router("/", route_handlers=[meter_usage, list_unmeasured, subscription_usage_history], tags=["Usage"])
