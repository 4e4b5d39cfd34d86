"""The projection of usage into quantities: pages of commits, folded and written in the checkpoint's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import msgspec

from domain.chain import Commit
from domain.instant import EPOCH
from projections.counting import (
    HOUR,
    CountedMeter,
    Fold,
    HourKey,
    HourOfUsage,
    NamedMeters,
    by_event_name,
    counted_meter,
    hour_key,
)
from projections.database import Database, Row
from projections.fault_points import FaultPoint, reach
from projections.late_hours import note_late
from projections.log_reader import END, commits_after
from projections.statements import load

SQL = load("projections.sql", "quantity.sql")

PAGE_COMMITS = 50
"""Commits folded in one transaction: large enough that the upserts of a page pay, small enough for memory."""

PAGE_EVENTS = 50_000
"""Events folded in one transaction. A page ends at the commit that passes this, and a commit holds 10,000 at most."""

PAGE_BYTES = 64 * 1_024 * 1_024
"""Metadata folded in one transaction. It lies in memory here and in the database, where an array ends at a gigabyte. A
page ends at the commit that passes this; a commit holds no more than the bodies that a web process takes at once."""

RETRACTION_WEIGHT = 50
"""Events that one retraction costs as much time as: its hour is read again. So a page holds about 1,000 of them."""

PROJECTED = "taximeter_projected"
"""The channel on which a page says, as it commits, that a tenant's quantities moved on: the payload is its id."""

RECOUNT_EVENTS = 50_000
"""Events of an hour that are read at once when it is counted again."""


class Lagging(msgspec.Struct, frozen=True):
    """A tenant whose log is ahead of its quantities."""

    tenant_id: str
    position: int
    projected: int


async def lagging(database: Database) -> list[Lagging]:
    """The tenants with something to project. A read without locks: claiming one is another step."""
    rows = await database.fetch(SQL["lagging"])
    return [Lagging(row["tenant_id"], row["position"], row["projected"]) for row in rows]


async def ring(database: Database, channel: str, tenant_ids: Collection[str]) -> None:
    """Say on a channel that something of these tenants moved on, once the transaction commits."""
    await database.execute(SQL["ring"], channel, list(tenant_ids))


async def projected_position(database: Database, tenant_id: str) -> int:
    """The position that the quantities are at; 0 before the first page."""
    return cast("int | None", await database.fetchval(SQL["position"], tenant_id)) or 0


async def counted_meters(database: Database, tenant_id: str) -> dict[str, CountedMeter]:
    """Every meter of the tenant by its id."""
    rows: list[Row] = await database.fetch(SQL["meters"], tenant_id)
    return {row["meter_id"]: counted_meter(row) for row in rows}


async def project_page(database: Database, tenant_id: str) -> bool:
    """Claim the tenant, fold one page and move the checkpoint, all in one transaction.

    False when there is nothing to fold, or another projector works on this tenant.
    """
    await database.execute(SQL["begin_progress"], tenant_id)
    async with database.transaction():
        position = cast("int | None", await database.fetchval(SQL["try_progress"], tenant_id))
        if position is None:
            return False
        await reach(FaultPoint.page_claimed)
        moved = await _fold_page(database, tenant_id, position, END) is not None
        if moved:
            await ring(database, PROJECTED, [tenant_id])
    await reach(FaultPoint.page_committed)
    return moved


async def catch_up(
    database: Database, tenant_id: str, until: int = END, *, pages: int = END, silent: bool = False
) -> int:
    """Bring the quantities to ``until`` inside the caller's transaction; waits for a projector that has the tenant.

    Returns the position reached: ``until``, or where the log ends, or where ``pages`` pages have been folded.
    ``silent`` is for read models that nobody reads yet: nobody is told that they moved on.
    """
    await database.execute(SQL["begin_progress"], tenant_id)
    position = cast("int", await database.fetchval(SQL["lock_progress"], tenant_id))
    while position < until and pages > 0:
        reached = await _fold_page(database, tenant_id, position, until)
        if reached is None:
            break
        if not silent:
            await ring(database, PROJECTED, [tenant_id])
        position, pages = reached, pages - 1
    return position


async def _fold_page(database: Database, tenant_id: str, position: int, until: int) -> int | None:
    """Fold the commits after ``position``; the last position folded, or ``None`` when there was none."""
    end = await _page_end(database, tenant_id, position, until)
    if end is None:
        return None
    meters = list((await counted_meters(database, tenant_id)).values())
    page = _Page(database, tenant_id, position, end)
    await page.count([meter for meter in meters if meter.created_position <= position], position, end)
    # A meter counts what was recorded before it too: it starts with the whole log up to this page.
    await page.count_history([meter for meter in meters if position < meter.created_position <= end])
    await page.retract([meter for meter in meters if meter.created_position <= end])
    await note_late(database, tenant_id, page.changed)
    await reach(FaultPoint.page_folded)
    moved = await database.execute(SQL["advance"], tenant_id, position, end)
    if moved != "UPDATE 1":
        raise RuntimeError(f"the checkpoint of tenant {tenant_id} is not at {position} any more")
    await reach(FaultPoint.page_advanced)
    return end


async def _page_end(database: Database, tenant_id: str, position: int, until: int) -> int | None:
    commits = await commits_after(database, tenant_id, position, up_to=until, limit=PAGE_COMMITS)
    if not commits:
        return None
    rows = await database.fetch(SQL["metadata_bytes"], tenant_id, position, commits[-1].commit.last_position)
    held = {row["last_position"]: row["bytes"] for row in rows}
    weight = size = 0
    for stored in commits:
        weight += _weight(stored.commit)
        size += held.get(stored.commit.last_position, 0)
        if weight >= PAGE_EVENTS or size >= PAGE_BYTES:
            return stored.commit.last_position
    return commits[-1].commit.last_position


def _weight(commit: Commit) -> int:
    events = commit.last_position - commit.first_position + 1
    return events * RETRACTION_WEIGHT if commit.kind == "retraction" else events


class _Page:
    """The positions ``(position, end]`` at work. Whatever is counted is counted as it stands at ``end``.

    ``changed`` collects the hours that events or retractions changed, with the last such position. What a meter counts
    from before it was declared changes nothing: no price could name the meter then.
    """

    def __init__(self, database: Database, tenant_id: str, position: int, end: int) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._position = position
        self._end = end
        self.changed: dict[HourKey, int] = {}

    async def count(self, meters: Sequence[CountedMeter], after: int, up_to: int) -> None:
        """Fold the events of ``(after, up_to]``, but for those that are retracted by the page's end."""
        if not meters:
            return
        names = by_event_name(meters)
        retracted = await self._database.fetchval(SQL["has_retractions"], self._tenant_id, self._end)
        rows = await self._database.fetch(
            SQL["usage_of_commits"],
            self._tenant_id,
            after,
            up_to,
            list(names),
            [name for name, named in names.items() if named.by_place],
            [name for name, named in names.items() if named.by_time],
            self._end if retracted else None,
        )
        fold = Fold()
        fold.add(names, map(HourOfUsage._make, cast("list[Iterable[Any]]", rows)))
        await _write(self._database, self._tenant_id, fold)
        created = {meter.meter_id: meter.created_position for meter in meters}
        for key, changed in fold.changed.items():
            if changed > created[key[0]]:
                self._note(key, changed)

    async def count_history(self, meters: Sequence[CountedMeter]) -> None:
        """Fold the whole log up to the page's end."""
        position: int | None = 0
        while meters and position is not None and position < self._end:
            following = await _page_end(self._database, self._tenant_id, position, self._end)
            if following is not None:
                await self.count(meters, position, following)
            position = following

    async def retract(self, meters: Sequence[CountedMeter]) -> None:
        """Take out what was counted before this page and is retracted in it. Its hours are counted again."""
        rows = await self._database.fetch(SQL["retracted_events"], self._tenant_id, self._position, self._end)
        names, touched, places = by_event_name(meters), set[HourKey](), list[tuple[str, int]]()
        for row in rows:
            for meter in self._counting(names.get(row["event_name"]), row):
                key = hour_key(meter, row)
                self._note(key, row["retracted_position"])
                if row["position"] <= self._position:
                    touched.add(key)
                    places.append((meter.meter_id, row["position"]))
        if touched:
            await self._recount(names, touched)
            await self._database.execute(SQL["drop_unmeasured"], self._tenant_id, *_columns(places))

    def _counting(self, named: NamedMeters | None, row: Row) -> list[CountedMeter]:
        """The meters that counted the event until it was retracted."""
        if named is None:
            return []
        metadata = named.read(row["metadata"])
        return [
            meter
            for meter in named.meters
            if meter.created_position < row["retracted_position"] and meter.counts(row["position"], metadata)
        ]

    async def _recount(self, names: Mapping[str, NamedMeters], touched: set[HourKey]) -> None:
        fold = Fold(only=touched)
        for customer_id, hour in sorted({(customer_id, hour) for _, customer_id, hour in touched}):
            since, after = hour, 0
            while True:
                rows = await self._database.fetch(
                    SQL["standing_usage"],
                    self._tenant_id,
                    customer_id,
                    since,
                    hour + HOUR,
                    list(names),
                    self._end,
                    after,
                    RECOUNT_EVENTS,
                )
                fold.add(names, hours_by_name(rows, customer_id, hour))
                if len(rows) < RECOUNT_EVENTS:
                    break
                since, after = rows[-1]["timestamp"], rows[-1]["position"]
        keys = _columns(touched)
        await self._database.execute(SQL["drop_hours"], self._tenant_id, *keys)
        await self._database.execute(SQL["drop_distinct"], self._tenant_id, *keys)
        await _write(self._database, self._tenant_id, fold)

    def _note(self, key: HourKey, position: int) -> None:
        self.changed[key] = max(position, self.changed.get(key, 0))


def hours_by_name(rows: Sequence[Row], customer_id: str, hour: datetime) -> list[HourOfUsage]:
    """Events of one customer and hour, given one by one, as the hours of their names."""
    names: dict[str, list[Row]] = {}
    for row in rows:
        names.setdefault(row["event_name"], []).append(row)
    return [
        HourOfUsage(
            name,
            customer_id,
            hour,
            len(named),
            max(row["position"] for row in named),
            [row["position"] for row in named],
            [row["metadata"] for row in named],
            [row["timestamp"] for row in named],
        )
        for name, named in names.items()
    ]


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _array(values: Iterable[int | Decimal | None]) -> str:
    """Numbers as the text of an array, which the server reads in a fraction of what the driver needs to pack one."""
    return f"{{{','.join('null' if value is None else str(value) for value in values)}}}"


async def _write(database: Database, tenant_id: str, fold: Fold) -> None:
    if fold.summaries:
        keys, summaries = list(fold.summaries), list(fold.summaries.values())
        # Shorter arrays are filled up with nulls, and hardly any meter asks for the last value.
        last = [summary.last for summary in summaries] if any(summary.last for summary in summaries) else []
        hours = {hour: (hour - EPOCH) // HOUR for _, _, hour in keys}
        await database.execute(
            SQL["add"],
            tenant_id,
            [key[0] for key in keys],
            [key[1] for key in keys],
            _array(hours[key[2]] for key in keys),
            _array(summary.events for summary in summaries),
            _array(summary.unmeasured for summary in summaries),
            _array(summary.total for summary in summaries),
            _array(summary.low for summary in summaries),
            _array(summary.high for summary in summaries),
            [at.timestamp if at else None for at in last],
            _array(at.position if at else None for at in last),
            _array(at.value if at else None for at in last),
        )
    if fold.distinct:
        await database.execute(SQL["add_distinct"], tenant_id, *_columns(fold.distinct))
    if fold.unmeasured:
        await database.execute(SQL["add_unmeasured"], tenant_id, *_columns(fold.unmeasured))
