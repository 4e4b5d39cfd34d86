"""Credits added and taken out by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from app.crediting import AccountView, account_view
from app.identity import new_id
from app.projecting import project_most
from app.service import Caller, Service
from app.transaction import transaction
from domain.customer import Customer
from domain.entitlement import Entitlement
from domain.errors import NotFound
from domain.settlement import Balance, balance
from projections.aggregates import Aggregates
from projections.quantities import catch_up


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Credits to add, or to take out (``is_credit`` false). ``amount`` is above 0; ``metadata`` flat JSON as text."""

    entitlement_id: str
    customer_id: str
    amount: Decimal
    is_credit: bool
    expires_at: datetime | None
    reason: str | None
    metadata: str
    idempotency_key: str | None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded. ``grant_id`` is the grant it made, or, for a debit, the only one it drew on."""

    entry_id: str
    grant_id: str | None
    at: datetime
    before: Balance
    after: Balance


async def undeleted(aggregates: Aggregates, entitlement_id: str) -> Entitlement:
    """The entitlement. Raises ``NotFound`` for an unknown or a deleted one."""
    found = await aggregates.get(Entitlement, entitlement_id)
    if found.deleted:
        raise NotFound(Entitlement.TOPIC, entitlement_id)
    return found


async def add_entry(service: Service, caller: Caller, order: Order) -> Entry:
    """Add credits or take them out, under the tenant's lock, so that no two debits take the same credits.

    Raises ``NotFound``, ``Invalid`` for an amount or an expiry that breaks a rule, ``Insufficient`` when the balance
    after all usage is lower than the amount, and ``Conflict`` when the idempotency key was used.
    """
    await project_most(service, caller.tenant_id)
    async with transaction(service, caller, "credit.credit" if order.is_credit else "credit.debit") as running:
        await undeleted(running, order.entitlement_id)
        await running.get(Customer, order.customer_id)
        await catch_up(running.database, running.tenant_id, running.position)
        before = await account_view(running, order.entitlement_id, order.customer_id)
        entry_id, grant_id = _credit(before, order) if order.is_credit else _debit(before, order)
        after = await account_view(running, order.entitlement_id, order.customer_id)
        return Entry(
            entry_id=entry_id,
            grant_id=grant_id,
            at=running.now,
            before=balance(before.settlement, running.now),
            after=balance(after.settlement, running.now),
        )


def _credit(view: AccountView, order: Order) -> tuple[str, str | None]:
    days = view.entitlement.terms.expires_after_days
    default = None if days is None else view.at + timedelta(days=days)
    grant = view.account.credit(
        new_id("grt"),
        amount=order.amount,
        expires=order.expires_at or default,
        reason=order.reason,
        metadata=order.metadata,
        idempotency_key=order.idempotency_key,
        at=view.at,
    )
    return grant.id, grant.id


def _debit(view: AccountView, order: Order) -> tuple[str, str | None]:
    entry_id = new_id("cle")
    draws = view.account.debit(
        entry_id,
        amount=order.amount,
        free=view.settlement.free(view.at, view.entitlement.terms.burn_order),
        reason=order.reason,
        metadata=order.metadata,
        idempotency_key=order.idempotency_key,
        at=view.at,
    )
    return entry_id, draws[0].grant_id if len(draws) == 1 else None
