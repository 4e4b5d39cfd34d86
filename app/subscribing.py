"""The commands around a subscription: subscribe, change, cancel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from app.identity import new_id
from app.sealing import key_for, seal
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain.customer import Customer
from domain.cycle import Anchor
from domain.errors import Invalid
from domain.price import Price
from domain.product import Product
from domain.subscription import Item, Subscription
from projections.statements import load

SQL = load("app.sql", "billing.sql")

MIN_YEAR, MAX_YEAR = 2000, 2200
"""Anchors outside of these are typing errors; every cycle since the anchor is opened at once."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to subscribe to. The customer is named by id, or made from e-mail and name."""

    items: tuple[Item, ...]
    customer_id: str | None
    email: str | None
    name: str | None
    billing: Mapping[str, Any]
    billing_currency: str | None
    anchor_date: date | None
    metadata: str


async def subscribe(service: Service, caller: Caller, order: Order) -> str:
    """Make a subscription and open the cycles that have begun; its id.

    Raises ``Invalid`` when customer or product is unknown, or the products disagree on currency, cycle or period.
    """
    if order.anchor_date is not None and not MIN_YEAR <= order.anchor_date.year <= MAX_YEAR:
        raise Invalid("anchor_date", f"must lie in the years {MIN_YEAR} to {MAX_YEAR}")
    subscription_id = new_id("sub")
    async with transaction(service, caller, "subscription.create") as running:
        price = await _common_price(running, order)
        customer = await _customer(running, order)
        customer_id = customer.object_id
        key = await key_for(running.database, running.tenant_id, customer_id)
        anchor = Anchor(date=order.anchor_date) if order.anchor_date else Anchor(instant=running.now)
        subscription = Subscription.create(
            subscription_id,
            customer_id=customer_id,
            items=order.items,
            currency=price.currency,
            interval=price.cycle,
            period=price.subscription_period,
            anchor=anchor,
            billing=seal(key, customer_id, order.billing),
            metadata=order.metadata,
            at=running.now,
        )
        subscription.advance(customer.time_zone, running.now)
        running.add(subscription)
    return subscription_id


async def _common_price(running: Transaction, order: Order) -> Price:
    """The newest price of the first product; the others have to agree with its currency, cycle and period."""
    prices: list[Price] = []
    for index, item in enumerate(order.items):
        field = "product_id" if len(order.items) == 1 else f"products[{index}].product_id"
        product = await running.find(Product, item.product_id)
        if product is None:
            raise Invalid(field, f"there is no product '{item.product_id}'", "PRODUCT_NOT_FOUND")
        if product.archived:
            raise Invalid(field, f"product '{item.product_id}' is archived", "PRODUCT_ARCHIVED")
        prices.append(product.newest_price)
    first = prices[0]
    for price in prices[1:]:
        if price.currency != first.currency:
            raise Invalid("products", "must share one currency", "CURRENCY_MISMATCH")
        if price.cycle != first.cycle or price.subscription_period != first.subscription_period:
            raise Invalid("products", "must share one billing cycle and period", "INTERVAL_MISMATCH")
    if order.billing_currency not in (None, first.currency):
        raise Invalid("billing_currency", f"the product is priced in {first.currency}", "CURRENCY_MISMATCH")
    return first


async def _customer(running: Transaction, order: Order) -> Customer:
    if order.customer_id is not None:
        customer = await running.find(Customer, order.customer_id)
        if customer is None:
            raise Invalid("customer.customer_id", f"there is no customer '{order.customer_id}'", "CUSTOMER_NOT_FOUND")
        return customer
    if not order.email or not order.name:
        raise Invalid("customer", "must hold customer_id, or email and name")
    customer_id = new_id("cus")
    key = await key_for(running.database, running.tenant_id, customer_id)
    customer = Customer.create(
        customer_id,
        personal=seal(key, customer_id, {"email": order.email, "name": order.name, "phone_number": None}),
        time_zone="UTC",
        preferred_locale=None,
        metadata="{}",
        at=running.now,
    )
    running.add(customer)
    return customer


async def open_begun_cycles(running: Transaction, customer: Customer) -> None:
    """Open the cycles of a customer that have begun, by the time zone that the customer still has.

    Cycles are opened as their time comes, but a change of zone must not depend on whether that has been done.
    """
    rows = await running.database.fetch(SQL["active_subscriptions"], running.tenant_id, customer.object_id)
    for row in rows:
        subscription = await running.get(Subscription, row["subscription_id"])
        subscription.advance(customer.time_zone, running.now)


async def change_subscription(
    service: Service,
    caller: Caller,
    subscription_id: str,
    *,
    cancel: bool,
    cancel_at_next_billing_date: bool | None,
    billing: Mapping[str, Any] | None,
    metadata: str | None,
) -> None:
    """Cancel now or at the end of the cycle, and change address and notes; all of it or nothing.

    Raises ``NotFound``, and ``Conflict`` when the subscription has ended.
    """
    async with transaction(service, caller, "subscription.change") as running:
        subscription = await running.get(Subscription, subscription_id)
        customer = await running.get(Customer, subscription.customer_id)
        subscription.advance(customer.time_zone, running.now)
        sealed = subscription.billing
        if billing is not None:
            key = await key_for(running.database, running.tenant_id, subscription.customer_id)
            sealed = seal(key, subscription.customer_id, billing)
        subscription.change(sealed, subscription.metadata if metadata is None else metadata, running.now)
        if cancel:
            subscription.cancel(running.now)
        elif cancel_at_next_billing_date is not None:
            subscription.schedule_cancellation(cancel_at_next_billing_date, running.now)
