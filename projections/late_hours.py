"""Late hours: what changed after a cycle reaching into it was closed. A close rates those cycles again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from projections.counting import HOUR, HourKey
from projections.database import Database, Row
from projections.statements import load

SQL = load("projections.sql", "late_hour.sql")


class LateHour(NamedTuple):
    """An hour of a meter that changed at ``position`` when a cycle reaching into it was closed already."""

    meter_id: str
    hour: datetime
    position: int
    recorded_at: datetime


async def note_late(database: Database, tenant_id: str, changed: Mapping[HourKey, int]) -> None:
    """Keep those of the hours ``changed`` at these positions that are late: an invoice stands before the position.

    Positions are compared, not whether there is an invoice by now: a rebuild, whose catalogue is ahead of the page, and
    pages that are cut in another way keep the same rows.
    """
    since: dict[str, datetime] = {}
    for _, customer_id, hour in changed:
        since[customer_id] = min(hour, since.get(customer_id, hour))
    if not since:
        return
    cycles: dict[str, list[Row]] = {}
    for row in await database.fetch(SQL["closed_cycles"], tenant_id, list(since), list(since.values())):
        cycles.setdefault(row["customer_id"], []).append(row)
    if not cycles:
        return
    late = [
        (*key, position)
        for key, position in changed.items()
        if any(_reaches(cycle, key[2], position) for cycle in cycles.get(key[1], []))
    ]
    if late:
        columns = [list(column) for column in zip(*late, strict=True)]
        await database.execute(SQL["note"], tenant_id, *columns)


def _reaches(cycle: Row, hour: datetime, position: int) -> bool:
    """Whether a closed cycle holds a part of the hour and was invoiced before the position."""
    return bool(cycle["position"] < position and cycle["cycle_start"] < hour + HOUR and hour < cycle["cycle_end"])


async def late_hours(
    database: Database, tenant_id: str, customer_id: str, after_position: int, up_to: int
) -> list[LateHour]:
    """The late hours of a customer that changed last in ``(after_position, up_to]``, by meter and hour.

    Only an hour's last change is kept, so ``up_to`` is where the quantities are: nothing later has been noted then.
    """
    asked = (customer_id, after_position)
    return (await late_hours_of(database, tenant_id, [asked], up_to))[asked]


async def late_hours_of(
    database: Database, tenant_id: str, asked: Collection[tuple[str, int]], up_to: int
) -> dict[tuple[str, int], list[LateHour]]:
    """As ``late_hours``, for customers each with the position after which it is asked."""
    found: dict[tuple[str, int], list[LateHour]] = {one: [] for one in asked}
    columns = [list(column) for column in zip(*found, strict=True)]
    for row in await database.fetch(SQL["late_hours"], tenant_id, up_to, *columns):
        hour = LateHour(row["meter_id"], row["hour"], row["position"], row["recorded_at"])
        found[row["customer_id"], row["after"]].append(hour)
    return found
