"""Wallets at work: opened when money first moves, moved by hand, and settling invoices."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.identity import new_id
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain.customer import Customer
from domain.wallet import Wallet, key_used
from projections.aggregates import Aggregates, known
from projections.database import Database, Row
from projections.statements import load

SQL = load("app.sql", "credit.sql")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Money to move by hand: ``amount`` is minor units, below 0 for a debit."""

    customer_id: str
    currency: str
    amount: int
    reason: str | None
    idempotency_key: str | None


async def wallet_of(aggregates: Aggregates, customer_id: str, currency: str) -> Wallet:
    """The customer's wallet of the currency, opened when there is none."""
    found = await aggregates.find(Wallet, Wallet.wallet_id(customer_id, currency))
    if found is None:
        found = Wallet.open(customer_id, currency, aggregates.now)
        aggregates.add(found)
    return found


async def settle_invoice(aggregates: Aggregates, customer_id: str, currency: str, owed: int, invoice_id: str) -> None:
    """Pay what an invoice owes, subtotal and tax, as far as the wallet can; below 0 it is credited to the wallet.

    No wallet is opened to pay nothing.
    """
    if owed < 0:
        (await wallet_of(aggregates, customer_id, currency)).credit_from_invoice(-owed, invoice_id, aggregates.now)
        return
    found = await aggregates.find(Wallet, Wallet.wallet_id(customer_id, currency))
    if found is not None:
        found.apply_to_invoice(owed, invoice_id, aggregates.now)


async def wallet_rows(database: Database, tenant_id: str, customer_id: str) -> Sequence[Row]:
    """The read model's rows of a customer's wallets, by currency."""
    return await database.fetch(SQL["wallets"], tenant_id, customer_id)


async def move_money(service: Service, caller: Caller, order: Order) -> Wallet:
    """Credit or debit a customer's wallet; the wallet after it. A repeated request changes nothing.

    Raises ``NotFound`` for an unknown customer, ``Insufficient``, and ``Conflict`` when the idempotency key was used
    for another movement, in whichever currency.
    """
    async with transaction(service, caller, "wallet.move") as running:
        await running.get(Customer, order.customer_id)
        if order.idempotency_key is not None:
            await _check_key(running, order, order.idempotency_key)
        wallet = await wallet_of(running, order.customer_id, order.currency)
        wallet.move(new_id("wle"), order.amount, order.reason, order.idempotency_key, running.now)
        return wallet


async def _check_key(running: Transaction, order: Order, idempotency_key: str) -> None:
    for row in await wallet_rows(running.database, running.tenant_id, order.customer_id):
        if row["currency"] != order.currency:
            other = known(await running.find(Wallet, Wallet.wallet_id(order.customer_id, row["currency"])))
            if other.movement_with(idempotency_key) is not None:
                raise key_used(idempotency_key)
