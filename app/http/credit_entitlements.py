"""Credit entitlements: the kinds of credits that products include and meters burn."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from litestar import MediaType, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.credit_entries import undeleted
from app.http.auth import requires
from app.http.included_credits import Credits, Days, Percent, Rollovers, read_terms, read_timeframe
from app.http.meters import Description, Name
from app.http.prices import read_decimal, read_unit_price, threshold_answer
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
)
from app.http.wallets import check_currency
from app.identity import new_id
from app.limits import CREDIT_UNIT_MAX_CHARS
from app.price_versions import check_currency_of
from app.transaction import transaction
from app.wallets import SQL
from domain import instant, number
from domain.cycle import Unit
from domain.entitlement import (
    PRECISION_MAX,
    BurnOrder,
    Entitlement,
    Overage,
    OverageBehavior,
    Rollover,
    Terms,
    check_credits,
)
from domain.errors import Invalid, NotFound
from projections.database import Database, Row

WHAT = "credit_entitlement"

Value = TypeVar("Value")

UnitName = Annotated[str, msgspec.Meta(min_length=1, max_length=CREDIT_UNIT_MAX_CHARS, examples=["credit"])]
PriceText = Annotated[str, msgspec.Meta(examples=["2"])]
Count = Annotated[int, msgspec.Meta(ge=1, examples=[1])]


class EntitlementCreate(msgspec.Struct):
    """A kind of credits. ``price_per_unit`` is decimal minor units per credit of overage."""

    name: Annotated[Name, msgspec.Meta(examples=["SMS credits"])]
    unit: UnitName
    precision: Annotated[int, msgspec.Meta(ge=0, le=PRECISION_MAX)]
    overage_enabled: bool
    rollover_enabled: bool
    description: Description | None = None
    expires_after_days: Days | None = None
    overage_behavior: OverageBehavior | None = None
    overage_limit: Credits | None = None
    currency: str | None = None
    price_per_unit: PriceText | None = None
    rollover_percentage: Percent | None = None
    rollover_timeframe_count: Count | None = None
    rollover_timeframe_interval: Unit | None = None
    max_rollover_count: Rollovers | None = None
    burn_order: BurnOrder | None = None


class EntitlementUpdate(msgspec.Struct):
    """Fields to change; ``null`` clears the optional ones and leaves the others as they are."""

    name: Name | None = None
    unit: UnitName | None = None
    overage_enabled: bool | None = None
    rollover_enabled: bool | None = None
    description: Description | msgspec.UnsetType | None = msgspec.UNSET
    expires_after_days: Days | msgspec.UnsetType | None = msgspec.UNSET
    overage_behavior: OverageBehavior | msgspec.UnsetType | None = msgspec.UNSET
    overage_limit: Credits | msgspec.UnsetType | None = msgspec.UNSET
    currency: str | msgspec.UnsetType | None = msgspec.UNSET
    price_per_unit: PriceText | msgspec.UnsetType | None = msgspec.UNSET
    rollover_percentage: Percent | msgspec.UnsetType | None = msgspec.UNSET
    rollover_timeframe_count: Count | msgspec.UnsetType | None = msgspec.UNSET
    rollover_timeframe_interval: Unit | msgspec.UnsetType | None = msgspec.UNSET
    max_rollover_count: Rollovers | msgspec.UnsetType | None = msgspec.UNSET
    burn_order: BurnOrder | msgspec.UnsetType | None = msgspec.UNSET


class EntitlementAnswer(msgspec.Struct):
    """A kind of credits."""

    id: str
    business_id: str
    name: str
    unit: str
    precision: int
    overage_enabled: bool
    overage_behavior: OverageBehavior
    rollover_enabled: bool
    burn_order: BurnOrder
    created_at: str
    updated_at: str
    description: str | None
    expires_after_days: int | None
    overage_limit: int | str | None
    currency: str | None
    price_per_unit: str | None
    rollover_percentage: int | None
    rollover_timeframe_count: int | None
    rollover_timeframe_interval: Unit | None
    max_rollover_count: int | None


class EntitlementList(msgspec.Struct):
    """A page of credit entitlements, newest first."""

    items: list[EntitlementAnswer]


def answer(tenant_id: str, row: Row) -> EntitlementAnswer:
    """A row of the read model on the wire."""
    terms = read_terms(row)
    limit, timeframe = terms.overage.limit, terms.rollover.timeframe
    return EntitlementAnswer(
        id=row["credit_entitlement_id"],
        business_id=tenant_id,
        name=terms.name,
        unit=terms.unit,
        precision=row["precision_digits"],
        overage_enabled=terms.overage.enabled,
        overage_behavior=terms.overage.behavior,
        rollover_enabled=terms.rollover.enabled,
        burn_order=terms.burn_order,
        created_at=instant.text(row["created_at"]),
        updated_at=instant.text(row["updated_at"]),
        description=terms.description,
        expires_after_days=terms.expires_after_days,
        overage_limit=None if limit is None else threshold_answer(limit),
        currency=terms.currency,
        price_per_unit=terms.price_per_unit,
        rollover_percentage=terms.rollover.percentage,
        rollover_timeframe_count=None if timeframe is None else timeframe.count,
        rollover_timeframe_interval=None if timeframe is None else timeframe.unit,
        max_rollover_count=terms.rollover.max_count,
    )


async def find_entitlement(database: Database, tenant_id: str, entitlement_id: str) -> Row:
    """The read model's row, also of a deleted one. Raises ``NotFound``."""
    row = await database.fetchrow(SQL["credit_entitlement"], tenant_id, entitlement_id)
    if row is None:
        raise NotFound(WHAT, entitlement_id)
    return row


async def _one(service: Serving, tenant_id: str, entitlement_id: str) -> EntitlementAnswer:
    async with service.pool.acquire() as connection:
        row = await find_entitlement(connection, tenant_id, entitlement_id)
    if row["deleted"]:
        raise NotFound(WHAT, entitlement_id)
    return answer(tenant_id, row)


def _limit(value: int | str | None, precision: int) -> str | None:
    if value is None:
        return None
    return number.plain(check_credits(read_decimal(value, "overage_limit"), precision, "overage_limit"))


def _either(given: Value | msgspec.UnsetType | None, kept: Value | None) -> Value | None:
    """What holds after a change: the given value, nothing when it was cleared, else what was there."""
    return kept if given is msgspec.UNSET else given


def _terms(data: EntitlementUpdate, kept: Terms, precision: int) -> Terms:
    """The terms after a change. Raises ``Invalid``."""
    timeframe = kept.rollover.timeframe
    currency = _either(data.currency, kept.currency)
    price = _either(data.price_per_unit, kept.price_per_unit)
    return Terms(
        name=kept.name if data.name is None else data.name,
        unit=kept.unit if data.unit is None else data.unit,
        description=_either(data.description, kept.description),
        expires_after_days=_either(data.expires_after_days, kept.expires_after_days),
        rollover=Rollover(
            enabled=kept.rollover.enabled if data.rollover_enabled is None else data.rollover_enabled,
            percentage=_either(data.rollover_percentage, kept.rollover.percentage),
            timeframe=read_timeframe(
                _either(data.rollover_timeframe_count, timeframe.count if timeframe else None),
                _either(data.rollover_timeframe_interval, timeframe.unit if timeframe else None),
            ),
            max_count=_either(data.max_rollover_count, kept.rollover.max_count),
        ),
        overage=Overage(
            enabled=kept.overage.enabled if data.overage_enabled is None else data.overage_enabled,
            behavior=_either(data.overage_behavior, kept.overage.behavior) or OverageBehavior.forgive_at_reset,
            limit=_limit(_either(data.overage_limit, kept.overage.limit), precision),
        ),
        currency=None if currency is None else check_currency(currency),
        price_per_unit=read_unit_price(price, "price_per_unit"),
        burn_order=_either(data.burn_order, kept.burn_order) or BurnOrder.oldest,
    )


@post("/credit-entitlements", status_code=201, guards=[requires("write")])
async def create_entitlement(request: Asked, service: Serving, data: JSONBody[EntitlementCreate]) -> EntitlementAnswer:
    """Declare a kind of credits. Its precision stays for ever."""
    check_spelling(members(request), EntitlementCreate.__struct_fields__)
    fields = {name: getattr(data, name) for name in EntitlementUpdate.__struct_fields__}
    terms = _terms(EntitlementUpdate(**fields), Terms(name=data.name, unit=data.unit), data.precision)
    entitlement_id = new_id("cde")
    async with transaction(service, request.auth, "credit_entitlement.create") as running:
        running.add(Entitlement.create(entitlement_id, precision=data.precision, terms=terms, at=running.now))
    return await _one(service, request.auth.tenant_id, entitlement_id)


@get("/credit-entitlements", guards=[requires("read")])
async def list_entitlements(
    request: Asked,
    service: Serving,
    deleted: FromQuery[bool] = False,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> EntitlementList:
    """Credit entitlements, newest first; deleted ones only when asked for."""
    rows, tenant_id = page(page_number, page_size), request.auth.tenant_id
    found = await service.pool.fetch(SQL["credit_entitlements"], tenant_id, deleted, rows.size, rows.offset)
    return EntitlementList([answer(tenant_id, row) for row in found])


@get("/credit-entitlements/{credit_entitlement_id:str}", guards=[requires("read")])
async def get_entitlement(request: Asked, service: Serving, credit_entitlement_id: FromPath[str]) -> EntitlementAnswer:
    """One credit entitlement; a deleted one is not found."""
    return await _one(service, request.auth.tenant_id, path_id(credit_entitlement_id, WHAT))


# An answer without a body is declared as text: as JSON it would be the word `null`.
@patch("/credit-entitlements/{credit_entitlement_id:str}", media_type=MediaType.TEXT, guards=[requires("write")])
async def update_entitlement(
    request: Asked, service: Serving, credit_entitlement_id: FromPath[str], data: JSONBody[EntitlementUpdate]
) -> None:
    """Change anything but the precision. Grants that were made keep their terms."""
    check_spelling(members(request), (*EntitlementUpdate.__struct_fields__, "precision"))
    if "precision" in members(request):
        raise Invalid("precision", "never changes; declare a new credit entitlement", "PRECISION_FIXED")
    async with transaction(service, request.auth, "credit_entitlement.change") as running:
        found = await undeleted(running, path_id(credit_entitlement_id, WHAT))
        terms = _terms(data, found.terms, found.precision)
        await check_currency_of(running, found.object_id, terms)
        found.change(terms, running.now)


@delete(
    "/credit-entitlements/{credit_entitlement_id:str}",
    status_code=200,
    media_type=MediaType.TEXT,
    guards=[requires("write")],
)
async def delete_entitlement(request: Asked, service: Serving, credit_entitlement_id: FromPath[str]) -> None:
    """Take it out of use. Balances stay, and products that include it go on."""
    async with transaction(service, request.auth, "credit_entitlement.delete") as running:
        (await running.get(Entitlement, path_id(credit_entitlement_id, WHAT))).delete(running.now)


@post(
    "/credit-entitlements/{credit_entitlement_id:str}/undelete",
    status_code=200,
    media_type=MediaType.TEXT,
    guards=[requires("write")],
)
async def undelete_entitlement(request: Asked, service: Serving, credit_entitlement_id: FromPath[str]) -> None:
    """Put it into use again."""
    async with transaction(service, request.auth, "credit_entitlement.undelete") as running:
        (await running.get(Entitlement, path_id(credit_entitlement_id, WHAT))).undelete(running.now)


ROUTER = Router(
    "/",
    route_handlers=[
        create_entitlement,
        list_entitlements,
        get_entitlement,
        update_entitlement,
        delete_entitlement,
        undelete_entitlement,
    ],
    tags=["Credits"],
)
