"""Wallets: money that a customer has with the business, per currency."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.http.auth import requires
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    AsOfQuery,
    KnownAt,
    PageNumber,
    PageSize,
    Serving,
    check_spelling,
    known_at,
    members,
    page,
    path_id,
    read_as_of,
)
from app.limits import DESCRIPTION_MAX_CHARS, MONEY_MAX_MINOR, TEXT_MAX_CHARS
from app.reading_log import reading
from app.wallets import Order, move_money, wallet_rows
from domain import instant
from domain.customer import Customer
from domain.errors import Invalid
from domain.money import UnknownCurrency, decimals
from domain.wallet import Movement, Wallet
from projections.aggregates import Aggregates
from projections.database import Database

USD = "USD"
"""The currency whose wallet the contract's ``total_balance_usd`` means: amounts are never converted."""

Reason = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_MAX_CHARS)]
IdempotencyKey = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX_CHARS)]


class EntryType(StrEnum):
    """Which way an entry goes: in or out."""

    credit = "credit"
    debit = "debit"


class WalletEntryCreate(msgspec.Struct):
    """Money to move: ``amount`` is whole minor units, ``entry_type`` says in or out."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=MONEY_MAX_MINOR)]
    currency: Annotated[str, msgspec.Meta(examples=["USD"])]
    entry_type: EntryType
    reason: Reason | None = None
    idempotency_key: IdempotencyKey | None = None


class WalletAnswer(msgspec.Struct):
    """A wallet. ``balance`` is whole minor units."""

    customer_id: str
    currency: str
    balance: int
    created_at: str
    updated_at: str


class WalletList(msgspec.Struct):
    """A customer's wallets, by currency."""

    items: list[WalletAnswer]
    total_balance_usd: int
    position: KnownAt = msgspec.UNSET


class WalletEntryAnswer(msgspec.Struct):
    """One movement of a wallet. ``amount`` has no sign: ``is_credit`` says which way it went."""

    id: str
    business_id: str
    customer_id: str
    currency: str
    amount: int
    before_balance: int
    after_balance: int
    is_credit: bool
    event_type: str
    created_at: str
    reason: str | None
    reference_object_id: str | None


class WalletEntryList(msgspec.Struct):
    """A page of movements, newest first."""

    items: list[WalletEntryAnswer]
    position: KnownAt = msgspec.UNSET


def check_currency(value: str) -> str:
    """Raises ``Invalid`` for what is no currency."""
    try:
        decimals(value)
    except UnknownCurrency as error:
        raise Invalid("currency", str(error)) from None
    return value


def _entry(tenant_id: str, wallet: Wallet, movement: Movement) -> WalletEntryAnswer:
    return WalletEntryAnswer(
        id=movement.entry_id,
        business_id=tenant_id,
        customer_id=wallet.customer_id,
        currency=wallet.currency,
        amount=abs(movement.amount),
        before_balance=movement.before_balance,
        after_balance=movement.after_balance,
        is_credit=movement.amount > 0,
        event_type=movement.event_type.value,
        created_at=instant.text(movement.at),
        reason=movement.reason,
        reference_object_id=movement.reference_object_id,
    )


@get("/customers/{customer_id:str}/wallets", guards=[requires("read")])
async def list_wallets(
    request: Asked, service: Serving, customer_id: FromPath[str], as_of: AsOfQuery = None
) -> WalletList:
    """A customer's wallets, one per currency that ever moved."""
    customer_id = path_id(customer_id, "customer")
    async with reading(service, request.auth, latest=True, as_of=read_as_of(as_of)) as aggregates:
        await aggregates.get(Customer, customer_id)
        items = [wallet_answer(wallet) for wallet in await known_wallets(aggregates, customer_id)]
        total = sum(item.balance for item in items if item.currency == USD)
        return WalletList(items, total, known_at(aggregates))


async def known_wallets(aggregates: Aggregates, customer_id: str) -> list[Wallet]:
    """A customer's wallets as known at the position, by currency."""
    rows = await wallet_rows(aggregates.database, aggregates.tenant_id, customer_id)
    found = [await aggregates.find(Wallet, Wallet.wallet_id(customer_id, row["currency"])) for row in rows]
    return [wallet for wallet in found if wallet is not None]


def wallet_answer(wallet: Wallet) -> WalletAnswer:
    """A wallet on the wire."""
    return WalletAnswer(
        customer_id=wallet.customer_id,
        currency=wallet.currency,
        balance=wallet.balance,
        created_at=instant.text(wallet.created_on),
        updated_at=instant.text(wallet.modified_on),
    )


async def wallets_of(database: Database, tenant_id: str, customer_id: str) -> list[WalletAnswer]:
    """A customer's wallets, by currency."""
    rows = await wallet_rows(database, tenant_id, customer_id)
    return [
        WalletAnswer(
            customer_id=customer_id,
            currency=row["currency"],
            balance=int(row["balance"]),
            created_at=instant.text(row["created_at"]),
            updated_at=instant.text(row["updated_at"]),
        )
        for row in rows
    ]


@post("/customers/{customer_id:str}/wallets/ledger-entries", status_code=200, guards=[requires("write")])
async def create_wallet_entry(
    request: Asked, service: Serving, customer_id: FromPath[str], data: JSONBody[WalletEntryCreate]
) -> WalletAnswer:
    """Credit or debit a customer's wallet by hand. A repeated idempotency key answers the wallet as it is."""
    check_spelling(members(request), WalletEntryCreate.__struct_fields__)
    return wallet_answer(await move_money(service, request.auth, order_of(data, path_id(customer_id, "customer"))))


def order_of(data: WalletEntryCreate, customer_id: str) -> Order:
    """The money that a body moves. Raises ``Invalid``."""
    return Order(
        customer_id=customer_id,
        currency=check_currency(data.currency),
        amount=data.amount if data.entry_type is EntryType.credit else -data.amount,
        reason=data.reason,
        idempotency_key=data.idempotency_key,
    )


@get("/customers/{customer_id:str}/wallets/ledger-entries", guards=[requires("read")])
async def list_wallet_entries(
    request: Asked,
    service: Serving,
    customer_id: FromPath[str],
    currency: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
    as_of: AsOfQuery = None,
) -> WalletEntryList:
    """The movements of a customer's wallets, newest first."""
    rows, customer_id = page(page_number, page_size), path_id(customer_id, "customer")
    wanted = None if currency is None else check_currency(currency)
    async with reading(service, request.auth, latest=True, as_of=read_as_of(as_of)) as aggregates:
        await aggregates.get(Customer, customer_id)
        entries = await wallet_entries(aggregates, customer_id, wanted)
        return WalletEntryList(entries[rows.offset : rows.offset + rows.size], known_at(aggregates))


async def wallet_entries(
    aggregates: Aggregates, customer_id: str, currency: str | None = None
) -> list[WalletEntryAnswer]:
    """The movements of a customer's wallets of one currency or of all, newest first."""
    tenant_id = aggregates.tenant_id
    wallets = [one for one in await known_wallets(aggregates, customer_id) if currency in (None, one.currency)]
    placed = [(movement, wallet) for wallet in wallets for movement in reversed(wallet.movements)]
    # Sorting is stable, so that entries of one wallet and instant stay newest first.
    placed.sort(key=lambda pair: pair[0].at, reverse=True)
    return [_entry(tenant_id, wallet, movement) for movement, wallet in placed]


ROUTER = Router(
    "/",
    route_handlers=[list_wallets, create_wallet_entry, list_wallet_entries],
    tags=["Wallets"],
)
