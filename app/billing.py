"""Estimates and closing cycles. Both reckon in the same way: see `app.reckoning`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.alerting.firing import fire_at_close
from app.alerting.rows import StandingAlert, standing_alerts
from app.identity import new_id
from app.invoicing import Bill, find_bill
from app.late_usage import unsettled_hours
from app.opening import open_cycles
from app.projecting import project_most
from app.reading_log import Knowledge, reading, wait_for_object
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
from projections.aggregates import Aggregates, known
from projections.fault_points import FaultPoint, reach
from projections.quantities import catch_up


async def estimate(
    service: Service,
    caller: Caller,
    subscription_id: str,
    cycle_start: datetime | None = None,
    as_of: Knowledge | None = None,
) -> Document:
    """What closing the cycle at its end would give if nothing more were recorded; by default the earliest unclosed.

    One snapshot of the database, so quantities and prices belong to the position that the answer names. With ``as_of``
    it is what would have been answered then. Raises ``NotFound``, ``Conflict`` when the cycle is closed, or there is
    none and nothing to correct, and ``Invalid`` for an ``as_of`` that the log does not reach.
    """
    if as_of is None:
        await wait_for_object(service, caller, Subscription, subscription_id)
    async with reading(service, caller, as_of=as_of) as aggregates:
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
    await reach(FaultPoint.close_projected)
    async with transaction(service, caller, "cycle.close") as running:
        subscription = await opened_subscription(running, subscription_id)
        cycle = _choose(subscription, cycle_start)
        if cycle is None:
            raise Conflict("NO_OPEN_CYCLE", f"subscription '{subscription_id}' has no open cycle")
        if cycle.invoice_id is not None:
            return await find_bill(running.database, caller.tenant_id, cycle.invoice_id)
        if cycle.end > running.now:
            raise Conflict("CYCLE_NOT_ENDED", f"the cycle ends at {instant.text(cycle.end)}")
        await catch_up(running.database, caller.tenant_id, running.position)
        await reach(FaultPoint.close_caught_up)
        alerts = await standing_alerts(running.database, caller.tenant_id, subscription.customer_id)
        return await invoice_cycle(running, subscription, cycle, alerts)


async def invoice_cycle(
    running: Transaction, subscription: Subscription, cycle: OpenedCycle, alerts: Sequence[StandingAlert]
) -> Bill:
    """Rate and invoice a cycle that is to be closed, and fire what it reached of the customer's ``alerts``.

    The quantities have to be at the position of the transaction.
    """
    reckoning = await reckon(running, subscription, cycle)
    await reach(FaultPoint.close_reckoned)
    await fire_at_close(running, reckoning, alerts)
    return await _issue(running, reckoning)


async def _issue(running: Transaction, reckoning: Reckoning) -> Bill:
    """Number what was reckoned, make its draws final, settle with the wallet, and record all of it."""
    subscription, invoice_id = reckoning.subscription, new_id("inv")
    given = await running.last_version(InvoiceNumbers.stream(InvoiceNumbers.ONLY))
    number, assigned = assign_number(given, invoice_id, running.now)
    await reach(FaultPoint.close_numbered)
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
    await reach(FaultPoint.close_burned)
    owed = document.subtotal_amount + document.tax_amount
    await settle_invoice(running, subscription.customer_id, subscription.currency, owed, invoice_id)
    await reach(FaultPoint.close_settled)
    if reckoning.cycle is None:
        subscription.settle_late_usage(running.position, running.now)
    else:
        subscription.close_cycle(reckoning.cycle, invoice_id, running.now, settled_position=running.position)
    invoice = Invoice.issue(invoice_id, document, running.now)
    running.add(invoice)
    running.add_event(assigned)
    await reach(FaultPoint.close_issued)
    return Bill(document, invoice.status.value)


async def adjust_ended(running: Transaction, subscription: Subscription, grace: timedelta) -> Bill | None:
    """Give late usage of a subscription to which no cycle is to come a document of its own, after its grace period.

    The quantities have to be at the position of the transaction.
    """
    if not await unsettled_hours(running, subscription):
        return None
    reckoning = await reckon(running, subscription, None)
    if not reckoning.rated.lines:
        # Looked at and found to change nothing: it need not be looked at again.
        subscription.settle_late_usage(running.position, running.now)
        return None
    due = min(late.recorded_at for late in reckoning.late) + grace
    return await _issue(running, reckoning) if due <= running.now else None
