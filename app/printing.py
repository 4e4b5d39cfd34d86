"""Invoices as files: what their page needs is gathered from the log, then drawn beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from app.documents.page import Buyer, Page, page_of
from app.documents.spreadsheet import lines_csv
from app.invoicing import SQL, Bill, bill_of, find_bill
from app.sealing import keys_of, unseal
from domain.customer import Customer
from domain.errors import NotFound
from domain.subscription import Subscription
from domain.tenant import Tenant
from projections.aggregates import known
from projections.database import Database
from projections.log_reader import aggregate

Made = TypeVar("Made")

_DRAWER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drawer")
"""One at a time: drawing is work for a processor, and two would only hold up the process's requests longer."""

PAYMENT_PREFIX = "pay_"


async def page_for(database: Database, tenant_id: str, bill: Bill) -> Page:
    """What an invoice's page says. Seller and buyer are as known at its position, so that it never changes.

    A customer who was erased since has no name on it any more; the page says so.
    """
    document = bill.document
    customer_id, position = document.customer_id, document.position
    tenant = known(await aggregate(database, tenant_id, Tenant, tenant_id, up_to=position))
    customer = known(await aggregate(database, tenant_id, Customer, customer_id, up_to=position))
    subscription = known(await aggregate(database, tenant_id, Subscription, document.subscription_id, up_to=position))
    key = (await keys_of(database, tenant_id, [customer_id])).get(customer_id)
    buyer = Buyer(
        customer_id=customer_id,
        time_zone=customer.time_zone,
        personal=unseal(key, customer_id, customer.personal),
        billing=unseal(key, customer_id, subscription.billing),
    )
    company = tenant.settings.company
    replaced = await find_bill(database, tenant_id, document.replaces) if document.replaces else None
    return page_of(
        document,
        bill.status,
        {} if company is msgspec.UNSET else company,
        buyer,
        replaced.document.number if replaced else None,
    )


async def pdf_of(page: Page) -> bytes:
    """The page as a PDF."""
    return await _beside(lambda: _pdf(page))


async def csv_of(bills: Sequence[Bill]) -> bytes:
    """The lines of invoices as CSV."""
    return await _beside(lambda: lines_csv([(bill.document, bill.status) for bill in bills]))


async def find_paid(database: Database, tenant_id: str, payment_id: str) -> Bill:
    """The invoice that a payment's id stands for. Raises ``NotFound``.

    No payment is taken here: such an id is made of an invoice's, or of a subscription's, whose first invoice it means.
    """
    row = None
    if payment_id.startswith(PAYMENT_PREFIX):
        row = await database.fetchrow(SQL["paid_by"], tenant_id, payment_id.removeprefix(PAYMENT_PREFIX))
    if row is None:
        raise NotFound("payment", payment_id)
    return bill_of(row)


def _pdf(page: Page) -> bytes:
    # The library takes a second to open, which a process that never draws is spared.
    from app.documents.pdf import draw

    return draw(page)


async def _beside(make: Callable[[], Made]) -> Made:
    return await asyncio.get_running_loop().run_in_executor(_DRAWER, make)
