"""Invoices after they were issued: looked up, marked, voided."""

from __future__ import annotations

import msgspec

from app.accounts import accounts_of
from app.retired import check_unsettled
from app.service import Caller, Service
from app.transaction import transaction
from domain import instant
from domain.errors import NotFound
from domain.invoice import Document, Invoice
from domain.subscription import Subscription
from domain.wallet import Wallet
from projections.aggregates import Aggregates
from projections.database import Database, Row
from projections.statements import load

SQL = load("app.sql", "invoice.sql")


class Bill(msgspec.Struct, frozen=True):
    """An invoice's document and, beside it, its status."""

    document: Document
    status: str


def bill_of(row: Row) -> Bill:
    """A row of the ``invoice`` read model."""
    return Bill(msgspec.json.decode(row["document"], type=Document), row["status"])


async def find_bill(database: Database, tenant_id: str, invoice_id: str) -> Bill:
    """An invoice of the tenant. Raises ``NotFound``."""
    row = await database.fetchrow(SQL["invoice"], tenant_id, invoice_id)
    if row is None:
        raise NotFound("invoice", invoice_id)
    return bill_of(row)


async def documents_of(known: Aggregates, subscription_id: str) -> list[tuple[Document, bool]]:
    """The documents of a subscription, oldest first, each with whether it stood at the position."""
    issued = await known.issued(subscription_id)
    return [(msgspec.json.decode(one.document, type=Document), one.stood) for one in issued]


async def mark(service: Service, caller: Caller, invoice_id: str, *, paid: bool) -> Bill:
    """Mark an invoice paid, or open again. Nothing happens when it is. Raises ``NotFound``, ``Conflict`` (void)."""
    async with transaction(service, caller, "invoice.mark_paid" if paid else "invoice.mark_open") as running:
        invoice = await running.get(Invoice, invoice_id)
        invoice.mark(paid=paid, at=running.now)
        return Bill(invoice.read(), invoice.status.value)


async def void(service: Service, caller: Caller, invoice_id: str, reason: str | None) -> Bill:
    """Void an invoice: what it burned, took and adjusted is given back, and its cycle is to be invoiced again.

    Raises ``NotFound``, ``Conflict`` when it is void or paid, or when credit that it gave to the wallet is spent.
    """
    async with transaction(service, caller, "invoice.void") as running:
        invoice = await running.get(Invoice, invoice_id)
        invoice.void(reason, running.now)
        document = invoice.read()
        await check_unsettled(running.database, running.tenant_id, instant.parse(document.cycle_start))
        for account in await accounts_of(running, document.customer_id):
            account.return_burns(invoice_id, running.now)
        wallet = await running.find(Wallet, Wallet.wallet_id(document.customer_id, document.currency))
        if wallet is not None:
            wallet.return_from_invoice(invoice_id, running.now)
        subscription = await running.get(Subscription, document.subscription_id)
        subscription.reopen(invoice_id, running.now)
        return Bill(document, invoice.status.value)
