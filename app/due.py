"""What is due: closing it in one tenant, and in all of them while some of it fails."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta

import msgspec

from app import measures
from app.closing import GROUP_MAX, Closed, Due, close_group, first_group
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

CallerOf = Callable[[str], Caller]
"""Who closes what is due of a tenant."""

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


class Outcome(msgspec.Struct, frozen=True):
    """What became of one subscription in one round: what was closed of it, or why it could not be."""

    closed: Closed
    error: Exception | None = None


async def close_due(service: Service, caller: Caller) -> AsyncGenerator[Bill, None]:
    """Close every due cycle of the caller's tenant and open every cycle that has begun; yields the new invoices.

    Raises when a subscription cannot be closed; what was closed before stays closed.
    """
    async for page in due_pages(service, caller.tenant_id):
        async for outcome in _close_all(service, caller, page, GROUP_MAX):
            if outcome.error is not None:
                raise outcome.error
            if outcome.closed.bill is not None:
                yield outcome.closed.bill


async def _close_all(service: Service, caller: Caller, waiting: list[Due], count: int) -> AsyncGenerator[Outcome]:
    """Close what is due of these subscriptions, ``count`` at once, until nothing more is due of any.

    Each round closes one cycle of each, so that the cycles of one are closed in order.
    """
    while waiting:
        group, waiting = first_group(waiting, count)
        async for outcome in _close_apart(service, caller, group):
            if outcome.closed.more:
                waiting.append(outcome.closed.due)
            yield outcome


async def _close_apart(service: Service, caller: Caller, group: list[Due]) -> AsyncGenerator[Outcome]:
    """Close a group; if that fails, each of it by itself, for what one cannot do must not hold up the others."""
    try:
        done = [Outcome(closed) for closed in await close_group(service, caller, group)]
    except Exception as error:
        done = [Outcome(Closed(due, None, False), error) for due in group] if len(group) == 1 else []
    for outcome in done:
        yield outcome
    if not done:
        # Raises when the database is lost: so is everybody else's close then.
        await service.pool.execute("select 1")
        for due in group:
            async for outcome in _close_apart(service, caller, [due]):
                yield outcome


async def due_pages(service: Service, tenant_id: str) -> AsyncGenerator[list[Due]]:
    """The subscriptions of a tenant of which something is due, each once, however long dealing with them takes."""
    after = ""
    while True:
        rows = await service.pool.fetch(SQL["due"], tenant_id, *await _due_before(service, tenant_id), after, DUE_PAGE)
        if rows:
            yield [Due(row["subscription_id"], row["customer_id"], row["currency"]) for row in rows]
        if len(rows) < DUE_PAGE:
            return
        after = rows[-1]["subscription_id"]


async def count_due(service: Service) -> int:
    """The subscriptions of which something is due, in all tenants whose time passes by itself."""
    count = 0
    for tenant_id in await tenants_on_time(service):
        async for page in due_pages(service, tenant_id):
            count += len(page)
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


async def close_due_everywhere(
    service: Service, retries: Retries, caller_of: CallerOf = system_caller
) -> AsyncGenerator[Dealt, None]:
    """Close what is due in every tenant whose time passes by itself; yields each due subscription once dealt with.

    What cannot be closed is logged when its reason is new and left alone for a while, and the others go on. Raises only
    when the database is lost.
    """
    met = set[tuple[str, str]]()
    for tenant_id in await tenants_on_time(service):
        try:
            async for page in due_pages(service, tenant_id):
                met |= {(tenant_id, due.subscription_id) for due in page}
                async for dealt in _deal(service, retries, caller_of(tenant_id), page):
                    yield dealt
        except Exception as error:
            met.add((tenant_id, ""))
            yield await _failed(service, retries, Dealt(tenant_id, "", 0), error)
    retries.keep(met)


async def _deal(service: Service, retries: Retries, caller: Caller, page: list[Due]) -> AsyncGenerator[Dealt]:
    """Close what is due of a page; of those that failed before each by itself, for the others would fail with it."""
    tenant_id = caller.tenant_id
    ready = [due for due in page if retries.ready((tenant_id, due.subscription_id))]
    failing = [due for due in ready if retries.failing((tenant_id, due.subscription_id))]
    closed = Counter[Due]()
    for waiting, count in ((failing, 1), ([due for due in ready if due not in failing], GROUP_MAX)):
        async for outcome in _close_all(service, caller, waiting, count):
            due = outcome.closed.due
            closed[due] += outcome.closed.bill is not None
            dealt = Dealt(tenant_id, due.subscription_id, closed[due])
            if outcome.error is not None:
                yield await _failed(service, retries, dealt, outcome.error)
            elif not outcome.closed.more:
                retries.succeeded((tenant_id, due.subscription_id))
                yield dealt


async def _failed(service: Service, retries: Retries, dealt: Dealt, error: Exception) -> Dealt:
    """The failure at hand, logged when its reason is new. Raises when the database is lost: so is all the rest then."""
    await service.pool.execute("select 1")
    measures.CLOSE_FAILURES.inc()
    reason = f"{type(error).__name__}: {error}"
    if retries.failed((dealt.tenant_id, dealt.subscription_id), reason):
        what = f"subscription {dealt.subscription_id} of " if dealt.subscription_id else ""
        told = "what is due of %stenant %s cannot be closed; it is tried again later"
        LOG.error(told, what, dealt.tenant_id, exc_info=error)
    return msgspec.structs.replace(dealt, failure=reason)
