"""Credit grants and the ledger of a customer's credits: how a balance came about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from litestar import Router, get
from litestar.params import FromPath, FromQuery

from app.crediting import AccountView
from app.http.auth import requires
from app.http.credit_balances import ACCOUNT, asked_account
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    AsOfQuery,
    KnownAt,
    PageNumber,
    PageSize,
    Position,
    Serving,
    known_at,
    page,
    raw,
    read_as_of,
    read_instant,
)
from app.reading_log import reading
from domain import instant, number
from domain.credit_ledger import Movement, movements
from domain.credit_postings import TransactionType
from domain.errors import Invalid
from domain.grant import Grant, SourceType

ELSEWHERE = ("auto_top_up", "manual_adjustment")
"""Types of the contract that do not happen here: asking for them finds nothing."""


class GrantStatus(StrEnum):
    """What is left of a grant: something, nothing since it expired, or nothing since it was used."""

    active = "active"
    expired = "expired"
    depleted = "depleted"


class GrantAnswer(msgspec.Struct):
    """Credits that were granted. ``remaining_amount`` is what can be used now, after all usage of the open cycles."""

    id: str
    customer_id: str
    credit_entitlement_id: str
    initial_amount: str
    remaining_amount: str
    source_type: SourceType
    status: GrantStatus
    is_expired: bool
    is_rolled_over: bool
    rollover_count: int
    begins_at: str
    created_at: str
    updated_at: str
    expires_at: str | None
    source_id: str | None
    parent_grant_id: str | None
    metadata: Any


class GrantList(msgspec.Struct):
    """A page of grants, those that began last first."""

    items: list[GrantAnswer]
    position: KnownAt = msgspec.UNSET


class LedgerEntry(msgspec.Struct):
    """One movement of credits. ``amount`` has no sign: ``is_credit`` says which way it went.

    What is not final is the usage of an open cycle, or follows from it: it changes with the usage until the close.
    """

    id: str
    business_id: str
    brand_id: str
    customer_id: str
    credit_entitlement_id: str
    transaction_type: TransactionType
    is_credit: bool
    amount: str
    balance_before: str
    balance_after: str
    overage_before: str
    overage_after: str
    is_final: bool
    metadata: Any
    created_at: str
    description: str | None
    grant_id: str | None
    reference_type: str | None
    reference_id: str | None


class LedgerList(msgspec.Struct):
    """A page of the ledger, newest first."""

    items: list[LedgerEntry]
    position: KnownAt = msgspec.UNSET


def _status(view: AccountView, grant: Grant) -> GrantStatus:
    if not view.settlement.remaining[grant.id]:
        return GrantStatus.depleted
    return GrantStatus.expired if grant.expired_by(view.at) else GrantStatus.active


def _rolled_over(view: AccountView, grant: Grant) -> bool:
    """Whether its cycle ended and some of it lives on, recorded or not yet. Rollovers that are to come do not count."""
    to_record = {one.parent_id: one.amount for one in view.settlement.rollovers if one.at <= view.at}
    return bool(view.account.rolled.get(grant.id) or to_record.get(grant.id))


def _grant_answer(view: AccountView, grant: Grant) -> GrantAnswer:
    created = grant.recorded_at or grant.begins
    expired = grant.expires if grant.expires is not None and grant.expired_by(view.at) else None
    return GrantAnswer(
        id=grant.id,
        customer_id=view.account.customer_id,
        credit_entitlement_id=view.account.entitlement_id,
        initial_amount=number.plain(grant.amount),
        remaining_amount=number.plain(view.settlement.left(grant.id, view.at)),
        source_type=grant.source_type,
        status=_status(view, grant),
        is_expired=expired is not None,
        is_rolled_over=_rolled_over(view, grant),
        rollover_count=grant.rollover_count,
        begins_at=instant.text(grant.begins),
        created_at=instant.text(created),
        updated_at=instant.text(max(created, expired or created)),
        expires_at=None if grant.expires is None else instant.text(grant.expires),
        source_id=grant.source_id,
        parent_grant_id=grant.parent_grant_id,
        metadata=raw(grant.metadata),
    )


def _ledger_entry(view: AccountView, tenant_id: str, movement: Movement) -> LedgerEntry:
    return LedgerEntry(
        id=movement.id,
        business_id=tenant_id,
        brand_id=tenant_id,
        customer_id=view.account.customer_id,
        credit_entitlement_id=view.account.entitlement_id,
        transaction_type=movement.transaction_type,
        is_credit=movement.amount > 0,
        amount=number.plain(movement.amount.copy_abs()),
        balance_before=number.plain(movement.balance_before),
        balance_after=number.plain(movement.balance_after),
        overage_before=number.plain(movement.overage_before),
        overage_after=number.plain(movement.overage_after),
        is_final=movement.is_final,
        metadata=raw(movement.metadata),
        created_at=instant.text(movement.at),
        description=movement.reason,
        grant_id=movement.grant_id,
        reference_type=movement.reference_type,
        reference_id=movement.reference_id,
    )


@get(f"{ACCOUNT}/grants", guards=[requires("read")])
async def list_grants(
    request: Asked,
    service: Serving,
    credit_entitlement_id: FromPath[str],
    customer_id: FromPath[str],
    status: FromQuery[GrantStatus | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> GrantList:
    """A customer's grants of an entitlement, those that began last first."""
    rows = page(page_number, page_size)
    async with reading(service, request.auth, latest=True, at_least=at_least, as_of=read_as_of(as_of)) as aggregates:
        view, _ = await asked_account(aggregates, credit_entitlement_id, customer_id)
    return GrantList(grants_of(view, status)[rows.offset : rows.offset + rows.size], known_at(aggregates))


def grants_of(view: AccountView, status: GrantStatus | None = None) -> list[GrantAnswer]:
    """The grants of an account that have begun, those that began last first; those of a status, or all."""
    begun = [grant for grant in view.settlement.grants.values() if grant.begins <= view.at]
    begun.sort(key=lambda grant: (grant.begins, grant.order), reverse=True)
    return [_grant_answer(view, grant) for grant in begun if status in (None, _status(view, grant))]


@get(f"{ACCOUNT}/ledger", guards=[requires("read")])
async def list_ledger(
    request: Asked,
    service: Serving,
    credit_entitlement_id: FromPath[str],
    customer_id: FromPath[str],
    transaction_type: FromQuery[str | None] = None,
    start_date: FromQuery[str | None] = None,
    end_date: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> LedgerList:
    """The movements of a customer's credits, newest first; both dates are inclusive."""
    rows = page(page_number, page_size)
    types = (*TransactionType, *ELSEWHERE)
    if transaction_type is not None and transaction_type not in types:
        raise Invalid("transaction_type", f"must be one of {', '.join(types)}")
    since, until = read_instant(start_date, "start_date"), read_instant(end_date, "end_date")
    async with reading(service, request.auth, latest=True, at_least=at_least, as_of=read_as_of(as_of)) as aggregates:
        view, _ = await asked_account(aggregates, credit_entitlement_id, customer_id)
    found = [
        movement
        for movement in reversed(movements(view.account, view.settlement, view.at))
        if transaction_type in (None, movement.transaction_type) and _between(movement.at, since, until)
    ]
    shown = entries_of(view, request.auth.tenant_id, found[rows.offset : rows.offset + rows.size])
    return LedgerList(shown, known_at(aggregates))


def entries_of(view: AccountView, tenant_id: str, found: Sequence[Movement]) -> list[LedgerEntry]:
    """Movements of an account on the wire."""
    return [_ledger_entry(view, tenant_id, movement) for movement in found]


def _between(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or since <= at) and (until is None or at <= until)


ROUTER = Router("/", route_handlers=[list_grants, list_ledger], tags=["Credits"])
