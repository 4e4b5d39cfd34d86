"""The projection of usage into quantities: pages of commits, folded and written in the checkpoint's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from projections.counting import CountedMeter, Fold, by_event_name, counted_meter
from projections.database import Database
from projections.log_reader import END, commits_after
from projections.statements import load

SQL = load("projections.sql", "quantity.sql")

PAGE_COMMITS = 50
"""Commits folded in one transaction: large enough that the upserts of a page pay, small enough for memory."""

PAGE_EVENTS = 50_000
"""Events folded in one transaction. A page ends at the commit that passes this, and a commit holds 10,000 at most."""


class Lagging(msgspec.Struct, frozen=True):
    """A tenant whose log is ahead of its quantities."""

    tenant_id: str
    position: int
    projected: int


async def lagging(database: Database) -> list[Lagging]:
    """The tenants with something to project. A read without locks: claiming one is another step."""
    rows = await database.fetch(SQL["lagging"])
    return [Lagging(row["tenant_id"], row["position"], row["projected"]) for row in rows]


async def projected_position(database: Database, tenant_id: str) -> int:
    """The position that the quantities are at; 0 before the first page."""
    return cast("int | None", await database.fetchval(SQL["position"], tenant_id)) or 0


async def project_page(database: Database, tenant_id: str) -> bool:
    """Claim the tenant, fold one page and move the checkpoint, all in one transaction.

    False when there is nothing to fold, or another projector works on this tenant.
    """
    await database.execute(SQL["begin_progress"], tenant_id)
    async with database.transaction():
        position = cast("int | None", await database.fetchval(SQL["try_progress"], tenant_id))
        if position is None:
            return False
        return await _fold_page(database, tenant_id, position, END) is not None


async def catch_up(database: Database, tenant_id: str, until: int = END, *, pages: int = END) -> int:
    """Bring the quantities to ``until`` inside the caller's transaction; waits for a projector that has the tenant.

    Returns the position reached: ``until``, or where the log ends, or where ``pages`` pages have been folded.
    """
    await database.execute(SQL["begin_progress"], tenant_id)
    position = cast("int", await database.fetchval(SQL["lock_progress"], tenant_id))
    while position < until and pages > 0:
        reached = await _fold_page(database, tenant_id, position, until)
        if reached is None:
            break
        position, pages = reached, pages - 1
    return position


async def _fold_page(database: Database, tenant_id: str, position: int, until: int) -> int | None:
    """Fold the commits after ``position``; the last position folded, or ``None`` when there was none."""
    end = await _page_end(database, tenant_id, position, until)
    if end is None:
        return None
    meters = [counted_meter(row) for row in await database.fetch(SQL["meters"], tenant_id)]
    known = [meter for meter in meters if meter.created_position <= position]
    new = [meter for meter in meters if position < meter.created_position <= end]
    await _count(database, tenant_id, known, position, end)
    # A meter counts what was recorded before it too: it starts with the whole log up to this page.
    await _count_history(database, tenant_id, new, end)
    moved = await database.execute(SQL["advance"], tenant_id, position, end)
    if moved != "UPDATE 1":
        raise RuntimeError(f"the checkpoint of tenant {tenant_id} is not at {position} any more")
    return end


async def _page_end(database: Database, tenant_id: str, position: int, until: int) -> int | None:
    commits = await commits_after(database, tenant_id, position, up_to=until, limit=PAGE_COMMITS)
    for stored in commits:
        if stored.commit.last_position - position >= PAGE_EVENTS:
            return stored.commit.last_position
    return commits[-1].commit.last_position if commits else None


async def _count_history(database: Database, tenant_id: str, meters: Sequence[CountedMeter], end: int) -> None:
    position: int | None = 0
    while meters and position is not None and position < end:
        following = await _page_end(database, tenant_id, position, end)
        if following is not None:
            await _count(database, tenant_id, meters, position, following)
        position = following


async def _count(database: Database, tenant_id: str, meters: Sequence[CountedMeter], position: int, end: int) -> None:
    if not meters:
        return
    names = by_event_name(meters)
    rows = await database.fetch(SQL["usage_of_commits"], tenant_id, position, end, list(names))
    fold = Fold()
    fold.add(names, rows)
    await _write(database, tenant_id, fold)


async def _write(database: Database, tenant_id: str, fold: Fold) -> None:
    if fold.summaries:
        keys, summaries = list(fold.summaries), list(fold.summaries.values())
        last = [summary.last for summary in summaries]
        await database.execute(
            SQL["add"],
            tenant_id,
            [key[0] for key in keys],
            [key[1] for key in keys],
            [key[2] for key in keys],
            [summary.events for summary in summaries],
            [summary.unmeasured for summary in summaries],
            [summary.total for summary in summaries],
            [summary.low for summary in summaries],
            [summary.high for summary in summaries],
            [at.timestamp if at else None for at in last],
            [at.position if at else None for at in last],
            [at.value if at else None for at in last],
        )
    if fold.distinct:
        columns = [list(column) for column in zip(*fold.distinct, strict=True)]
        await database.execute(SQL["add_distinct"], tenant_id, *columns)
    if fold.unmeasured:
        columns = [list(column) for column in zip(*fold.unmeasured, strict=True)]
        await database.execute(SQL["add_unmeasured"], tenant_id, *columns)
