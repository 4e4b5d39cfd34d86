"""Estimates and closing cycles. Both bring the same facts to the same pure function, `domain.rating.rate`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec

from app.identity import new_id
from app.ingesting import rules_of
from app.keys import system_caller
from app.projecting import wait_for
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain import instant
from domain.customer import Customer
from domain.errors import Conflict, NotFound
from domain.invoice import Document, Invoice, InvoiceNumbers, assign_number, compose, number_text
from domain.rating import rate
from domain.subscription import OpenedCycle, Subscription
from projections.database import Database
from projections.log_reader import aggregate, head, last_version
from projections.quantities import catch_up, project_page, projected_position
from projections.rating_facts import cycle_facts
from projections.statements import load

SQL = load("app.sql", "billing.sql")

LOG = logging.getLogger("taximeter.billing")

DUE_PAGE = 500
"""Due subscriptions looked up at once."""


class Bill(msgspec.Struct, frozen=True):
    """An invoice's document and, beside it, its status."""

    document: Document
    status: str


async def estimate(
    service: Service, caller: Caller, subscription_id: str, cycle_start: datetime | None = None
) -> Document:
    """What closing the cycle at its end would give if nothing more were recorded; by default the earliest unclosed.

    One snapshot of the database, so quantities and prices belong to the position that the answer names.
    """
    async with service.pool.acquire() as connection:
        target = (await head(connection, caller.tenant_id)).position
        known_from = await _known_from(connection, caller, subscription_id, target)
    await wait_for(service, caller.tenant_id, known_from)
    async with (
        service.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        return await _estimate(service, connection, caller, subscription_id, cycle_start)


async def _known_from(database: Database, caller: Caller, subscription_id: str, target: int) -> int:
    """The position to wait for: the whole log when the subscription is too new for the projected part of it."""
    position = await projected_position(database, caller.tenant_id)
    known = await aggregate(database, caller.tenant_id, Subscription, subscription_id, up_to=position)
    return target if known is None else position


async def opened_subscription(
    service: Service, database: Database, caller: Caller, subscription_id: str
) -> tuple[Subscription, int]:
    """A subscription as known at the projected position, and that position.

    Cycles that have begun meanwhile are opened in memory only: a question records nothing. Raises ``NotFound``.
    """
    position = await projected_position(database, caller.tenant_id)
    subscription = await aggregate(database, caller.tenant_id, Subscription, subscription_id, up_to=position)
    if subscription is None:
        raise NotFound("subscription", subscription_id)
    customer = await aggregate(database, caller.tenant_id, Customer, subscription.customer_id, up_to=position)
    assert customer is not None, "a subscription's customer was recorded before it"
    subscription.advance(customer.time_zone, max(service.clock(), subscription.modified_on))
    return subscription, position


async def _estimate(
    service: Service, database: Database, caller: Caller, subscription_id: str, cycle_start: datetime | None
) -> Document:
    subscription, position = await opened_subscription(service, database, caller, subscription_id)
    cycle = _choose(subscription, cycle_start)
    if cycle.invoice_id is not None:
        raise Conflict("CYCLE_CLOSED", f"the cycle is closed by invoice '{cycle.invoice_id}'")
    facts = await cycle_facts(database, caller.tenant_id, subscription, cycle, position)
    return compose(
        customer_id=subscription.customer_id,
        subscription_id=subscription_id,
        currency=subscription.currency,
        cycle=(instant.text(cycle.start), instant.text(cycle.end)),
        rated=rate(facts),
        position=position,
    )


def _choose(subscription: Subscription, cycle_start: datetime | None) -> OpenedCycle:
    """The cycle with this start, or the earliest unclosed one. Raises ``NotFound`` or ``Conflict``."""
    if cycle_start is not None:
        cycle = subscription.cycle_starting(cycle_start)
        if cycle is None:
            raise NotFound("cycle", instant.text(cycle_start))
        return cycle
    cycle = subscription.earliest_unclosed()
    if cycle is None:
        raise Conflict("NO_OPEN_CYCLE", f"subscription '{subscription.object_id}' has no open cycle")
    return cycle


async def close_cycle(
    service: Service, caller: Caller, subscription_id: str, cycle_start: datetime | None = None
) -> Bill:
    """Close a cycle that has ended: rate it, number it, invoice it, all in one transaction.

    Closing a closed cycle again answers its invoice. Raises ``NotFound``, and ``Conflict`` (CYCLE_NOT_ENDED).
    """
    await _project_most(service, caller.tenant_id)
    async with transaction(service, caller, "cycle.close") as running:
        subscription = await _advanced(running, subscription_id)
        cycle = _choose(subscription, cycle_start)
        if cycle.invoice_id is not None:
            return await find_bill(running.database, caller.tenant_id, cycle.invoice_id)
        if cycle.end > running.now:
            raise Conflict("CYCLE_NOT_ENDED", f"the cycle ends at {instant.text(cycle.end)}")
        return await _invoice(running, subscription, cycle)


async def _project_most(service: Service, tenant_id: str) -> None:
    """Bring the quantities close to the log's end before the head is locked, so that it is locked briefly."""
    async with service.pool.acquire() as connection:
        while await project_page(connection, tenant_id):
            pass


async def _advanced(running: Transaction, subscription_id: str) -> Subscription:
    """The subscription with every cycle open that has begun. Raises ``NotFound``."""
    subscription = await running.get(Subscription, subscription_id)
    customer = await running.get(Customer, subscription.customer_id)
    subscription.advance(customer.time_zone, running.now)
    return subscription


async def _invoice(running: Transaction, subscription: Subscription, cycle: OpenedCycle) -> Bill:
    database, tenant_id, position = running.database, running.tenant_id, running.head.position
    await catch_up(database, tenant_id, position)
    facts = await cycle_facts(database, tenant_id, subscription, cycle, position)
    invoice_id = new_id("inv")
    numbers = InvoiceNumbers.stream(InvoiceNumbers.ONLY)
    number, assigned = assign_number(await last_version(database, tenant_id, numbers), invoice_id, running.now)
    document = compose(
        customer_id=subscription.customer_id,
        subscription_id=subscription.object_id,
        currency=subscription.currency,
        cycle=(instant.text(cycle.start), instant.text(cycle.end)),
        rated=rate(facts),
        position=position,
        digest=running.head.digest.hex(),
        invoice_id=invoice_id,
        number=number_text((await running.rules()).number_prefix, number),
        issued_at=instant.text(running.now),
    )
    invoice = Invoice.issue(invoice_id, document, running.now)
    subscription.close_cycle(cycle, invoice_id, running.now)
    running.add(invoice)
    running.add_event(assigned)
    return Bill(document, invoice.status.value)


async def find_bill(database: Database, tenant_id: str, invoice_id: str) -> Bill:
    """An invoice of the tenant. Raises ``NotFound``."""
    row = await database.fetchrow(SQL["invoice"], tenant_id, invoice_id)
    if row is None:
        raise NotFound("invoice", invoice_id)
    return Bill(msgspec.json.decode(row["document"], type=Document), row["status"])


async def close_due(service: Service, caller: Caller, failures: list[str] | None = None) -> AsyncIterator[Bill]:
    """Close every due cycle of the caller's tenant and open every cycle that has begun; yields the new invoices.

    Each cycle is a transaction of its own, so several runs at once share the work, and a run that dies has lost
    nothing. A subscription that cannot be closed raises; with ``failures`` it is logged and named in there, and the
    others go on.
    """
    after = ""
    while True:
        async with service.pool.acquire() as connection:
            now = max(service.clock(), (await head(connection, caller.tenant_id)).recorded_at)
            grace = (await rules_of(connection, service, caller.tenant_id)).close_grace
        rows = await service.pool.fetch(SQL["due"], caller.tenant_id, now, now - grace, after, DUE_PAGE)
        for row in rows:
            try:
                async for bill in _close_due_of(service, caller, row["subscription_id"]):
                    yield bill
            except Exception:
                if failures is None:
                    raise
                failures.append(row["subscription_id"])
                await _tell(service, f"subscription {row['subscription_id']} of tenant {caller.tenant_id}")
        if len(rows) < DUE_PAGE:
            return
        after = rows[-1]["subscription_id"]


async def _close_due_of(service: Service, caller: Caller, subscription_id: str) -> AsyncIterator[Bill]:
    await _project_most(service, caller.tenant_id)
    while True:
        async with transaction(service, caller, "cycles.close_due") as running:
            subscription, cycle = await _due_cycle(running, subscription_id)
            bill = await _invoice(running, subscription, cycle) if cycle else None
        if bill is None:
            return
        yield bill


async def _due_cycle(running: Transaction, subscription_id: str) -> tuple[Subscription, OpenedCycle | None]:
    """The earliest cycle whose grace has passed, asked again under the lock: another run may have closed it."""
    subscription = await _advanced(running, subscription_id)
    cycle = subscription.earliest_unclosed()
    if cycle is None:
        return subscription, None
    grace = (await running.rules()).close_grace
    due = max(cycle.end, subscription.created_on) + grace <= running.now and cycle.end <= running.now
    return subscription, cycle if due else None


class ClosedEverywhere(msgspec.Struct, frozen=True):
    """What a run over every tenant did: new invoices, and the tenants and subscriptions that failed."""

    closed: int
    failed: int


async def close_due_everywhere(service: Service) -> ClosedEverywhere:
    """Close what is due in every tenant. What cannot be closed is logged, and the others go on.

    Raises only when the database is lost.
    """
    closed, failures = 0, list[str]()
    for row in await service.pool.fetch(SQL["tenants"]):
        tenant_id: str = row["tenant_id"]
        try:
            async for _ in close_due(service, system_caller(tenant_id), failures):
                closed += 1
        except Exception:
            failures.append(tenant_id)
            await _tell(service, f"tenant {tenant_id}")
    return ClosedEverywhere(closed, len(failures))


async def _tell(service: Service, what: str) -> None:
    """Log the exception at hand. Raises when the database is lost: then nothing else can be closed either."""
    LOG.exception("what is due of %s cannot be closed; it is tried again with the next run", what)
    await service.pool.execute("select 1")
