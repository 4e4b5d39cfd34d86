"""Subscriptions: create, read, change, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import msgspec
from litestar import Router, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.http.auth import requires
from app.http.meters import SQL
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    Metadata,
    PageNumber,
    PageSize,
    Serving,
    check_spelling,
    members,
    metadata_text,
    page,
    path_id,
    read_instant,
    refuse_unbilled,
)
from app.http.subscription_answers import (
    CreateResponse,
    SubscriptionAnswer,
    SubscriptionList,
    answers,
    created_answer,
    find_subscription,
    whole_answer,
)
from app.limits import QUANTITY_MAX, SUBSCRIPTION_ITEMS_MAX, TRIAL_DAYS_MAX
from app.reading_log import reading
from app.service import Caller, Service
from app.subscribing import Change, Order, change_subscription, subscribe
from domain.errors import Invalid
from domain.plan import Item
from domain.subscription_events import Status

Quantity = Annotated[int, msgspec.Meta(ge=1, le=QUANTITY_MAX)]

UNBILLED = (
    "discount_code",
    "discount_codes",
    "addons",
    "one_time_product_cart",
    "on_demand",
    "credit_entitlement_cart",
)
"""Fields of the contract that change what a new subscription costs and are not honoured."""

UNBILLED_CHANGES = ("credit_entitlement_cart", "discount_code", "discount_codes", "addons")
"""Fields of the contract's PATCH that change what is billed and are not honoured."""


class CustomerChoice(msgspec.Struct):
    """An existing customer by id, or a new one by e-mail and name."""

    customer_id: str | None = None
    email: str | None = None
    name: str | None = None


class ItemInput(msgspec.Struct):
    """A product of the subscription; ``quantity`` multiplies its fixed price."""

    product_id: str
    quantity: Quantity = 1


class SubscriptionCreate(msgspec.Struct):
    """Subscribe a customer to one product, or to several with ``products``."""

    customer: CustomerChoice
    billing: Annotated[dict[str, Any], msgspec.Meta(examples=[{"country": "US"}])]
    product_id: str | None = None
    quantity: Quantity | None = None
    products: list[ItemInput] | None = None
    anchor_date: Annotated[str, msgspec.Meta(examples=["2026-01-01"])] | None = None
    metadata: Metadata | None = None
    billing_currency: str | None = None
    trial_period_days: Annotated[int, msgspec.Meta(ge=0, le=TRIAL_DAYS_MAX)] | None = None


class SubscriptionUpdate(msgspec.Struct):
    """Pause, resume or cancel now (``status``), cancel at the end of the cycle, move that, or change the notes."""

    status: str | None = None
    cancel_at_next_billing_date: bool | None = None
    next_billing_date: Annotated[str, msgspec.Meta(examples=["2026-02-01T00:00:00Z"])] | None = None
    billing: dict[str, Any] | None = None
    metadata: Metadata | None = None


def read_items(product_id: str | None, quantity: int | None, products: list[ItemInput] | None) -> tuple[Item, ...]:
    """The products that a body names, one or several. Raises ``Invalid`` when it does neither or both."""
    if (product_id is None) == (products is None):
        raise Invalid("product_id", "send either product_id or products")
    if products is None:
        return (Item(str(product_id), quantity or 1),)
    if quantity not in (None, 1):
        raise Invalid("quantity", "goes with product_id; each of the products has its own")
    if not 1 <= len(products) <= SUBSCRIPTION_ITEMS_MAX:
        raise Invalid("products", f"must hold 1 to {SUBSCRIPTION_ITEMS_MAX} products")
    if len({item.product_id for item in products}) < len(products):
        raise Invalid("products", "a product stands in it twice; state its quantity")
    return tuple(Item(item.product_id, item.quantity) for item in products)


def _anchor_date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        # Python reads more forms of a date than the contract's one.
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid("anchor_date", "must be a date such as 2026-01-31") from None


def _billing(value: dict[str, Any]) -> dict[str, Any]:
    country = value.get("country")
    if not isinstance(country, str) or len(country) != 2 or not country.isascii() or not country.isupper():
        raise Invalid("billing.country", "is required: an ISO 3166 code of two capitals, such as US")
    return value


@post("/subscriptions", status_code=200, guards=[requires("write")])
async def create_subscription(request: Asked, service: Serving, data: JSONBody[SubscriptionCreate]) -> CreateResponse:
    """Subscribe. The subscription is active at once; with an anchor in the past its cycles since then are open."""
    refuse_unbilled(members(request), UNBILLED)
    check_spelling(members(request), (*SubscriptionCreate.__struct_fields__, *UNBILLED))
    subscription_id = await subscribe(service, request.auth, order_of(data, metadata_text(request)))
    async with service.pool.acquire() as connection:
        return await created_answer(connection, request.auth.tenant_id, subscription_id)


def order_of(data: SubscriptionCreate, metadata: str = "{}") -> Order:
    """What a body subscribes to. ``metadata`` is a flat JSON object as text. Raises ``Invalid``."""
    return Order(
        items=read_items(data.product_id, data.quantity, data.products),
        customer_id=data.customer.customer_id,
        email=data.customer.email,
        name=data.customer.name,
        billing=_billing(data.billing),
        billing_currency=data.billing_currency,
        anchor_date=_anchor_date(data.anchor_date),
        metadata=metadata,
        trial_days=data.trial_period_days or 0,
    )


@get("/subscriptions", guards=[requires("read")])
async def list_subscriptions(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str | None] = None,
    product_id: FromQuery[str | None] = None,
    status: FromQuery[str | None] = None,
    cancel_at_next_billing_date: FromQuery[bool | None] = None,
    created_at_gte: FromQuery[str | None] = None,
    created_at_lte: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> SubscriptionList:
    """Subscriptions, newest first."""
    rows = page(page_number, page_size)
    where = (
        customer_id,
        product_id,
        status,
        cancel_at_next_billing_date,
        read_instant(created_at_gte, "created_at_gte"),
        read_instant(created_at_lte, "created_at_lte"),
    )
    tenant_id = request.auth.tenant_id
    async with service.pool.acquire() as connection:
        found = await connection.fetch(SQL["subscriptions"], tenant_id, *where, rows.size, rows.offset)
        return SubscriptionList(await answers(connection, tenant_id, found))


async def _one(service: Service, caller: Caller, subscription_id: str) -> SubscriptionAnswer:
    async with reading(service, caller, latest=True) as aggregates:
        row = await find_subscription(aggregates.database, aggregates.tenant_id, subscription_id)
        return await whole_answer(aggregates, row)


@get("/subscriptions/{subscription_id:str}", guards=[requires("read")])
async def get_subscription(request: Asked, service: Serving, subscription_id: FromPath[str]) -> SubscriptionAnswer:
    """One subscription."""
    return await _one(service, request.auth, path_id(subscription_id, "subscription"))


def _status(given: Mapping[str, Any], status: str | None) -> Status | None:
    """Where a change leads. Raises ``Invalid`` for a status that is not set by hand, or that has to stand alone."""
    if status is None:
        return None
    if status not in (Status.paused, Status.active, Status.cancelled):
        raise Invalid("status", "can only be set to paused, active or cancelled", "UNSUPPORTED_STATUS")
    if status != Status.cancelled:
        beside = sorted(field for field, value in given.items() if field != "status" and value is not None)
        if beside:
            raise Invalid("status", f"{status} has to stand alone, without {', '.join(beside)}")
    return Status(status)


@patch("/subscriptions/{subscription_id:str}", guards=[requires("write")])
async def update_subscription(
    request: Asked, service: Serving, subscription_id: FromPath[str], data: JSONBody[SubscriptionUpdate]
) -> SubscriptionAnswer:
    """Pause, resume or cancel, move the next billing date, or change billing address and metadata.

    A pause ends the open cycle, its fee shared by time; resuming begins a new one. Moved to another date, the open
    cycle ends there with its fee in full.
    """
    subscription_id = path_id(subscription_id, "subscription")
    refuse_unbilled(members(request), UNBILLED_CHANGES)
    check_spelling(members(request), (*SubscriptionUpdate.__struct_fields__, *UNBILLED_CHANGES))
    change = Change(
        status=_status(members(request), data.status),
        cancel_at_next_billing_date=data.cancel_at_next_billing_date,
        next_billing_date=read_instant(data.next_billing_date, "next_billing_date"),
        billing=None if data.billing is None else _billing(data.billing),
        metadata=metadata_text(request) if data.metadata is not None else None,
    )
    await change_subscription(service, request.auth, subscription_id, change)
    return await _one(service, request.auth, subscription_id)


ROUTER = Router(
    "/",
    route_handlers=[create_subscription, list_subscriptions, get_subscription, update_subscription],
    tags=["Subscriptions"],
)
