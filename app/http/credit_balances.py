"""Credit balances: what customers have of an entitlement, and what is added or taken out by hand."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.credit_entries import Entry, Order, add_entry
from app.credit_terms import linked_credits, low_threshold
from app.crediting import AccountView, account_view
from app.http.auth import requires
from app.http.credit_entitlements import WHAT
from app.http.included_credits import Credits
from app.http.prices import read_decimal
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    AsOfQuery,
    KnownAt,
    Metadata,
    PageNumber,
    PageSize,
    Position,
    Serving,
    check_spelling,
    known_at,
    members,
    metadata_text,
    page,
    path_id,
    raw,
    read_as_of,
    read_instant,
)
from app.http.wallets import EntryType, IdempotencyKey, Reason
from app.reading_log import reading
from app.wallets import SQL
from domain import instant, number
from domain.credit_account import CreditAccount
from domain.customer import Customer
from domain.entitlement import Entitlement, Overage
from domain.errors import Invalid
from domain.settlement import Balance, balance
from domain.subscription import Subscription
from projections.aggregates import Aggregates

BALANCES = "/credit-entitlements/{credit_entitlement_id:str}/balances"
ACCOUNT = f"{BALANCES}/{{customer_id:str}}"


class BalanceAnswer(msgspec.Struct):
    """A customer's credits of an entitlement. Every customer has a balance of each, if only 0.

    It is low at or below ``low_balance_threshold``, the highest that the customer's subscriptions set.
    """

    id: str
    customer_id: str
    credit_entitlement_id: str
    balance: str
    overage: str
    low_balance: bool
    low_balance_threshold: str | None
    created_at: str
    updated_at: str
    last_transaction_at: str | None
    position: KnownAt = msgspec.UNSET


class BalanceList(msgspec.Struct):
    """A page of balances, the newest account first."""

    items: list[BalanceAnswer]
    position: KnownAt = msgspec.UNSET


class EntryCreate(msgspec.Struct):
    """Credits to add or take out. Without ``expires_at`` they last as the entitlement says."""

    amount: Annotated[Credits, msgspec.Meta(examples=["100"])]
    entry_type: EntryType
    expires_at: str | None = None
    idempotency_key: IdempotencyKey | None = None
    reason: Reason | None = None
    metadata: Metadata | None = None


class EntryAnswer(msgspec.Struct):
    """What was added or taken out, and the balance and overage before and after it."""

    id: str
    customer_id: str
    credit_entitlement_id: str
    entry_type: EntryType
    is_credit: bool
    amount: str
    balance_before: str
    balance_after: str
    overage_before: str
    overage_after: str
    metadata: Any
    created_at: str
    grant_id: str | None
    reason: str | None


class CustomerCredits(msgspec.Struct):
    """An entitlement with a customer's balance."""

    credit_entitlement_id: str
    name: str
    unit: str
    description: str | None
    balance: str
    overage: str


class CustomerCreditsList(msgspec.Struct):
    """Every entitlement of which a customer has an account."""

    items: list[CustomerCredits]
    position: KnownAt = msgspec.UNSET


class CreditUsage(msgspec.Struct):
    """An entitlement of a subscription. Balance and overage are the customer's, over all subscriptions."""

    credit_entitlement_id: str
    credit_entitlement_name: str
    unit: str
    balance: str
    overage: str
    overage_enabled: bool
    limit_reached: bool
    overage_limit: str | None
    remaining_headroom: str | None
    low_balance: bool
    low_balance_threshold: str | None


class CreditUsageList(msgspec.Struct):
    """The entitlements that a subscription includes or burns."""

    subscription_id: str
    items: list[CreditUsage]
    position: KnownAt = msgspec.UNSET


def _is_low(current: Balance, threshold: Decimal | None) -> bool:
    return threshold is not None and current.credits <= threshold


def headroom(terms: Overage, outstanding: Decimal) -> Decimal | None:
    """How much more overage is counted; ``None`` where none is, or without a limit."""
    if not terms.enabled or terms.limit is None:
        return None
    return max(Decimal(0), number.minus(Decimal(terms.limit), outstanding))


async def _balance_answer(aggregates: Aggregates, view: AccountView, opened: datetime) -> BalanceAnswer:
    """An account's balance; ``opened`` is since when there is one where nothing was recorded of it."""
    account, current = view.account, balance(view.settlement, view.at)
    recorded = await aggregates.facts(CreditAccount, account.object_id)
    created, updated = (recorded[0].timestamp, recorded[-1].timestamp) if recorded else (opened, None)
    threshold = await low_threshold(aggregates, account.entitlement_id, account.customer_id)
    return BalanceAnswer(
        id=account.object_id,
        customer_id=account.customer_id,
        credit_entitlement_id=account.entitlement_id,
        balance=number.plain(current.credits),
        overage=number.plain(current.overage),
        low_balance=_is_low(current, threshold),
        low_balance_threshold=None if threshold is None else number.plain(threshold),
        created_at=instant.text(created),
        updated_at=instant.text(updated or created),
        last_transaction_at=None if updated is None else instant.text(updated),
    )


@get(BALANCES, guards=[requires("read")])
async def list_balances(
    request: Asked,
    service: Serving,
    credit_entitlement_id: FromPath[str],
    customer_id: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> BalanceList:
    """The balances of every customer who has an account of an entitlement, the newest account first."""
    rows, entitlement_id = page(page_number, page_size), path_id(credit_entitlement_id, WHAT)
    async with reading(service, request.auth, latest=True, at_least=at_least, as_of=read_as_of(as_of)) as aggregates:
        await aggregates.get(Entitlement, entitlement_id)
        asked = (entitlement_id, customer_id, rows.size, rows.offset, aggregates.position)
        items: list[BalanceAnswer] = []
        for row in await aggregates.database.fetch(SQL["credit_accounts"], aggregates.tenant_id, *asked):
            view = await account_view(aggregates, entitlement_id, row["customer_id"])
            items.append(await _balance_answer(aggregates, view, row["created_at"]))
        return BalanceList(items, known_at(aggregates))


@get(ACCOUNT, guards=[requires("read")])
async def get_balance(
    request: Asked,
    service: Serving,
    credit_entitlement_id: FromPath[str],
    customer_id: FromPath[str],
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> BalanceAnswer:
    """A customer's balance of an entitlement, after all usage of the open cycles."""
    async with reading(service, request.auth, latest=True, at_least=at_least, as_of=read_as_of(as_of)) as aggregates:
        view, customer = await asked_account(aggregates, credit_entitlement_id, customer_id)
        opened = max(view.entitlement.created_on, customer.created_on)
        found = await _balance_answer(aggregates, view, opened)
        return msgspec.structs.replace(found, position=known_at(aggregates))


async def asked_account(
    aggregates: Aggregates, credit_entitlement_id: str, customer_id: str
) -> tuple[AccountView, Customer]:
    """The account that a path names and its customer. Raises ``NotFound``."""
    entitlement_id, customer_id = path_id(credit_entitlement_id, WHAT), path_id(customer_id, "customer")
    await aggregates.get(Entitlement, entitlement_id)
    customer = await aggregates.get(Customer, customer_id)
    return await account_view(aggregates, entitlement_id, customer_id), customer


@post(f"{ACCOUNT}/ledger-entries", status_code=201, guards=[requires("write")])
async def create_ledger_entry(
    request: Asked,
    service: Serving,
    credit_entitlement_id: FromPath[str],
    customer_id: FromPath[str],
    data: JSONBody[EntryCreate],
) -> EntryAnswer:
    """Add credits to a customer's balance, or take some out. A used idempotency key is a conflict."""
    check_spelling(members(request), EntryCreate.__struct_fields__)
    account = path_id(credit_entitlement_id, WHAT), path_id(customer_id, "customer")
    order = order_of(data, *account, metadata_text(request))
    return _entry_answer(order, data.entry_type, await add_entry(service, request.auth, order))


def order_of(data: EntryCreate, entitlement_id: str, customer_id: str, metadata: str = "{}") -> Order:
    """The credits that a body adds or takes out. ``metadata`` is a flat JSON object as text. Raises ``Invalid``."""
    is_credit = data.entry_type is EntryType.credit
    if data.expires_at is not None and not is_credit:
        raise Invalid("expires_at", "goes with a credit only")
    return Order(
        entitlement_id=entitlement_id,
        customer_id=customer_id,
        amount=read_decimal(data.amount, "amount"),
        is_credit=is_credit,
        expires_at=read_instant(data.expires_at, "expires_at"),
        reason=data.reason,
        metadata=metadata,
        idempotency_key=data.idempotency_key,
    )


def _entry_answer(order: Order, entry_type: EntryType, entry: Entry) -> EntryAnswer:
    return EntryAnswer(
        id=entry.entry_id,
        customer_id=order.customer_id,
        credit_entitlement_id=order.entitlement_id,
        entry_type=entry_type,
        is_credit=order.is_credit,
        amount=number.plain(order.amount),
        balance_before=number.plain(entry.before.credits),
        balance_after=number.plain(entry.after.credits),
        overage_before=number.plain(entry.before.overage),
        overage_after=number.plain(entry.after.overage),
        metadata=raw(order.metadata),
        created_at=instant.text(entry.at),
        grant_id=entry.grant_id,
        reason=order.reason,
    )


@get("/customers/{customer_id:str}/credit-entitlements", guards=[requires("read")])
async def list_customer_credits(
    request: Asked,
    service: Serving,
    customer_id: FromPath[str],
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> CustomerCreditsList:
    """The entitlements of which a customer has an account, with the balances."""
    customer_id = path_id(customer_id, "customer")
    async with reading(service, request.auth, latest=True, at_least=at_least, as_of=read_as_of(as_of)) as aggregates:
        await aggregates.get(Customer, customer_id)
        return CustomerCreditsList(await customer_credits(aggregates, customer_id), known_at(aggregates))


async def customer_credits(aggregates: Aggregates, customer_id: str) -> list[CustomerCredits]:
    """The entitlements of which a customer has an account, with the balances."""
    views = [
        await account_view(aggregates, entitlement_id, customer_id)
        for entitlement_id in await aggregates.credited_entitlements(customer_id)
        # An account that was opened past the position is named, too.
        if await aggregates.facts(CreditAccount, CreditAccount.account_id(entitlement_id, customer_id))
    ]
    return [_customer_credits(view) for view in views]


def _customer_credits(view: AccountView) -> CustomerCredits:
    current, terms = balance(view.settlement, view.at), view.entitlement.terms
    return CustomerCredits(
        credit_entitlement_id=view.entitlement.object_id,
        name=terms.name,
        unit=terms.unit,
        description=terms.description,
        balance=number.plain(current.credits),
        overage=number.plain(current.overage),
    )


@get("/subscriptions/{subscription_id:str}/credit-usage", guards=[requires("read")])
async def get_credit_usage(
    request: Asked,
    service: Serving,
    subscription_id: FromPath[str],
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> CreditUsageList:
    """The credits that a subscription includes or burns, with the terms of its newest cycle."""
    async with reading(service, request.auth, latest=True, at_least=at_least, as_of=read_as_of(as_of)) as aggregates:
        subscription = await aggregates.get(Subscription, path_id(subscription_id, "subscription"))
        items = await credit_usage(aggregates, subscription)
        return CreditUsageList(subscription.object_id, items, known_at(aggregates))


async def credit_usage(aggregates: Aggregates, subscription: Subscription) -> list[CreditUsage]:
    """The credits that a subscription includes or burns, with the terms of its newest cycle."""
    items: list[CreditUsage] = []
    for linked in await linked_credits(aggregates, subscription):
        view = await account_view(aggregates, linked.entitlement.object_id, subscription.customer_id)
        current, overage = balance(view.settlement, view.at), linked.terms.overage
        room = headroom(overage, current.overage)
        items.append(
            CreditUsage(
                credit_entitlement_id=linked.entitlement.object_id,
                credit_entitlement_name=linked.terms.name,
                unit=linked.terms.unit,
                balance=number.plain(current.credits),
                overage=number.plain(current.overage),
                overage_enabled=overage.enabled,
                limit_reached=room is not None and not room,
                overage_limit=overage.limit if overage.enabled else None,
                remaining_headroom=None if room is None else number.plain(room),
                low_balance=_is_low(current, linked.threshold),
                low_balance_threshold=None if linked.threshold is None else number.plain(linked.threshold),
            )
        )
    return items


ROUTER = Router(
    "/",
    route_handlers=[list_balances, get_balance, create_ledger_entry, list_customer_credits, get_credit_usage],
    tags=["Credits"],
)
