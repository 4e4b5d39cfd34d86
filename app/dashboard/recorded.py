"""How many usage events were recorded when: counted from positions, without reading the events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from projections.database import Database
from projections.statements import load

SQL = load("app.sql", "dashboard_now.sql")


class Span(msgspec.Struct, frozen=True):
    """Usage events recorded after ``start`` up to ``end``."""

    start: datetime
    end: datetime
    events: int


async def recorded(database: Database, tenant_id: str, instants: Sequence[datetime]) -> list[Span]:
    """The usage events recorded between each instant and the next; the instants have to rise."""
    rows = await database.fetch(SQL["recorded_by"], tenant_id, list(instants))
    if not rows:
        return [Span(start, end, 0) for start, end in pairwise(instants)]
    positions = [int(row["position"]) for row in rows]
    others = await database.fetch(SQL["not_usage"], tenant_id, positions[:-1], positions[1:])
    return [
        Span(start, end, high - low - int(other["positions"]))
        for (start, end), (low, high), other in zip(pairwise(instants), pairwise(positions), others, strict=True)
    ]


def steps(end: datetime, step: timedelta, count: int) -> list[datetime]:
    """``count`` + 1 rising instants a step apart, on whole steps, but for the last: that is ``end``."""
    seconds = int(step.total_seconds())
    whole = int(end.timestamp()) // seconds
    # An end on a whole step is none of the steps before it.
    whole -= datetime.fromtimestamp(whole * seconds, end.tzinfo) == end
    first = datetime.fromtimestamp((whole - count + 1) * seconds, end.tzinfo)
    return [*(first + step * number for number in range(count)), end]
