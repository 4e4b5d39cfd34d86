"""What replaying is measured with: a log with read models of it, and an invoice of a customer with very many events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from close import COMMIT_EVENTS, RULES, declare, last_month, subscribe_large, use_much
from workload import rows

from app.audit.invoice_replay import replay_invoice
from app.audit.replaying import replay
from app.billing import close_cycle
from app.commands import open_service
from app.event_log import Sent, append_usage
from app.keys import system_caller
from app.projecting import project_all
from domain.cycle import Anchor
from domain.event import UsageEvent


async def record(dsn: str, events: int) -> str:
    """A log of so many events, recorded as the service does and projected into a meter; the tenant."""
    caller = system_caller(f"bench-{uuid4().hex[:12]}")
    async with open_service(dsn, RULES) as service:
        await declare(service, caller)
        async with service.pool.acquire() as connection:
            for first in range(0, events, COMMIT_EVENTS):
                sent = [UsageEvent(*row) for row in rows(min(COMMIT_EVENTS, events - first), first, "bench")]
                await append_usage(connection, caller.tenant_id, [Sent(sent)], service.clock())
        await project_all(service)
    return caller.tenant_id


async def replay_all(dsn: str) -> None:
    """`taximeter audit replay` of the whole log, in this process: built and compared."""
    done = await replay(dsn, lambda *_: None, resume=False)
    if done.differences:
        raise SystemExit(f"the read models differ: {done.differences}: no figure")


async def invoiced(dsn: str, events: int) -> tuple[str, str]:
    """A tenant, and the number of an invoice for a cycle in which its customer sent so many events."""
    caller, start = system_caller(f"bench-{uuid4().hex[:12]}"), last_month(datetime.now(UTC))
    async with open_service(dsn, RULES) as service:
        await declare(service, caller)
        await use_much(service, caller, events, start)
        # A cycle that begins within an hour, so that hours are cut.
        anchor = Anchor(instant=start + timedelta(minutes=37))
        subscription_id, *_ = await subscribe_large(service, caller, "replayed", anchor)
        bill = await close_cycle(service, caller, subscription_id)
    return caller.tenant_id, str(bill.document.number)


async def replay_one(dsn: str, tenant_id: str, number: str) -> None:
    """`taximeter audit replay --invoice`, in this process."""
    async with open_service(dsn, RULES) as service, service.pool.acquire() as connection:
        done = await replay_invoice(connection, RULES, tenant_id, number)
    if not done.proved:
        raise SystemExit("the invoice did not come out the same: no figure")
