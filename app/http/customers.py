"""Customers: who is billed. Personal fields are sealed on the way in and opened on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.erasing import erase_customer
from app.http.auth import requires
from app.http.meters import SQL
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    Metadata,
    Page,
    PageNumber,
    PageSize,
    Serving,
    check_spelling,
    members,
    metadata_text,
    page,
    path_id,
    raw,
    read_instant,
)
from app.identity import new_id
from app.limits import TEXT_MAX_CHARS
from app.sealing import SealingKey, key_for, keys_of, seal, unseal
from app.service import Caller, Service
from app.subscribing import open_begun_cycles
from app.transaction import transaction
from domain import instant
from domain.customer import Customer
from domain.cycle import UnknownZone, check_zone
from domain.errors import Conflict, Invalid, NotFound
from domain.event import CUSTOMER_ID_MAX_CHARS
from projections.database import Database, Row

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX_CHARS)]

SEARCH_PAGE = 500
"""Customers opened at once when the search is in sealed fields."""


class CustomerCreate(msgspec.Struct):
    """A customer. ``customer_id`` may be the caller's own; usage already recorded under it counts."""

    email: Annotated[Text, msgspec.Meta(examples=["billing@example.com"])]
    name: Annotated[Text, msgspec.Meta(examples=["Example Ltd"])]
    customer_id: Annotated[str, msgspec.Meta(max_length=CUSTOMER_ID_MAX_CHARS)] | None = None
    phone_number: Annotated[str, msgspec.Meta(max_length=TEXT_MAX_CHARS)] | None = None
    time_zone: str | None = None
    preferred_locale: Annotated[str, msgspec.Meta(max_length=TEXT_MAX_CHARS)] | None = None
    metadata: Metadata | None = None


class CustomerUpdate(msgspec.Struct):
    """Fields to change; ``null`` clears the optional ones."""

    email: Text | msgspec.UnsetType = msgspec.UNSET
    name: Text | msgspec.UnsetType = msgspec.UNSET
    phone_number: Annotated[str, msgspec.Meta(max_length=TEXT_MAX_CHARS)] | msgspec.UnsetType | None = msgspec.UNSET
    time_zone: str | msgspec.UnsetType = msgspec.UNSET
    preferred_locale: Annotated[str, msgspec.Meta(max_length=TEXT_MAX_CHARS)] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | None = None


class CustomerAnswer(msgspec.Struct):
    """A customer. The personal fields are empty once they were erased; ``erased_at`` is when that was last done."""

    customer_id: str
    business_id: str
    created_at: str
    updated_at: str
    email: str
    name: str
    phone_number: str | None
    time_zone: str
    preferred_locale: str | None
    metadata: Any
    erased_at: str | msgspec.UnsetType = msgspec.UNSET


class CustomerList(msgspec.Struct):
    """A page of customers, newest first."""

    items: list[CustomerAnswer]


def answer(tenant_id: str, row: Row, keys: Mapping[str, SealingKey]) -> CustomerAnswer:
    """A row of the read model on the wire, opened with its key."""
    customer_id = row["customer_id"]
    key = keys.get(customer_id)
    personal = unseal(key, customer_id, row["personal"])
    phone_number = personal.get("phone_number")
    return CustomerAnswer(
        customer_id=customer_id,
        business_id=tenant_id,
        created_at=instant.text(row["created_at"]),
        updated_at=instant.text(row["updated_at"]),
        email=str(personal.get("email", "")),
        name=str(personal.get("name", "")),
        phone_number=None if phone_number is None else str(phone_number),
        time_zone=row["time_zone"],
        preferred_locale=row["preferred_locale"],
        metadata=raw(row["metadata"]),
        erased_at=instant.text(key.erased_at) if key and key.erased_at else msgspec.UNSET,
    )


async def answers(database: Database, tenant_id: str, rows: list[Row]) -> list[CustomerAnswer]:
    """Customers on the wire."""
    keys = await keys_of(database, tenant_id, [row["customer_id"] for row in rows])
    return [answer(tenant_id, row, keys) for row in rows]


async def find_customer(database: Database, tenant_id: str, customer_id: str) -> Row:
    """The read model's row. Raises ``NotFound``."""
    row = await database.fetchrow(SQL["customer"], tenant_id, customer_id)
    if row is None:
        raise NotFound("customer", customer_id)
    return row


async def _one(service: Serving, tenant_id: str, customer_id: str) -> CustomerAnswer:
    async with service.pool.acquire() as connection:
        row = await find_customer(connection, tenant_id, customer_id)
        return (await answers(connection, tenant_id, [row]))[0]


def zone_of(name: str) -> str:
    """Raises ``Invalid`` for a name that is not in the IANA time zone database."""
    try:
        check_zone(name)
    except UnknownZone as error:
        raise Invalid("time_zone", str(error)) from None
    return name


@post("/customers", status_code=200, guards=[requires("write")])
async def create_customer(request: Asked, service: Serving, data: JSONBody[CustomerCreate]) -> CustomerAnswer:
    """Make a customer."""
    check_spelling(members(request), CustomerCreate.__struct_fields__)
    customer_id = await add_customer(service, request.auth, data, metadata_text(request))
    return await _one(service, request.auth.tenant_id, customer_id)


async def add_customer(service: Service, caller: Caller, data: CustomerCreate, metadata: str = "{}") -> str:
    """Make a customer; its id. ``metadata`` is a flat JSON object as text. Raises ``Invalid``, ``Conflict``."""
    if data.customer_id == "":
        raise Invalid("customer_id", "must not be empty")
    customer_id, zone = data.customer_id or new_id("cus"), zone_of(data.time_zone or "UTC")
    personal = {"email": data.email, "name": data.name, "phone_number": data.phone_number}
    async with transaction(service, caller, "customer.create") as running:
        if await running.find(Customer, customer_id) is not None:
            raise Conflict("CUSTOMER_EXISTS", f"there is a customer '{customer_id}' already")
        key = await key_for(running.database, caller.tenant_id, customer_id)
        running.add(
            Customer.create(
                customer_id,
                personal=seal(key, customer_id, personal),
                time_zone=zone,
                preferred_locale=data.preferred_locale,
                metadata=metadata,
                at=running.now,
            )
        )
    return customer_id


@get("/customers", guards=[requires("read")])
async def list_customers(
    request: Asked,
    service: Serving,
    email: FromQuery[str | None] = None,
    name: FromQuery[str | None] = None,
    created_at_gte: FromQuery[str | None] = None,
    created_at_lte: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> CustomerList:
    """Customers, newest first; ``email`` and ``name`` find any part, in any case."""
    rows = page(page_number, page_size)
    since, until = (
        read_instant(created_at_gte, "created_at_gte"),
        read_instant(created_at_lte, "created_at_lte"),
    )
    tenant_id = request.auth.tenant_id
    async with service.pool.acquire() as connection:
        if email or name:
            wanted = {"email": (email or "").casefold(), "name": (name or "").casefold()}
            return CustomerList(await _search(connection, tenant_id, wanted, (since, until), rows))
        found = await connection.fetch(SQL["customers"], tenant_id, since, until, rows.size, rows.offset)
        return CustomerList(await answers(connection, tenant_id, found))


async def _search(
    database: Database, tenant_id: str, wanted: Mapping[str, str], created: tuple[Any, Any], rows: Page
) -> list[CustomerAnswer]:
    """Sealed fields cannot be searched by the database, so customers are opened page by page until enough match."""
    matching: list[CustomerAnswer] = []
    offset = 0
    while len(matching) < rows.offset + rows.size:
        found = await database.fetch(SQL["customers"], tenant_id, *created, SEARCH_PAGE, offset)
        matching += [
            customer
            for customer in await answers(database, tenant_id, found)
            if all(part in getattr(customer, field).casefold() for field, part in wanted.items())
        ]
        if len(found) < SEARCH_PAGE:
            break
        offset += SEARCH_PAGE
    return matching[rows.offset : rows.offset + rows.size]


@get("/customers/{customer_id:str}", guards=[requires("read")])
async def get_customer(request: Asked, service: Serving, customer_id: FromPath[str]) -> CustomerAnswer:
    """One customer."""
    return await _one(service, request.auth.tenant_id, path_id(customer_id, "customer"))


@patch("/customers/{customer_id:str}", guards=[requires("write")])
async def update_customer(
    request: Asked, service: Serving, customer_id: FromPath[str], data: JSONBody[CustomerUpdate]
) -> CustomerAnswer:
    """Change fields. A new time zone moves only cycles that have not opened."""
    check_spelling(members(request), CustomerUpdate.__struct_fields__)
    customer_id, tenant_id = path_id(customer_id, "customer"), request.auth.tenant_id
    async with transaction(service, request.auth, "customer.change") as running:
        customer = await running.get(Customer, customer_id)
        await open_begun_cycles(running, customer)
        given = {"email": data.email, "name": data.name, "phone_number": data.phone_number}
        changed = {field: value for field, value in given.items() if value is not msgspec.UNSET}
        customer.change(
            personal=await _sealed_again(running.database, tenant_id, customer, changed),
            time_zone=customer.time_zone if data.time_zone is msgspec.UNSET else zone_of(data.time_zone),
            preferred_locale=(
                customer.preferred_locale if data.preferred_locale is msgspec.UNSET else data.preferred_locale
            ),
            metadata=metadata_text(request, kept=customer.metadata),
            at=running.now,
        )
    return await _one(service, tenant_id, customer_id)


async def _sealed_again(
    database: Database, tenant_id: str, customer: Customer, changed: Mapping[str, str | None]
) -> str:
    """The customer's personal fields with what changes. Who was erased gets a new key with the first new field."""
    if not changed:
        return customer.personal
    key = await key_for(database, tenant_id, customer.object_id)
    return seal(key, customer.object_id, {**unseal(key, customer.object_id, customer.personal), **changed})


@delete("/customers/{customer_id:str}/personal-data", status_code=200, guards=[requires("write")])
async def erase_personal_data(request: Asked, service: Serving, customer_id: FromPath[str]) -> CustomerAnswer:
    """Erase e-mail, name, phone number and billing addresses for ever, by destroying the key that they are sealed with.

    The customer, usage and invoices stay, under the customer's id. Erasing again changes nothing.
    """
    customer_id = path_id(customer_id, "customer")
    await erase_customer(service, request.auth, customer_id)
    return await _one(service, request.auth.tenant_id, customer_id)


ROUTER = Router(
    "/",
    route_handlers=[create_customer, list_customers, get_customer, update_customer, erase_personal_data],
    tags=["Customers"],
)
