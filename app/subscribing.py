"""The commands around a subscription: subscribe, change, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from app.identity import new_id
from app.limits import CYCLES_BACK_MAX
from app.opening import open_cycles
from app.retired import check_unsettled
from app.sealing import key_for, seal
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain.customer import Customer
from domain.cycle import Anchor, boundary
from domain.errors import Invalid
from domain.plan import Item
from domain.price import Price
from domain.product import Product
from domain.subscription import Subscription
from domain.subscription_events import Status
from projections.aggregates import Aggregates, known
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
    trial_days: int = 0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a subscription; ``None`` leaves it as it is. ``status`` is where it shall go."""

    status: Status | None = None
    cancel_at_next_billing_date: bool | None = None
    next_billing_date: datetime | None = None
    billing: Mapping[str, Any] | None = None
    metadata: str | None = None


async def subscribe(service: Service, caller: Caller, order: Order) -> str:
    """Make a subscription and open the cycles that have begun; its id.

    Raises ``Invalid`` when customer or product is unknown, or the products disagree on currency, cycle or period.
    """
    if order.anchor_date is not None:
        _check_year(order.anchor_date, "anchor_date")
    subscription_id = new_id("sub")
    async with transaction(service, caller, "subscription.create") as running:
        price = await price_of(running, order.items)
        if order.billing_currency not in (None, price.currency):
            raise Invalid("billing_currency", f"the product is priced in {price.currency}", "CURRENCY_MISMATCH")
        customer = await _customer(running, order)
        _check_backlog(order, price, customer.time_zone, running.now)
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
            trial_days=order.trial_days,
            at=running.now,
        )
        running.add(subscription)
        await open_cycles(running, subscription, running.now)
        for cycle in subscription.cycles[:1]:
            await check_unsettled(running.database, running.tenant_id, cycle.start)
    return subscription_id


def _check_backlog(order: Order, price: Price, zone: str, now: datetime) -> None:
    """Raises ``Invalid`` for an anchor so far back that opening its cycles would hold the tenant's log for long."""
    if order.anchor_date is None:
        return
    last = boundary(Anchor(date=order.anchor_date), price.cycle, CYCLES_BACK_MAX, zone)
    if last <= now:
        raise Invalid("anchor_date", f"lies more than {CYCLES_BACK_MAX} cycles back")


def _check_year(day: date, field: str) -> None:
    if not MIN_YEAR <= day.year <= MAX_YEAR:
        raise Invalid(field, f"must lie in the years {MIN_YEAR} to {MAX_YEAR}")


async def price_of(aggregates: Aggregates, items: Sequence[Item]) -> Price:
    """The newest price of the first product; the others have to agree with its currency, cycle and period.

    Raises ``Invalid`` when they do not, or a product is unknown or archived.
    """
    prices: list[Price] = []
    for index, item in enumerate(items):
        field = "product_id" if len(items) == 1 else f"products[{index}].product_id"
        product = await aggregates.find(Product, item.product_id)
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
        await open_cycles(running, subscription, running.now)


async def change_subscription(service: Service, caller: Caller, subscription_id: str, change: Change) -> None:
    """Carry out a change; all of it or nothing.

    Raises ``NotFound``, ``Invalid``, and ``Conflict`` when the subscription has ended or is paused.
    """
    if change.next_billing_date is not None:
        _check_year(change.next_billing_date, "next_billing_date")
    async with transaction(service, caller, "subscription.change") as running:
        subscription = await running.get(Subscription, subscription_id)
        customer = known(await running.find(Customer, subscription.customer_id))
        await open_cycles(running, subscription, running.now)
        sealed = subscription.billing
        if change.billing is not None:
            key = await key_for(running.database, running.tenant_id, subscription.customer_id)
            sealed = seal(key, subscription.customer_id, change.billing)
        metadata = subscription.metadata if change.metadata is None else change.metadata
        subscription.change(sealed, metadata, running.now)
        move_on(subscription, change, customer.time_zone, running.now)
        await open_cycles(running, subscription, running.now)


def move_on(subscription: Subscription, change: Change, zone: str, at: datetime) -> None:
    """What a change does to the subscription's time. Raises as ``change_subscription`` does."""
    if change.next_billing_date is not None:
        subscription.move_billing_date(change.next_billing_date, zone, at)
    if change.status is Status.paused:
        subscription.pause(zone, at)
    elif change.status is Status.active:
        subscription.resume(zone, at)
    elif change.status is Status.cancelled:
        subscription.cancel(at)
    elif change.cancel_at_next_billing_date is not None:
        subscription.schedule_cancellation(change.cancel_at_next_billing_date, at)
