"""What follows from the log, as rows for people and their tools: invoice lines and both ledgers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import msgspec

from app.audit.archive.streaming import OwnerConnection, streamed
from app.crediting import account_view
from app.wallets import SQL as LEDGERS
from domain import instant, number
from domain.credit_ledger import movements
from domain.invoice import Document
from domain.rating import Line
from domain.wallet import Wallet
from projections.aggregates import Aggregates, known
from projections.statements import load

SQL = load("app.sql", "archive.sql")

ACCOUNTS_AHEAD = 100
"""Ledgers whose aggregates are held at once."""

Rows = AsyncIterator[list[tuple[Any, ...]]]
Within = Callable[[datetime], bool]


class Detail(msgspec.Struct, omit_defaults=True):
    """What a line has beyond its columns: the tiers it used, or both computations of an adjustment."""

    tiers: tuple[Any, ...] = ()
    before: Any = None
    after: Any = None


async def invoice_rows(connection: OwnerConnection, aggregates: Aggregates, within: Within) -> Rows:
    """Every line of the documents that were issued within the span, in the order in which they were issued."""
    async for rows in streamed(connection, SQL["issued_invoices"], aggregates.tenant_id, aggregates.position):
        documents = [(row, msgspec.json.decode(row["document"], type=Document)) for row in rows]
        yield [
            _line_row(document, row["status"], row["position"], index, line)
            for row, document in documents
            if within(row["issued_at"])
            for index, line in enumerate(document.lines)
        ]


def _line_row(document: Document, status: str, position: int, index: int, line: Line) -> tuple[Any, ...]:
    detail = Detail(line.tiers, line.before, line.after)
    return (
        document.invoice_id,
        document.number,
        document.type.value,
        status,
        document.customer_id,
        document.subscription_id,
        document.currency,
        instant.parse(document.cycle_start),
        instant.parse(document.cycle_end),
        instant.parse(str(document.issued_at)),
        position,
        index + 1,
        line.kind.value,
        line.product_id,
        line.meter_id,
        line.description,
        line.consumed_units,
        line.free_units,
        line.credit_units,
        line.paid_units,
        line.price_per_unit,
        line.package_size,
        line.amount,
        None if line.cycle_start is None else instant.parse(line.cycle_start),
        None if line.cycle_end is None else instant.parse(line.cycle_end),
        None if detail == Detail() else msgspec.json.encode(detail).decode(),
    )


async def credit_rows(_: OwnerConnection, aggregates: Aggregates, within: Within) -> Rows:
    """The movements of every credit account, oldest first, account by account."""
    after = ("", "")
    while True:
        rows = await aggregates.database.fetch(
            LEDGERS["credit_accounts_after"], aggregates.tenant_id, *after, ACCOUNTS_AHEAD
        )
        if not rows:
            return
        # Aggregates hold all that they were ever asked for, so each page has its own.
        page = _afresh(aggregates)
        for row in rows:
            yield await _account_rows(page, row["credit_entitlement_id"], row["customer_id"], within)
        after = (rows[-1]["credit_entitlement_id"], rows[-1]["customer_id"])


async def _account_rows(
    aggregates: Aggregates, entitlement_id: str, customer_id: str, within: Within
) -> list[tuple[Any, ...]]:
    view = await account_view(aggregates, entitlement_id, customer_id)
    return [
        (
            entitlement_id,
            customer_id,
            one.id,
            one.at,
            one.transaction_type.value,
            one.grant_id,
            number.plain(one.amount),
            number.plain(one.balance_before),
            number.plain(one.balance_after),
            number.plain(one.overage_before),
            number.plain(one.overage_after),
            one.is_final,
            one.reference_type,
            one.reference_id,
            one.reason,
            one.metadata,
        )
        for one in movements(view.account, view.settlement, view.at)
        if within(one.at)
    ]


async def wallet_rows(_: OwnerConnection, aggregates: Aggregates, within: Within) -> Rows:
    """The entries of every wallet, oldest first, wallet by wallet; amounts in minor units."""
    after = ("", "")
    while True:
        rows = await aggregates.database.fetch(LEDGERS["wallets_after"], aggregates.tenant_id, *after, ACCOUNTS_AHEAD)
        if not rows:
            return
        page = _afresh(aggregates)
        for row in rows:
            wallet_id = Wallet.wallet_id(row["customer_id"], row["currency"])
            wallet = known(await page.find(Wallet, wallet_id))
            yield [
                (
                    wallet.customer_id,
                    wallet.currency,
                    one.entry_id,
                    one.at,
                    one.event_type.value,
                    one.amount,
                    one.before_balance,
                    one.after_balance,
                    one.reason,
                    one.idempotency_key,
                    one.reference_object_id,
                )
                for one in wallet.movements
                if within(one.at)
            ]
        after = (rows[-1]["customer_id"], rows[-1]["currency"])


def _afresh(aggregates: Aggregates) -> Aggregates:
    return Aggregates(
        aggregates.database, aggregates.tenant_id, aggregates.now, aggregates.position, aggregates.counted
    )
