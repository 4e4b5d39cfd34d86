"""Usage events: ingest, read, retract, and those that were rejected."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.http.auth import requires
from app.http.meters import find_meter
from app.http.problems import problem
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    PageNumber,
    Recording,
    Ringing,
    Serving,
    check_known,
    members,
    page,
    path_id,
    raw,
    read_instant,
)
from app.ingest.decode import decode_events
from app.ingest.problem import refusal_status
from app.ingesting import Posted, Refused, problem_members
from app.limits import EVENT_PAGE_SIZE_MAX, REASON_MAX_CHARS, VOID_EVENTS_MAX
from app.measures import EVENTS_REJECTED
from app.voiding import Voided, void_events
from domain import instant
from domain.errors import Invalid, NotFound
from domain.event import EVENT_ID_MAX_CHARS, read_metadata
from domain.filter import Filter, matches
from projections.counting import stored_filter
from projections.database import Database, Row
from projections.fault_points import FaultPoint, reach
from projections.statements import load

SQL = load("app.sql", "events.sql")

FILTER_SCAN = 1_000
"""Events read at once while looking for those that pass a meter's filter."""


class IngestAnswer(msgspec.Struct):
    """What became of a batch. ``position`` names the log as it stood then: wait for it with ``at_least``."""

    ingested_count: int
    duplicate_count: int
    conflicts: list[str]
    position: int
    errors: list[Any]


EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_ID_MAX_CHARS)]


class EventsVoid(msgspec.Struct):
    """Events to take back, by their ids, and why."""

    event_ids: Annotated[list[EventId], msgspec.Meta(min_length=1, max_length=VOID_EVENTS_MAX)]
    reason: Annotated[str, msgspec.Meta(max_length=REASON_MAX_CHARS)] | None = None


class EventAnswer(msgspec.Struct):
    """A usage event as it was recorded, and its position in the log. ``voided_at`` tells when it was retracted."""

    event_id: str
    business_id: str
    customer_id: str
    event_name: str
    timestamp: str
    metadata: Any
    position: int
    voided_at: str | None


class EventList(msgspec.Struct):
    """A page of events, latest recorded first."""

    items: list[EventAnswer]


class RejectedList(msgspec.Struct):
    """A page of events that were not recorded, latest first: conflicts, and bad ones that were skipped."""

    items: list[Any]


def refused(_: Request[Any, Any, Any], error: Refused) -> Response[dict[str, Any]]:
    """A batch with bad events: the first problem in the message, all of them in ``errors``."""
    EVENTS_REJECTED.inc(len({item.index for item in error.problems}))
    first, errors = error.problems[0], [problem_members(item) for item in error.problems]
    message = f"event {first.index}: {first.message}"
    return problem(refusal_status(error.problems), first.code, message, errors=errors)


@post("/events/ingest", status_code=200, guards=[requires("ingest")])
async def ingest(request: Asked, recorder: Recording, on_invalid: FromQuery[str] = "refuse") -> IngestAnswer:
    """Record usage events: `{"events": [...]}`, or one event per line as `application/x-ndjson`.

    Answered once they are durable. A resent event counts once (`duplicate_count`); a used id with other content is
    never counted (`conflicts`).
    """
    if on_invalid not in ("refuse", "skip"):
        raise Invalid("on_invalid", "must be refuse or skip")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    decoded = decode_events(await request.body(), ndjson=content_type in ("application/x-ndjson", "application/ndjson"))
    posted = Posted(decoded, skip_invalid=on_invalid == "skip")
    receipt, problems = await recorder.record(request.auth.tenant_id, posted)
    errors = [problem_members(item) for item in problems]
    await reach(FaultPoint.ingest_answer)
    return IngestAnswer(receipt.ingested_count, receipt.duplicate_count, receipt.conflicts, receipt.position, errors)


def answer(tenant_id: str, row: Row) -> EventAnswer:
    """A row of the log on the wire."""
    return EventAnswer(
        event_id=row["event_id"],
        business_id=tenant_id,
        customer_id=row["customer_id"],
        event_name=row["event_name"],
        timestamp=instant.text(row["timestamp"]),
        metadata=raw(row["metadata"] or "{}"),
        position=row["position"],
        voided_at=instant.text(row["voided_at"]) if row["voided_at"] else None,
    )


@post("/events/void", status_code=200, guards=[requires("write")])
async def void(request: Asked, service: Serving, doorbell: Ringing, data: JSONBody[EventsVoid]) -> Voided:
    """Retract events by their ids: they no longer count, and their ids stay used.

    The events themselves stay in the log. What was retracted before (`already_voided`) or was never recorded
    (`not_found`) is named and fails nothing. Closed cycles are corrected on a later invoice.
    """
    check_known(members(request), EventsVoid.__struct_fields__)
    for index, event_id in enumerate(data.event_ids):
        if "\0" in event_id:
            raise Invalid(f"event_ids[{index}]", "must not hold a NUL character")
    try:
        return await void_events(service, request.auth, data.event_ids, data.reason or "")
    finally:
        doorbell.ring(request.auth.tenant_id)


@get("/events", guards=[requires("read")])
async def list_events(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str | None] = None,
    event_name: FromQuery[str | None] = None,
    meter_id: FromQuery[str | None] = None,
    start: FromQuery[str | None] = None,
    end: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: FromQuery[int] = PAGE_SIZE,
) -> EventList:
    """Events, latest recorded first; with ``meter_id`` those that the meter's name and filter let through."""
    if not 1 <= page_size <= EVENT_PAGE_SIZE_MAX:
        raise Invalid("page_size", f"must be from 1 to {EVENT_PAGE_SIZE_MAX}")
    rows, tenant_id = page(page_number, page_size), request.auth.tenant_id
    span = (read_instant(start, "start"), read_instant(end, "end"))
    async with service.pool.acquire() as connection:
        condition: Filter | None = None
        if meter_id is not None:
            meter = await find_meter(connection, tenant_id, meter_id)
            if event_name not in (None, meter["event_name"]):
                raise EventNameMismatch(f"event_name: the meter counts '{meter['event_name']}'")
            event_name, condition = meter["event_name"], stored_filter(meter["filter"])
        where = (tenant_id, event_name, *span)
        if condition is None:
            found = await _fetch(connection, where, customer_id, rows.size, rows.offset)
        else:
            found = await _passing(connection, where, customer_id, condition, rows.offset + rows.size)
            found = found[rows.offset :]
    return EventList([answer(tenant_id, row) for row in found])


class EventNameMismatch(Exception):
    """The contract answers 400 when a query names a meter and an event name that the meter does not count."""


def mismatch(_: Request[Any, Any, Any], error: EventNameMismatch) -> Response[dict[str, Any]]:
    """The contract's 400."""
    return problem(400, "EVENT_NAME_MISMATCH", str(error))


async def _fetch(
    database: Database, where: tuple[Any, ...], customer_id: str | None, limit: int, offset: int
) -> list[Row]:
    if customer_id is None:
        return await database.fetch(SQL["events"], *where, limit, offset)
    return await database.fetch(SQL["events_of_customer"], *where, limit, offset, customer_id)


async def _passing(
    database: Database, where: tuple[Any, ...], customer_id: str | None, condition: Filter, needed: int
) -> list[Row]:
    """The first ``needed`` events that pass a filter; only the domain knows what passes."""
    passing: list[Row] = []
    offset = 0
    while len(passing) < needed:
        rows = await _fetch(database, where, customer_id, FILTER_SCAN, offset)
        passing += [row for row in rows if matches(condition, read_metadata(row["metadata"]))]
        if len(rows) < FILTER_SCAN:
            break
        offset += FILTER_SCAN
    return passing[:needed]


@get("/events/{event_id:str}", guards=[requires("read")])
async def get_event(request: Asked, service: Serving, event_id: FromPath[str]) -> EventAnswer:
    """One event by its id."""
    return await _event(request, service, path_id(event_id, "event"))


async def _event(request: Asked, service: Serving, event_id: str) -> EventAnswer:
    row = await service.pool.fetchrow(SQL["event"], request.auth.tenant_id, event_id)
    if row is None:
        raise NotFound("event", event_id)
    return answer(request.auth.tenant_id, row)


@get("/events/ingest", guards=[requires("read")], include_in_schema=False)
async def get_event_named_ingest(request: Asked, service: Serving) -> EventAnswer:
    """The one event whose id is also the address of ingest."""
    return await _event(request, service, "ingest")


@get("/events/void", guards=[requires("read")], include_in_schema=False)
async def get_event_named_void(request: Asked, service: Serving) -> EventAnswer:
    """The one event whose id is also the address of retracting."""
    return await _event(request, service, "void")


@get("/events/rejected", guards=[requires("read")])
async def list_rejected(
    request: Asked,
    service: Serving,
    event_id: FromQuery[str | None] = None,
    reason: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: FromQuery[int] = PAGE_SIZE,
) -> RejectedList:
    """Events that were not recorded, and why: ``conflict``, or ``invalid`` (batches sent with `on_invalid=skip`)."""
    if not 1 <= page_size <= EVENT_PAGE_SIZE_MAX:
        raise Invalid("page_size", f"must be from 1 to {EVENT_PAGE_SIZE_MAX}")
    rows = page(page_number, page_size)
    found = await service.pool.fetch(SQL["rejected"], request.auth.tenant_id, event_id, reason, rows.size, rows.offset)
    return RejectedList(
        [
            {
                "event_id": row["event_id"],
                "reason": row["reason"],
                "errors": raw(row["problems"]),
                "event": row["content"],
                "recorded_at": instant.text(row["recorded_at"]),
            }
            for row in found
        ]
    )


ROUTER = Router(
    "/",
    route_handlers=[
        ingest,
        void,
        list_events,
        list_rejected,
        get_event,
        get_event_named_ingest,
        get_event_named_void,
    ],
    tags=["Events"],
    exception_handlers={Refused: refused, EventNameMismatch: mismatch},
)
