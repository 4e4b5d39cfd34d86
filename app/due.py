"""What is due: closing it in one tenant, and in all of them while some of it fails."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

import msgspec

from app.billing import close_due_of
from app.invoicing import Bill
from app.keys import system_caller
from app.retries import Retries
from app.rules import SQL as TENANT_SQL
from app.rules import rules_of, tenant_now
from app.service import Caller, Service
from projections.log_reader import head
from projections.statements import load

SQL = load("app.sql", "billing.sql")

LOG = logging.getLogger("taximeter.due")

DUE_PAGE = 500
"""Due subscriptions looked up at once."""


class Dealt(msgspec.Struct, frozen=True):
    """A due subscription that a run dealt with: the cycles it closed, and why it could not go on.

    Without a subscription, what is due of the whole tenant could not be found.
    """

    tenant_id: str
    subscription_id: str
    closed: int
    failure: str | None = None


async def close_due(service: Service, caller: Caller) -> AsyncGenerator[Bill, None]:
    """Close every due cycle of the caller's tenant and open every cycle that has begun; yields the new invoices.

    Raises when a subscription cannot be closed; what was closed before stays closed.
    """
    async for subscription_id in due_subscriptions(service, caller.tenant_id):
        async for bill in close_due_of(service, caller, subscription_id):
            yield bill


async def due_subscriptions(service: Service, tenant_id: str) -> AsyncGenerator[str]:
    """The subscriptions of a tenant of which something is due, each once, however long dealing with one takes."""
    after = ""
    while True:
        rows = await service.pool.fetch(SQL["due"], tenant_id, *await _due_before(service, tenant_id), after, DUE_PAGE)
        for row in rows:
            yield row["subscription_id"]
        if len(rows) < DUE_PAGE:
            return
        after = rows[-1]["subscription_id"]


async def count_due(service: Service) -> int:
    """The subscriptions of which something is due, in all tenants whose time passes by itself."""
    count = 0
    for tenant_id in await tenants_on_time(service):
        async for _ in due_subscriptions(service, tenant_id):
            count += 1
    return count


async def _due_before(service: Service, tenant_id: str) -> tuple[datetime, datetime]:
    """The tenant's now, and the end of the last cycles whose grace has passed."""
    async with service.pool.acquire() as connection:
        rules = await rules_of(connection, service, tenant_id)
        now = max(tenant_now(service, rules), (await head(connection, tenant_id)).recorded_at)
    return now, now - rules.close_grace


async def next_due(service: Service, tenant_id: str, now: datetime, grace: timedelta) -> datetime | None:
    """The first instant past ``now`` at which something becomes due as things stand."""
    return await service.pool.fetchval(SQL["next_due"], tenant_id, now, grace)


async def tenants_on_time(service: Service) -> list[str]:
    """The tenants whose time passes by itself: for a test clock, nothing becomes due until it is moved."""
    return [row["tenant_id"] for row in await service.pool.fetch(TENANT_SQL["tenants_on_time"])]


async def close_due_everywhere(service: Service, retries: Retries) -> AsyncGenerator[Dealt, None]:
    """Close what is due in every tenant whose time passes by itself; yields each due subscription once dealt with.

    What cannot be closed is logged when its reason is new and left alone for a while, and the others go on. Raises only
    when the database is lost.
    """
    met = set[tuple[str, str]]()
    for tenant_id in await tenants_on_time(service):
        try:
            async for subscription_id in due_subscriptions(service, tenant_id):
                key = (tenant_id, subscription_id)
                met.add(key)
                if retries.ready(key):
                    yield await _deal(service, retries, tenant_id, subscription_id)
        except Exception as error:
            met.add((tenant_id, ""))
            yield await _failed(service, retries, Dealt(tenant_id, "", 0), error)
    retries.keep(met)


async def _deal(service: Service, retries: Retries, tenant_id: str, subscription_id: str) -> Dealt:
    closed = 0
    try:
        async for _ in close_due_of(service, system_caller(tenant_id), subscription_id):
            closed += 1
    except Exception as error:
        return await _failed(service, retries, Dealt(tenant_id, subscription_id, closed), error)
    retries.succeeded((tenant_id, subscription_id))
    return Dealt(tenant_id, subscription_id, closed)


async def _failed(service: Service, retries: Retries, dealt: Dealt, error: Exception) -> Dealt:
    """The failure at hand, logged when its reason is new. Raises when the database is lost: so is all the rest then."""
    await service.pool.execute("select 1")
    reason = f"{type(error).__name__}: {error}"
    if retries.failed((dealt.tenant_id, dealt.subscription_id), reason):
        what = f"subscription {dealt.subscription_id} of " if dealt.subscription_id else ""
        LOG.exception("what is due of %stenant %s cannot be closed; it is tried again later", what, dealt.tenant_id)
    return msgspec.structs.replace(dealt, failure=reason)
