"""The read models of the aggregates, written in the transaction that appends their events.

So a read after a write sees it, and the catalogue is never behind the log. A rebuild folds the streams and writes the
same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from domain import instant
from domain.aggregate import Fact, Root
from domain.alert import Alert
from domain.credit_account import CreditAccount
from domain.customer import Customer
from domain.entitlement import Entitlement
from domain.invoice import Invoice, InvoiceNumbers
from domain.meter import Meter
from domain.product import Product
from domain.subscription import Status, Subscription
from domain.tenant import Tenant
from domain.wallet import Wallet
from projections.database import Database
from projections.statements import load

SQL = load("projections.sql", "catalog.sql")

EARLIEST_ZONE = "Pacific/Kiritimati"
"""Where a date begins first (UTC+14)."""

Placed = Sequence[tuple[int, Fact]]
"""Events with the positions that the log gave them."""


Written = tuple[str, tuple[Any, ...]]
"""A statement's name and its values."""


async def record(database: Database, tenant_id: str, changed: Iterable[tuple[Root, Placed]]) -> None:
    """Write the rows of aggregates as they stand after their events; those of one statement are sent together."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for aggregate, placed in changed:
        for statement, values in _rows_of(aggregate, placed):
            rows.setdefault(statement, []).append((tenant_id, *values))
    for statement, values in rows.items():
        await database.executemany(SQL[statement], values)


def _rows_of(aggregate: Root, placed: Placed) -> Iterator[Written]:
    object_id = aggregate.object_id
    match aggregate:
        case Meter():
            yield "put_meter", (object_id, *_meter(aggregate, placed))
        case Product():
            yield "put_product", (object_id, *_product(aggregate))
        case Customer():
            yield "put_customer", (object_id, *_customer(aggregate))
        case Subscription():
            yield "put_subscription", (object_id, *_subscription(aggregate))
        case Invoice():
            yield "put_invoice", (object_id, *_invoice(aggregate, placed))
        case Entitlement():
            yield "put_credit_entitlement", (object_id, *_entitlement(aggregate))
        case CreditAccount():
            yield "put_credit_account", _credit_account(aggregate)
        case Wallet():
            yield "put_wallet", _wallet(aggregate)
        case Tenant():
            yield "put_tenant", (_json(aggregate.settings), aggregate.test_clock)
        case Alert():
            yield from _alert(aggregate, placed)
        case InvoiceNumbers():
            pass  # The invoices hold their numbers.
        case _:
            raise TypeError(f"no read model knows the aggregate {aggregate.TOPIC}")


async def move_clock(database: Database, tenant_id: str, to: datetime) -> None:
    """Write where a test clock stands, when its event was decided without replaying the tenant."""
    await database.execute(SQL["move_clock"], tenant_id, to)


async def mark(database: Database, tenant_id: str, position: int) -> None:
    """Move the catalogue's checkpoint to the last position whose events are in it."""
    await database.execute(SQL["mark"], tenant_id, position)


def _meter(meter: Meter, placed: Placed) -> tuple[Any, ...]:
    return (
        meter.name,
        meter.event_name,
        _json(meter.aggregation),
        meter.filter,
        meter.measurement_unit,
        meter.description,
        meter.created_on,
        meter.modified_on,
        meter.archived,
        next(iter(_positions(placed, Meter.Created)), None),
        _positions(placed, Meter.Archived),
        _positions(placed, Meter.Unarchived),
    )


def _positions(placed: Placed, kind: type[Fact]) -> list[int]:
    return [position for position, fact in placed if isinstance(fact, kind)]


def _product(product: Product) -> tuple[Any, ...]:
    return (
        product.name,
        product.tax_category,
        product.description,
        product.metadata,
        _json(product.versions),
        product.created_on,
        product.modified_on,
        product.archived,
    )


def _customer(customer: Customer) -> tuple[Any, ...]:
    return (
        customer.personal,
        customer.time_zone,
        customer.preferred_locale,
        customer.metadata,
        customer.created_on,
        customer.modified_on,
    )


def _subscription(subscription: Subscription) -> tuple[Any, ...]:
    last = subscription.cycles[-1] if subscription.cycles else None
    unclosed = subscription.earliest_unclosed()
    return (
        subscription.customer_id,
        _json(subscription.items),
        [item.product_id for item in subscription.items],
        subscription.currency,
        _json(subscription.period),
        _json(subscription.interval),
        _json(subscription.anchor),
        subscription.trial_days,
        subscription.billing,
        subscription.metadata,
        subscription.status.value,
        subscription.cancel_at_next_billing_date,
        subscription.ended_at,
        last.start if last else None,
        last.end if last else None,
        unclosed.billable_at if unclosed else None,
        _advance_at(subscription),
        subscription.settled_position,
        subscription.created_on,
        subscription.modified_on,
        subscription.paused_at,
        _json(subscription.scheduled) if subscription.scheduled else None,
        subscription.scheduled_at if subscription.scheduled else None,
    )


def _advance_at(subscription: Subscription) -> datetime | None:
    """When to look at it again: where the open cycle ends, where a future one starts, or where a paused one expires.

    The customer's time zone is not known here, so a start that lies ahead is taken in the zone where a date begins
    first. Looking some hours early is harmless: it is repeated until the cycle opens.
    """
    if subscription.status is Status.active:
        return subscription.next_start(EARLIEST_ZONE)
    return subscription.life_end(EARLIEST_ZONE) if subscription.status is Status.paused else None


def _invoice(invoice: Invoice, placed: Placed) -> tuple[Any, ...]:
    document = invoice.read()
    return (
        document.number,
        document.customer_id,
        document.subscription_id,
        instant.parse(document.cycle_start),
        instant.parse(document.cycle_end),
        document.type.value,
        invoice.status.value,
        invoice.document,
        invoice.created_on,
        # Missing in what was issued before; the row that is there keeps its own.
        next(iter(_positions(placed, Invoice.Created)), None),
    )


def _entitlement(entitlement: Entitlement) -> tuple[Any, ...]:
    return (
        entitlement.precision,
        _json(entitlement.terms),
        entitlement.deleted,
        entitlement.created_on,
        entitlement.modified_on,
    )


def _credit_account(account: CreditAccount) -> tuple[Any, ...]:
    return account.entitlement_id, account.customer_id, account.created_on, account.modified_on


def _wallet(wallet: Wallet) -> tuple[Any, ...]:
    return wallet.customer_id, wallet.currency, wallet.balance, wallet.created_on, wallet.modified_on


def _alert(alert: Alert, placed: Placed) -> Iterator[Written]:
    """The alert's row, a row for each time it fired, and with a tenant's first alert the place where looking begins."""
    target = alert.target
    about = (alert.customer_id, target.kind.value, target.meter_id, target.credit_entitlement_id, alert.threshold)
    yield "put_alert", (alert.object_id, *about, alert.subscription_id, alert.created_on, alert.deleted)
    yield "begin_looking", ()
    for position, fact in placed:
        if isinstance(fact, Alert.Fired):
            cycle = (fact.subscription_id, fact.cycle_start, fact.cycle_end)
            known = (fact.value, fact.position, fact.timestamp)
            yield "put_alert_firing", (alert.object_id, *about, position, *cycle, *known)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
