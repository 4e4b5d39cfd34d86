"""Subscriptions: create, read, cancel; what their cycles used and will cost."""

from __future__ import annotations

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
)
from app.limits import QUANTITY_MAX, SUBSCRIPTION_ITEMS_MAX
from app.subscribing import Order, change_subscription, subscribe
from domain.errors import Invalid
from domain.subscription import Item

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

UNBILLED_CHANGES = ("next_billing_date", "credit_entitlement_cart", "discount_code", "discount_codes", "addons")
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
    trial_period_days: int | None = None


class SubscriptionUpdate(msgspec.Struct):
    """Cancel now (``status``), at the end of the cycle, or change the notes."""

    status: str | None = None
    cancel_at_next_billing_date: bool | None = None
    billing: dict[str, Any] | None = None
    metadata: Metadata | None = None


def _items(data: SubscriptionCreate) -> tuple[Item, ...]:
    if (data.product_id is None) == (data.products is None):
        raise Invalid("product_id", "send either product_id or products")
    if data.products is None:
        return (Item(str(data.product_id), data.quantity or 1),)
    if data.quantity not in (None, 1):
        raise Invalid("quantity", "goes with product_id; each of the products has its own")
    if not 1 <= len(data.products) <= SUBSCRIPTION_ITEMS_MAX:
        raise Invalid("products", f"must hold 1 to {SUBSCRIPTION_ITEMS_MAX} products")
    if len({item.product_id for item in data.products}) < len(data.products):
        raise Invalid("products", "a product stands in it twice; state its quantity")
    return tuple(Item(item.product_id, item.quantity) for item in data.products)


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
    if data.trial_period_days:
        raise Invalid("trial_period_days", "trials are not billed here; leave it out or 0")
    order = Order(
        items=_items(data),
        customer_id=data.customer.customer_id,
        email=data.customer.email,
        name=data.customer.name,
        billing=_billing(data.billing),
        billing_currency=data.billing_currency,
        anchor_date=_anchor_date(data.anchor_date),
        metadata=metadata_text(request),
    )
    subscription_id = await subscribe(service, request.auth, order)
    async with service.pool.acquire() as connection:
        return await created_answer(connection, request.auth.tenant_id, subscription_id)


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


async def _one(service: Serving, tenant_id: str, subscription_id: str) -> SubscriptionAnswer:
    async with service.pool.acquire() as connection:
        row = await find_subscription(connection, tenant_id, subscription_id)
        return (await answers(connection, tenant_id, [row]))[0]


@get("/subscriptions/{subscription_id:str}", guards=[requires("read")])
async def get_subscription(request: Asked, service: Serving, subscription_id: FromPath[str]) -> SubscriptionAnswer:
    """One subscription."""
    return await _one(service, request.auth.tenant_id, path_id(subscription_id, "subscription"))


@patch("/subscriptions/{subscription_id:str}", guards=[requires("write")])
async def update_subscription(
    request: Asked, service: Serving, subscription_id: FromPath[str], data: JSONBody[SubscriptionUpdate]
) -> SubscriptionAnswer:
    """Cancel now or at the next billing date, or change billing address and metadata."""
    subscription_id = path_id(subscription_id, "subscription")
    refuse_unbilled(members(request), UNBILLED_CHANGES)
    check_spelling(members(request), (*SubscriptionUpdate.__struct_fields__, *UNBILLED_CHANGES))
    if data.status not in (None, "cancelled"):
        raise Invalid("status", "can only be set to cancelled", "UNSUPPORTED_STATUS")
    await change_subscription(
        service,
        request.auth,
        subscription_id,
        cancel=data.status is not None,
        cancel_at_next_billing_date=data.cancel_at_next_billing_date,
        billing=None if data.billing is None else _billing(data.billing),
        metadata=metadata_text(request) if data.metadata is not None else None,
    )
    return await _one(service, request.auth.tenant_id, subscription_id)


ROUTER = Router(
    "/",
    route_handlers=[create_subscription, list_subscriptions, get_subscription, update_subscription],
    tags=["Subscriptions"],
)
