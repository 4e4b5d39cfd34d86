"""Retiring a month of usage: its rows are dropped once an archive holds them, and can be brought back out of it.

See docs/decisions/0035-retired-months.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from app.audit.archive.exporting import Report
from app.audit.archive.importing import copy_usage
from app.audit.archive.manifest import ArchiveError, DoesNotFit
from app.audit.archive.reading import Archive, check_chain
from app.audit.archive.streaming import OwnerConnection
from app.backup.taking import SQL as BACKUP
from app.event_log import SQL as APPEND
from app.event_log import lock_head
from app.keys import system_caller
from app.late_usage import unsettled_hours
from app.retired import SQL
from app.rules import rules_of
from app.service import Service
from app.transaction import Transaction
from domain.subscription import Subscription
from domain.tenant import Tenant
from projections.fault_points import FaultPoint, reach

RETIRE_AFTER = timedelta(days=2)
"""How long after its end a month can be retired: no batch that began in it is still being written then."""

LOCK_ATTEMPTS = 20
LOCK_PAUSE_SECONDS = 0.5
"""How often the rows and the heads are tried to be locked at once: a command holds a head for a second or two."""


class Held(msgspec.Struct, frozen=True):
    """What a month holds of a tenant."""

    tenant_id: str
    first_position: int
    last_position: int
    events: int
    low_timestamp: datetime
    high_timestamp: datetime


class Month(msgspec.Struct, frozen=True):
    """A month of recording, and the partition that holds all of its batches."""

    first: date
    table: str | None
    since_batch: Any
    until_batch: Any

    @property
    def text(self) -> str:
        """As in 2026-01."""
        return f"{self.first:%Y-%m}"


async def month_of(connection: OwnerConnection, first: date) -> Month:
    """The month that begins on a day."""
    row = await connection.fetchrow(SQL["partition"], first)
    assert row is not None
    return Month(first, row["name"], row["since_batch"], row["until_batch"])


async def retire(
    connection: OwnerConnection, service: Service, archive: Archive, first: date, now: datetime
) -> list[Held]:
    """Drop the usage rows that were recorded in a month; what they were of each tenant. All of it, or nothing.

    The archive is read from the disk, and its chain has to be part of this log's. Each tenant's log says what was
    dropped. Raises ``ArchiveError`` when something may still need the rows, ``DoesNotFit`` for a bad archive.
    """
    month = await month_of(connection, first)
    if month.table is None:
        if await connection.fetch(SQL["retired_months"], first):
            raise ArchiveError(
                f"{month.text} is retired already; `taximeter audit bring-back {month.text}` puts it back"
            )
        raise ArchiveError(f"nothing was recorded in {month.text}, or in a table that other months share")
    end = datetime.combine((first + timedelta(days=32)).replace(day=1), datetime.min.time(), now.tzinfo)
    if now < end + RETIRE_AFTER:
        raise ArchiveError(f"{month.text} can be retired two days after its end")
    rows = await connection.fetch(SQL["retired_span"], month.since_batch, month.until_batch)
    held = [Held(*(row[field] for field in Held.__struct_fields__)) for row in rows]
    await check_archive(connection, archive, {one.tenant_id: one.last_position for one in held})
    async with _locked(connection, [one.tenant_id for one in held]):
        for one in held:
            await _retire_tenant(connection, service, archive, month, one)
        await connection.execute(SQL["drop_partition"].format(table=month.table))
        await reach(FaultPoint.retire_dropped)
    return held


async def check_archive(connection: OwnerConnection, archive: Archive, ends: Mapping[str, int]) -> None:
    """Read an archive from the disk and walk its chain; it must lie in this log, and reach to a position by tenant.

    Raises ``DoesNotFit``, and ``ArchiveError`` when it does not reach so far.
    """
    await asyncio.to_thread(archive.check_files)
    await asyncio.to_thread(check_chain, archive)
    heads = {head.tenant_id: head for head in archive.heads}
    for tenant_id, end in ends.items():
        head = heads.get(tenant_id)
        if head is None or head.position < end:
            raise ArchiveError(f"the archive ends before position {end} of tenant {tenant_id}")
        found: bytes | None = await connection.fetchval(BACKUP["digest_at"], tenant_id, head.position)
        if found is None or found.hex() != head.digest:
            raise DoesNotFit(f"tenant {tenant_id} has another log here than in the archive")


@asynccontextmanager
async def _locked(connection: OwnerConnection, tenant_ids: Sequence[str]) -> AsyncIterator[None]:
    """A transaction that holds the rows of usage and the heads. Raises ``ArchiveError`` when they are never free."""
    for _ in range(LOCK_ATTEMPTS):
        running = connection.transaction()
        await running.__aenter__()
        try:
            await connection.execute(SQL["lock_usage"])
            await connection.fetch(SQL["lock_heads"], tenant_ids)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await running.__aexit__(asyncpg.LockNotAvailableError, None, None)
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
            continue
        break
    else:
        raise ArchiveError("the log was never free for a moment; try again when less is going on")
    try:
        yield
    except BaseException as error:
        await running.__aexit__(type(error), error, error.__traceback__)
        raise
    await running.__aexit__(None, None, None)


async def _retire_tenant(
    connection: OwnerConnection, service: Service, archive: Archive, month: Month, held: Held
) -> None:
    running = await _command(connection, service, held.tenant_id)
    counted: int = await connection.fetchval(SQL["counted_at"], held.tenant_id)
    if counted < held.last_position:
        raise ArchiveError(f"usage of {month.text} is not counted yet; wait for the projection")
    settled_until = await _settled_until(running, held)
    digest = bytes.fromhex(archive.exported.digest)
    await connection.execute(
        SQL["retire"],
        held.tenant_id,
        month.first,
        month.since_batch,
        month.until_batch,
        held.first_position,
        held.last_position,
        held.events,
        held.low_timestamp,
        held.high_timestamp,
        settled_until,
        digest,
    )
    tenant = await running.get(Tenant, held.tenant_id)
    tenant.retire_usage(
        month.text,
        (held.first_position, held.last_position),
        held.events,
        settled_until,
        archive.exported.digest,
        running.now,
    )
    await running.append("audit.retire")


async def _settled_until(running: Transaction, held: Held) -> datetime:
    """The end of the last cycle that reaches into the usage. Raises ``ArchiveError`` while that may still change."""
    until = held.high_timestamp + timedelta(microseconds=1)
    for row in await running.database.fetch(SQL["subscriptions"], running.tenant_id):
        subscription = await running.get(Subscription, row["subscription_id"])
        reaching = [cycle for cycle in subscription.cycles if cycle.start <= held.high_timestamp]
        for cycle in reaching:
            if cycle.invoice_id is None:
                raise ArchiveError(
                    f"a cycle of subscription {subscription.object_id} that reaches into this usage is not closed"
                )
            until = max(until, cycle.end)
        pending = await unsettled_hours(running, subscription)
        if any(hour.hour < until for hour in pending):
            raise ArchiveError(f"late usage of subscription {subscription.object_id} is not invoiced yet")
    age_max = (await running.rules()).event_age_max
    if age_max is None or until > running.now - age_max:
        raise ArchiveError(
            f"events of tenant {running.tenant_id} may still arrive for cycles that end at {until:%Y-%m-%d}; its"
            f" event_age_max is {'without limit' if age_max is None else age_max}"
        )
    return until


async def bring_back(
    connection: OwnerConnection, service: Service, archive: Archive, first: date, report: Report
) -> list[str]:
    """Put the rows of a retired month back, out of any archive that holds them; the tenants whose rows they are.

    Raises ``ArchiveError`` when the month is not retired, ``DoesNotFit`` for a bad archive.
    """
    rows = await connection.fetch(SQL["retired_months"], first)
    if not rows:
        raise ArchiveError(f"no usage of {first:%Y-%m} is retired")
    month = await month_of(connection, first)
    ends: dict[str, int] = {row["tenant_id"]: row["last_position"] for row in rows}
    await check_archive(connection, archive, ends)
    async with _locked(connection, list(ends)):
        await connection.execute(APPEND["ensure_partition"], first)
        for row in rows:
            tenant_id: str = row["tenant_id"]
            copied = await _copy_month(connection, archive, tenant_id, month, report)
            if copied != row["events"]:
                raise DoesNotFit(f"the archive holds {copied} events of {month.text}, not {row['events']}")
            await connection.execute(SQL["forget_retired"], tenant_id, first)
            running = await _command(connection, service, tenant_id)
            tenant = await running.get(Tenant, tenant_id)
            tenant.bring_back_usage(month.text, archive.exported.digest, running.now)
            await running.append("audit.bring_back")
    return list(ends)


async def _copy_month(
    connection: OwnerConnection, archive: Archive, tenant_id: str, month: Month, report: Report
) -> int:
    """Copy the rows of a month's batches; how many they were. Their keys never left."""
    copied, (end,) = 0, [head.position for head in archive.heads if head.tenant_id == tenant_id]
    for archived in archive.commits(tenant_id):
        commit = archived.commit
        if commit.kind == "usage" and month.since_batch <= archived.batch < month.until_batch:
            # The files may have changed since they were checked.
            if await copy_usage(connection, tenant_id, archived, keys=False) != commit.root:
                raise DoesNotFit(f"the events from position {commit.first_position} on are not those that were sealed")
            copied += len(archived.rows)
        report(tenant_id, commit.last_position, end)
    return copied


async def _command(connection: OwnerConnection, service: Service, tenant_id: str) -> Transaction:
    head = await lock_head(connection, tenant_id)
    rules = await rules_of(connection, service, tenant_id)
    return Transaction(service, connection, system_caller(tenant_id), head, rules)
