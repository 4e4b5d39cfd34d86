"""What a span of the log changed, told as whom it concerns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from app.live.statements import SQL
from domain.alert import Alert
from domain.credit_account import CreditAccount
from domain.customer import Customer
from domain.entitlement import Entitlement
from domain.invoice import Invoice, InvoiceNumbers
from domain.meter import Meter
from domain.product import Product
from domain.subscription import Subscription
from domain.tenant import Tenant
from domain.wallet import Wallet
from projections.database import Database, Row

AHEAD_MAX = 100_000
"""Events that the feed may be ahead of the quantities: seconds of work. Who is read anew waits for the quantities to
come there; when they are further behind, as while they are counted from the start, the feed follows them instead."""

PAGE_COMMITS = 200
"""Commits read in one step: at full load some hundred milliseconds of the log."""

_SILENT = frozenset({Tenant.KeyCreated.TOPIC, Tenant.KeyRevoked.TOPIC})
"""What is recorded of a tenant and changes no quantity and no estimate."""


class Changes(msgspec.Struct):
    """What ``(after, until]`` holds. ``usage`` are rows of events in order of position.

    ``customers`` and whoever uses one of ``objects`` (ids of meters, products and entitlements) have to be read anew,
    and with ``everybody`` all. ``alerts`` says that alerts fired, ``more`` that another page may follow.
    """

    until: int
    usage: Sequence[Row] = ()
    customers: set[str] = msgspec.field(default_factory=set)
    objects: set[str] = msgspec.field(default_factory=set)
    everybody: bool = False
    alerts: bool = False
    more: bool = False


async def changes_after(
    database: Database, tenant_id: str, after: int, customers: Collection[str] | None
) -> Changes | None:
    """The next page of changes past a position, or ``None`` when there is none. ``None`` customers are all."""
    page = await database.fetchrow(SQL["page"], tenant_id, after, PAGE_COMMITS, AHEAD_MAX)
    if page is None or page["until"] is None:
        return None
    until, kinds = page["until"], page["kinds"]
    changes = Changes(until, more=page["more"])
    if "usage" in kinds:
        wanted = None if customers is None else list(customers)
        changes.usage = await database.fetch(SQL["usage"], tenant_id, after, until, wanted)
    if "retraction" in kinds:
        retracted = await database.fetch(SQL["retracted_customers"], tenant_id, after, until)
        changes.customers.update(row["customer_id"] for row in retracted)
    if "domain" in kinds:
        await _sort_facts_in(database, tenant_id, changes, after)
    return changes


async def _sort_facts_in(database: Database, tenant_id: str, changes: Changes, after: int) -> None:
    subscriptions: set[str] = set()
    for row in await database.fetch(SQL["facts"], tenant_id, after, changes.until):
        _sort_in(changes, subscriptions, row)
    if subscriptions:
        rows = await database.fetch(SQL["customers_of_subscriptions"], tenant_id, list(subscriptions))
        changes.customers.update(row["customer_id"] for row in rows)


def _sort_in(changes: Changes, subscriptions: set[str], row: Row) -> None:
    kind, _, object_id = row["originator_id"].partition(":")
    match kind:
        case Subscription.TOPIC:
            subscriptions.add(object_id)
        case Customer.TOPIC:
            changes.customers.add(object_id)
        case CreditAccount.TOPIC | Wallet.TOPIC:
            # The customer's id stands last, whatever is in it.
            changes.customers.add(object_id.partition(":")[2])
        case Meter.TOPIC | Product.TOPIC | Entitlement.TOPIC:
            changes.objects.add(object_id)
        case Tenant.TOPIC:
            changes.everybody |= row["kind"] not in _SILENT
        case Alert.TOPIC:
            changes.alerts |= row["kind"] == Alert.Fired.TOPIC
        case Invoice.TOPIC | InvoiceNumbers.TOPIC:
            pass  # What an invoice settles is recorded with its subscription, accounts and wallet.
        case _:
            raise TypeError(f"the live channel knows no stream of the kind {kind}")
