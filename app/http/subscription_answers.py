"""Subscriptions on the wire: all the fields that the contract's SDKs require."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from app.http.meters import SQL
from app.http.prices import threshold_answer
from app.http.products import newest_price
from app.http.reading import raw
from app.http.subscription_credits import (
    CreditCartItem,
    MeterCreditCartItem,
    balances_of,
    credit_cart,
    meter_credit_cart,
)
from app.sealing import SealingKey, keys_of, unseal
from domain import instant
from domain.cycle import Anchor, Interval, Unit, boundary
from domain.errors import NotFound
from domain.plan import Item, Plan
from domain.price import Price
from domain.subscription import Subscription
from projections.aggregates import Aggregates
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
    price_per_unit: str | None
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


class ScheduledChange(msgspec.Struct):
    """A change of plan that waits for the next billing date."""

    id: str
    created_at: str
    effective_at: str
    product_id: str
    quantity: int
    products: list[Item]
    addons: list[Any]


class SubscriptionAnswer(msgspec.Struct):
    """A subscription. ``previous_billing_date`` and ``next_billing_date`` are the newest cycle's start and end.

    A list leaves ``credit_entitlement_cart`` out: a balance takes reckoning.
    """

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
    paused_at: str | None
    scheduled_change: ScheduledChange | None
    metadata: Any
    addons: list[Any]
    discounts: list[Any]
    meters: list[MeterCartItem]
    meter_credit_entitlement_cart: list[MeterCreditCartItem]
    credit_entitlement_cart: list[CreditCartItem] | msgspec.UnsetType = msgspec.UNSET


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

    tenant_id: str
    customers: dict[str, Row]
    keys: dict[str, SealingKey]
    prices: dict[str, Price]
    meters: dict[str, Row]


async def _around(database: Database, tenant_id: str, rows: Sequence[Row]) -> _Around:
    customer_ids = list({row["customer_id"] for row in rows})
    product_ids = list({product_id for row in rows for product_id in row["product_ids"]})
    customers = await database.fetch(SQL["customers_by_id"], tenant_id, customer_ids)
    products = await database.fetch(SQL["products_by_id"], tenant_id, product_ids)
    prices = {row["product_id"]: newest_price(row) for row in products}
    meter_ids = list({meter.meter_id for price in prices.values() for meter in price.meters})
    meters = await database.fetch(SQL["meters_by_id"], tenant_id, meter_ids)
    return _Around(
        tenant_id=tenant_id,
        customers={row["customer_id"]: row for row in customers},
        keys=await keys_of(database, tenant_id, customer_ids),
        prices=prices,
        meters={row["meter_id"]: row for row in meters},
    )


async def answers(database: Database, tenant_id: str, rows: Sequence[Row]) -> list[SubscriptionAnswer]:
    """Subscriptions on the wire, as in a list."""
    around = await _around(database, tenant_id, rows)
    return [_answer(row, around) for row in rows]


async def whole_answer(aggregates: Aggregates, row: Row) -> SubscriptionAnswer:
    """One subscription on the wire, with the balances of the credits that it includes."""
    database, tenant_id = aggregates.database, aggregates.tenant_id
    around = await _around(database, tenant_id, [row])
    balances = await balances_of(aggregates, row["customer_id"], around.prices.values())
    found = await database.fetch(SQL["credit_entitlements_by_id"], tenant_id, list(balances)) if balances else []
    entitlements = {entitlement["credit_entitlement_id"]: entitlement for entitlement in found}
    whole = _answer(row, around)
    whole.credit_entitlement_cart = [
        one
        for item in whole.products
        for one in credit_cart(item.product_id, around.prices[item.product_id], entitlements, balances)
    ]
    return whole


class _Changed:
    """A row with other values in some columns."""

    def __init__(self, row: Row, values: Mapping[str, Any]) -> None:
        self._row = row
        self._values = values

    def __getitem__(self, key: str, /) -> Any:
        return self._values[key] if key in self._values else self._row[key]


def replanned(row: Row, subscription: Subscription) -> Row:
    """The row of a subscription that has had a change of plan in memory only; one that waits is taken as done."""
    newest = subscription.cycles[-1] if subscription.cycles else None
    plan = subscription.scheduled or subscription.plan
    values = {
        "items": msgspec.json.encode(plan.items),
        "product_ids": [item.product_id for item in plan.items],
        "payment_interval": msgspec.json.encode(plan.interval),
        "period": msgspec.json.encode(plan.period),
        "cycle_start": newest.start if newest else None,
        "cycle_end": newest.end if newest else None,
        "scheduled_plan": None,
    }
    return _Changed(row, values)


async def created_answer(database: Database, tenant_id: str, subscription_id: str) -> CreateResponse:
    """The answer to creating. No payment is asked for, so ``payment_id`` only names the subscription again."""
    row = await find_subscription(database, tenant_id, subscription_id)
    (listed,) = await answers(database, tenant_id, [row])
    return CreateResponse(
        subscription_id=subscription_id,
        payment_id=f"pay_{subscription_id.removeprefix('sub_')}",
        payment_method_required=False,
        recurring_pre_tax_amount=listed.recurring_pre_tax_amount,
        customer=listed.customer,
        metadata=listed.metadata,
        addons=[],
    )


def _answer(row: Row, around: _Around) -> SubscriptionAnswer:
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
        brand_id=around.tenant_id,
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
        trial_period_days=row["trial_days"],
        on_demand=False,
        has_payment_method=False,
        cancel_at_next_billing_date=row["cancel_at_next_billing_date"],
        cancelled_at=ended if row["status"] == "cancelled" else None,
        expires_at=ended if row["status"] == "expired" else None,
        paused_at=instant.text(row["paused_at"]) if row["paused_at"] else None,
        scheduled_change=_scheduled(row, end) if row["scheduled_plan"] else None,
        metadata=raw(row["metadata"]),
        addons=[],
        discounts=[],
        meters=[meter for price in prices for meter in _cart(price, around)],
        meter_credit_entitlement_cart=[
            meter
            for price, item in zip(prices, items, strict=True)
            for meter in meter_credit_cart(item.product_id, price, around.meters)
        ],
    )


def _scheduled(row: Row, effective_at: datetime) -> ScheduledChange:
    """The change that waits. There is one at most, so the subscription's id names it."""
    products = msgspec.json.decode(row["scheduled_plan"], type=Plan).items
    return ScheduledChange(
        id=f"sch_{row['subscription_id'].removeprefix('sub_')}",
        created_at=instant.text(row["scheduled_at"]),
        effective_at=instant.text(effective_at),
        product_id=products[0].product_id,
        quantity=products[0].quantity,
        products=list(products),
        addons=[],
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
