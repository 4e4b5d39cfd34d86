"""Meters: declare, read, describe, archive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.http.auth import requires
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    PageNumber,
    PageSize,
    Serving,
    check_spelling,
    members,
    page,
    path_id,
    raw,
)
from app.identity import new_id
from app.limits import DESCRIPTION_MAX_CHARS, TEXT_MAX_CHARS
from app.retired import check_history
from app.service import Caller, Service
from app.transaction import transaction
from domain import instant
from domain.aggregation import InvalidAggregation, read_aggregation
from domain.errors import Invalid, NotFound
from domain.event import EVENT_NAME_MAX_CHARS
from domain.filter import InvalidFilter, read_filter, write_filter
from domain.meter import Meter
from projections.database import Database, Row
from projections.statements import load

SQL = load("app.sql", "catalog.sql")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX_CHARS)]
Description = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_MAX_CHARS)]


class MeterCreate(msgspec.Struct):
    """A meter to declare. ``filter`` is a conjunction of conditions; without it every event of the name counts."""

    name: Annotated[Name, msgspec.Meta(examples=["Tokens"])]
    event_name: Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_NAME_MAX_CHARS, examples=["llm.completion"])]
    aggregation: Annotated[dict[str, Any], msgspec.Meta(examples=[{"type": "sum", "key": "tokens"}])]
    measurement_unit: Annotated[Name, msgspec.Meta(examples=["token"])]
    description: Description | None = None
    filter: dict[str, Any] | None = None


class MeterUpdate(msgspec.Struct):
    """What people read of a meter. What it counts never changes."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    measurement_unit: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType | None = msgspec.UNSET


class MeterAnswer(msgspec.Struct):
    """A meter."""

    id: str
    business_id: str
    name: str
    event_name: str
    aggregation: Any
    measurement_unit: str
    created_at: str
    updated_at: str
    description: str | None
    filter: Any


class MeterList(msgspec.Struct):
    """A page of meters, newest first."""

    items: list[MeterAnswer]


def answer(tenant_id: str, row: Row) -> MeterAnswer:
    """A row of the read model on the wire."""
    return MeterAnswer(
        id=row["meter_id"],
        business_id=tenant_id,
        name=row["name"],
        event_name=row["event_name"],
        aggregation=raw(row["aggregation"]),
        measurement_unit=row["measurement_unit"],
        created_at=instant.text(row["created_at"]),
        updated_at=instant.text(row["updated_at"]),
        description=row["description"],
        filter=raw(row["filter"]) if row["filter"] else None,
    )


async def find_meter(database: Database, tenant_id: str, meter_id: str) -> Row:
    """The read model's row. Raises ``NotFound``."""
    row = await database.fetchrow(SQL["meter"], tenant_id, meter_id)
    if row is None:
        raise NotFound("meter", meter_id)
    return row


@post("/meters", status_code=201, guards=[requires("write")])
async def create_meter(request: Asked, service: Serving, data: JSONBody[MeterCreate]) -> MeterAnswer:
    """Declare a meter. It counts everything the log holds, also from before."""
    check_spelling(members(request), MeterCreate.__struct_fields__)
    meter_id = await declare_meter(service, request.auth, data, members(request))
    return await get_answer(service, request.auth.tenant_id, meter_id)


async def declare_meter(service: Service, caller: Caller, data: MeterCreate, exact: Mapping[str, Any]) -> str:
    """Declare a meter; its id. ``exact`` has ``aggregation`` and ``filter`` with exact numbers. Raises ``Invalid``."""
    meter_id = new_id("mtr")
    async with transaction(service, caller, "meter.create") as running:
        await check_history(running.database, running.tenant_id)
        running.add(made_meter(meter_id, data, exact, running.now))
    return meter_id


def made_meter(meter_id: str, data: MeterCreate, exact: Mapping[str, Any], at: datetime) -> Meter:
    """The meter of a declaration; ``exact`` is as for `declare_meter`. Raises ``Invalid``."""
    try:
        aggregation = read_aggregation(exact["aggregation"])
        stated = exact.get("filter")
        text = "" if stated is None else msgspec.json.encode(write_filter(read_filter(stated))).decode()
    except (InvalidAggregation, InvalidFilter) as error:
        raise Invalid(error.field, error.rule) from None
    return Meter.create(
        meter_id,
        name=data.name,
        event_name=data.event_name,
        aggregation=aggregation,
        filter=text,
        measurement_unit=data.measurement_unit,
        description=data.description,
        at=at,
    )


async def get_answer(service: Serving, tenant_id: str, meter_id: str) -> MeterAnswer:
    """The meter as it now stands."""
    async with service.pool.acquire() as connection:
        return answer(tenant_id, await find_meter(connection, tenant_id, meter_id))


@get("/meters", guards=[requires("read")])
async def list_meters(
    request: Asked,
    service: Serving,
    archived: FromQuery[bool] = False,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> MeterList:
    """Meters, newest first; archived ones only when asked for."""
    rows = page(page_number, page_size)
    tenant_id = request.auth.tenant_id
    found = await service.pool.fetch(SQL["meters"], tenant_id, archived, rows.size, rows.offset)
    return MeterList([answer(tenant_id, row) for row in found])


@get("/meters/{meter_id:str}", guards=[requires("read")])
async def get_meter(request: Asked, service: Serving, meter_id: FromPath[str]) -> MeterAnswer:
    """One meter."""
    return await get_answer(service, request.auth.tenant_id, path_id(meter_id, "meter"))


@patch("/meters/{meter_id:str}", guards=[requires("write")])
async def update_meter(
    request: Asked, service: Serving, meter_id: FromPath[str], data: JSONBody[MeterUpdate]
) -> MeterAnswer:
    """Change name, unit or description. Other fields are refused: a change there is a new meter."""
    check_spelling(members(request), (*MeterUpdate.__struct_fields__, "event_name", "aggregation", "filter"))
    for fixed in ("event_name", "aggregation", "filter"):
        if fixed in members(request):
            raise Invalid(fixed, "never changes; declare a new meter", "METER_FIELD_FIXED")
    meter_id = path_id(meter_id, "meter")
    async with transaction(service, request.auth, "meter.describe") as running:
        meter = await running.get(Meter, meter_id)
        meter.describe(
            name=meter.name if data.name is msgspec.UNSET else data.name,
            measurement_unit=(
                meter.measurement_unit if data.measurement_unit is msgspec.UNSET else data.measurement_unit
            ),
            description=meter.description if data.description is msgspec.UNSET else data.description,
            at=running.now,
        )
    return await get_answer(service, request.auth.tenant_id, meter_id)


@delete("/meters/{meter_id:str}", guards=[requires("write")])
async def archive_meter(request: Asked, service: Serving, meter_id: FromPath[str]) -> None:
    """Stop counting; the history stays."""
    await set_archived(service, request.auth, path_id(meter_id, "meter"), archived=True)


async def set_archived(service: Service, caller: Caller, meter_id: str, *, archived: bool) -> None:
    """Archive a meter, or let it count again. Raises ``NotFound``, and ``Gone`` when it is archived already."""
    async with transaction(service, caller, "meter.archive" if archived else "meter.unarchive") as running:
        meter = await running.get(Meter, meter_id)
        if archived:
            meter.archive(running.now)
        else:
            meter.unarchive(running.now)


# An answer without a body is declared as text: as JSON it would be the word `null`.
@post("/meters/{meter_id:str}/unarchive", status_code=200, media_type=MediaType.TEXT, guards=[requires("write")])
async def unarchive_meter(request: Asked, service: Serving, meter_id: FromPath[str]) -> None:
    """Count again what is recorded from now on."""
    await set_archived(service, request.auth, path_id(meter_id, "meter"), archived=False)


ROUTER = Router(
    "/",
    route_handlers=[create_meter, list_meters, get_meter, update_meter, archive_meter, unarchive_meter],
    tags=["Meters"],
)
