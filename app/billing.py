"""Estimates and closing cycles. Both reckon in the same way: see `app.reckoning`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

from app.alerting.firing import fire_at_close
from app.identity import new_id
from app.invoicing import Bill, find_bill
from app.late_usage import unsettled_hours
from app.opening import open_cycles
from app.projecting import project_most
from app.reading_log import reading, wait_for_object
from app.reckoning import Reckoning, reckon
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from app.wallets import settle_invoice
from domain import instant
from domain.credit_account import CreditAccount
from domain.errors import Conflict, NotFound
from domain.invoice import Document, Invoice, InvoiceNumbers, Issue, assign_number, number_text
from domain.plan import OpenedCycle
from domain.subscription import Subscription
from domain.subscription_events import Status
from projections.aggregates import Aggregates, known
from projections.log_reader import last_version
from projections.quantities import catch_up


async def estimate(
    service: Service, caller: Caller, subscription_id: str, cycle_start: datetime | None = None
) -> Document:
    """What closing the cycle at its end would give if nothing more were recorded; by default the earliest unclosed.

    One snapshot of the database, so quantities and prices belong to the position that the answer names. Raises
    ``NotFound``, ``Conflict`` when the cycle is closed, or there is none and nothing to correct.
    """
    await wait_for_object(service, caller, Subscription, subscription_id)
    async with reading(service, caller) as aggregates:
        subscription = await opened_subscription(aggregates, subscription_id)
        cycle = _choose(subscription, cycle_start)
        if cycle is not None and cycle.invoice_id is not None:
            raise Conflict("CYCLE_CLOSED", f"the cycle is closed by invoice '{cycle.invoice_id}'")
        reckoning = await reckon(aggregates, subscription, cycle)
        if cycle is None and not reckoning.rated.lines:
            raise Conflict("NO_OPEN_CYCLE", f"subscription '{subscription_id}' has no open cycle")
        return await reckoning.document(aggregates)


async def opened_subscription(aggregates: Aggregates, subscription_id: str) -> Subscription:
    """A subscription with every cycle open that has begun. Raises ``NotFound``."""
    subscription = await aggregates.get(Subscription, subscription_id)
    await open_cycles(aggregates, subscription, aggregates.now)
    return subscription


def _choose(subscription: Subscription, cycle_start: datetime | None) -> OpenedCycle | None:
    """The cycle with this start, or the earliest unclosed one. Raises ``NotFound``."""
    if cycle_start is None:
        return subscription.earliest_unclosed()
    cycle = subscription.cycle_starting(cycle_start)
    if cycle is None:
        raise NotFound("cycle", instant.text(cycle_start))
    return cycle


async def close_cycle(
    service: Service, caller: Caller, subscription_id: str, cycle_start: datetime | None = None
) -> Bill:
    """Close a cycle that has ended: rate it, number it, invoice it, all in one transaction.

    Closing a closed cycle again answers its invoice. Raises ``NotFound``, and ``Conflict`` (CYCLE_NOT_ENDED,
    NO_OPEN_CYCLE).
    """
    await project_most(service, caller.tenant_id)
    async with transaction(service, caller, "cycle.close") as running:
        subscription = await opened_subscription(running, subscription_id)
        cycle = _choose(subscription, cycle_start)
        if cycle is None:
            raise Conflict("NO_OPEN_CYCLE", f"subscription '{subscription_id}' has no open cycle")
        if cycle.invoice_id is not None:
            return await find_bill(running.database, caller.tenant_id, cycle.invoice_id)
        if cycle.end > running.now:
            raise Conflict("CYCLE_NOT_ENDED", f"the cycle ends at {instant.text(cycle.end)}")
        return await _invoice(running, subscription, cycle)


async def _invoice(running: Transaction, subscription: Subscription, cycle: OpenedCycle) -> Bill:
    await catch_up(running.database, running.tenant_id, running.position)
    reckoning = await reckon(running, subscription, cycle)
    await fire_at_close(running, reckoning)
    return await _issue(running, reckoning)


async def _issue(running: Transaction, reckoning: Reckoning) -> Bill:
    """Number what was reckoned, make its draws final, settle with the wallet, and record all of it."""
    database, tenant_id, subscription = running.database, running.tenant_id, reckoning.subscription
    invoice_id = new_id("inv")
    numbers = InvoiceNumbers.stream(InvoiceNumbers.ONLY)
    number, assigned = assign_number(await last_version(database, tenant_id, numbers), invoice_id, running.now)
    issue = Issue(
        invoice_id=invoice_id,
        number=number_text((await running.rules()).number_prefix, number),
        digest=running.head.digest.hex(),
        issued_at=instant.text(running.now),
    )
    document = await reckoning.document(running, issue)
    for view in reckoning.accounts:
        account = known(await running.find(CreditAccount, view.account.object_id))
        reckoning.burn(account, view, invoice_id, running.now)
    owed = document.subtotal_amount + document.tax_amount
    await settle_invoice(running, subscription.customer_id, subscription.currency, owed, invoice_id)
    if reckoning.cycle is None:
        subscription.settle_late_usage(running.position, running.now)
    else:
        subscription.close_cycle(reckoning.cycle, invoice_id, running.now, settled_position=running.position)
    invoice = Invoice.issue(invoice_id, document, running.now)
    running.add(invoice)
    running.add_event(assigned)
    return Bill(document, invoice.status.value)


async def close_due_of(service: Service, caller: Caller, subscription_id: str) -> AsyncGenerator[Bill]:
    """Close every due cycle of one subscription and open every cycle that has begun; yields the new invoices.

    Each document is a transaction of its own, so several runs at once share the work, and a run that dies has lost
    nothing. Where no cycle is to come, late usage gets a document of its own.
    """
    await project_most(service, caller.tenant_id)
    while True:
        async with transaction(service, caller, "cycles.close_due") as running:
            bill = await _next_due(running, subscription_id)
        if bill is None:
            return
        yield bill


async def _next_due(running: Transaction, subscription_id: str) -> Bill | None:
    """Close what is due first, asked again under the lock: another run may have closed it."""
    subscription = await opened_subscription(running, subscription_id)
    grace = (await running.rules()).close_grace
    cycle = subscription.earliest_unclosed()
    if cycle is not None:
        due = max(cycle.billable_at, subscription.created_on) + grace
        return await _invoice(running, subscription, cycle) if due <= running.now and cycle.end <= running.now else None
    if subscription.status in (Status.active, Status.paused):
        return None
    return await _adjust(running, subscription, grace)


async def _adjust(running: Transaction, subscription: Subscription, grace: timedelta) -> Bill | None:
    """Give late usage of an ended subscription a document of its own, after its grace period."""
    await catch_up(running.database, running.tenant_id, running.position)
    if not await unsettled_hours(running, subscription):
        return None
    reckoning = await reckon(running, subscription, None)
    if not reckoning.rated.lines:
        # Looked at and found to change nothing: it need not be looked at again.
        subscription.settle_late_usage(running.position, running.now)
        return None
    due = min(late.recorded_at for late in reckoning.late) + grace
    return await _issue(running, reckoning) if due <= running.now else None
