"""Subscriptions on the wire: all the fields that the contract's SDKs require."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from app.http.meters import SQL
from app.http.prices import threshold_answer
from app.http.products import newest_price
from app.http.reading import raw
from app.sealing import keys_of, unseal
from domain import instant
from domain.cycle import Anchor, Interval, Unit, boundary
from domain.errors import NotFound
from domain.price import Price
from domain.subscription import Item
from projections.database import Database, Row


class CustomerBrief(msgspec.Struct):
    """The customer of a subscription."""

    customer_id: str
    email: str
    name: str
    metadata: Any


class MeterCartItem(msgspec.Struct):
    """A meter that the subscription is billed by."""

    meter_id: str
    name: str
    measurement_unit: str
    currency: str
    free_threshold: int | str
    price_per_unit: str
    description: str | None


class CreateResponse(msgspec.Struct):
    """What creating answers."""

    subscription_id: str
    payment_id: str
    payment_method_required: bool
    recurring_pre_tax_amount: int
    customer: CustomerBrief
    metadata: Any
    addons: list[Any]


class SubscriptionAnswer(msgspec.Struct):
    """A subscription. ``previous_billing_date`` and ``next_billing_date`` are the newest cycle's start and end."""

    subscription_id: str
    product_id: str
    products: list[Item]
    customer: CustomerBrief
    billing: dict[str, Any]
    brand_id: str
    currency: str
    quantity: int
    status: str
    created_at: str
    previous_billing_date: str
    next_billing_date: str
    recurring_pre_tax_amount: int
    payment_frequency_count: int
    payment_frequency_interval: Unit
    subscription_period_count: int
    subscription_period_interval: Unit
    tax_inclusive: bool
    trial_period_days: int
    on_demand: bool
    has_payment_method: bool
    cancel_at_next_billing_date: bool
    cancelled_at: str | None
    expires_at: str | None
    metadata: Any
    addons: list[Any]
    discounts: list[Any]
    meters: list[MeterCartItem]
    credit_entitlement_cart: list[Any]
    meter_credit_entitlement_cart: list[Any]


class SubscriptionList(msgspec.Struct):
    """A page of subscriptions, newest first."""

    items: list[SubscriptionAnswer]


async def find_subscription(database: Database, tenant_id: str, subscription_id: str) -> Row:
    """The read model's row. Raises ``NotFound``."""
    row = await database.fetchrow(SQL["subscription"], tenant_id, subscription_id)
    if row is None:
        raise NotFound("subscription", subscription_id)
    return row


class _Around(msgspec.Struct):
    """What a page of subscriptions refers to, by id."""

    customers: dict[str, Row]
    keys: dict[str, bytes]
    prices: dict[str, Price]
    meters: dict[str, Row]


async def _around(database: Database, tenant_id: str, rows: list[Row]) -> _Around:
    customer_ids = list({row["customer_id"] for row in rows})
    product_ids = list({product_id for row in rows for product_id in row["product_ids"]})
    customers = await database.fetch(SQL["customers_by_id"], tenant_id, customer_ids)
    products = await database.fetch(SQL["products_by_id"], tenant_id, product_ids)
    prices = {row["product_id"]: newest_price(row) for row in products}
    meter_ids = list({meter.meter_id for price in prices.values() for meter in price.meters})
    meters = await database.fetch(SQL["meters_by_id"], tenant_id, meter_ids)
    return _Around(
        customers={row["customer_id"]: row for row in customers},
        keys=await keys_of(database, tenant_id, customer_ids),
        prices=prices,
        meters={row["meter_id"]: row for row in meters},
    )


async def answers(database: Database, tenant_id: str, rows: list[Row]) -> list[SubscriptionAnswer]:
    """Subscriptions on the wire."""
    around = await _around(database, tenant_id, rows)
    return [_answer(tenant_id, row, around) for row in rows]


async def created_answer(database: Database, tenant_id: str, subscription_id: str) -> CreateResponse:
    """The answer to creating. No payment is asked for, so ``payment_id`` only names the subscription again."""
    row = await find_subscription(database, tenant_id, subscription_id)
    (whole,) = await answers(database, tenant_id, [row])
    return CreateResponse(
        subscription_id=subscription_id,
        payment_id=f"pay_{subscription_id.removeprefix('sub_')}",
        payment_method_required=False,
        recurring_pre_tax_amount=whole.recurring_pre_tax_amount,
        customer=whole.customer,
        metadata=whole.metadata,
        addons=[],
    )


def _answer(tenant_id: str, row: Row, around: _Around) -> SubscriptionAnswer:
    items = msgspec.json.decode(row["items"], type=list[Item])
    interval = msgspec.json.decode(row["payment_interval"], type=Interval)
    period = msgspec.json.decode(row["period"], type=Interval)
    prices = [around.prices[item.product_id] for item in items]
    customer_id = row["customer_id"]
    ended = instant.text(row["ended_at"]) if row["ended_at"] else None
    # Before the first cycle there is no period yet: it will start at the next billing date.
    start = row["cycle_start"] or row["created_at"]
    end = row["cycle_end"] or _first_start(row, interval, around)
    return SubscriptionAnswer(
        subscription_id=row["subscription_id"],
        product_id=items[0].product_id,
        products=items,
        customer=_customer(customer_id, around),
        billing=unseal(around.keys.get(customer_id), customer_id, row["billing"]),
        brand_id=tenant_id,
        currency=row["currency"],
        quantity=items[0].quantity,
        status=row["status"],
        created_at=instant.text(row["created_at"]),
        previous_billing_date=instant.text(start),
        next_billing_date=instant.text(end),
        recurring_pre_tax_amount=sum(
            price.fixed_price * item.quantity for price, item in zip(prices, items, strict=True)
        ),
        payment_frequency_count=interval.count,
        payment_frequency_interval=interval.unit,
        subscription_period_count=period.count,
        subscription_period_interval=period.unit,
        tax_inclusive=any(price.tax_inclusive for price in prices),
        trial_period_days=0,
        on_demand=False,
        has_payment_method=False,
        cancel_at_next_billing_date=row["cancel_at_next_billing_date"],
        cancelled_at=ended if row["status"] == "cancelled" else None,
        expires_at=ended if row["status"] == "expired" else None,
        metadata=raw(row["metadata"]),
        addons=[],
        discounts=[],
        meters=[item for price in prices for item in _cart(price, around)],
        credit_entitlement_cart=[],
        meter_credit_entitlement_cart=[],
    )


def _first_start(row: Row, interval: Interval, around: _Around) -> datetime:
    """Where the first cycle will begin in the customer's time zone of today; of one that ended before, its creation."""
    if row["ended_at"]:
        return row["created_at"]
    anchor = msgspec.json.decode(row["anchor"], type=Anchor)
    return boundary(anchor, interval, 0, around.customers[row["customer_id"]]["time_zone"])


def _customer(customer_id: str, around: _Around) -> CustomerBrief:
    row = around.customers[customer_id]
    personal = unseal(around.keys.get(customer_id), customer_id, row["personal"])
    return CustomerBrief(
        customer_id=customer_id,
        email=str(personal.get("email", "")),
        name=str(personal.get("name", "")),
        metadata=raw(row["metadata"]),
    )


def _cart(price: Price, around: _Around) -> list[MeterCartItem]:
    return [
        MeterCartItem(
            meter_id=meter.meter_id,
            name=around.meters[meter.meter_id]["name"],
            measurement_unit=around.meters[meter.meter_id]["measurement_unit"],
            currency=price.currency,
            free_threshold=threshold_answer(meter.free_threshold),
            price_per_unit=meter.price_per_unit,
            description=around.meters[meter.meter_id]["description"],
        )
        for meter in price.meters
    ]
