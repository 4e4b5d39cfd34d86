"""What meters counted, window by window, for lists and charts: all customers together, within bounds of time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec

from app.dashboard.meter_words import aggregation_of
from app.service import Service
from domain import number
from domain.aggregation import EMPTY, Kind, Summary, combine, quantity
from domain.errors import Invalid, NotFound
from projections.database import Database, Row
from projections.quantities import counted_meters, projected_position
from projections.statements import load
from projections.usage import Measured, Question, measure_groups, stored_summary

SQL = load("app.sql", "dashboard_meters.sql")

READING_SECONDS_MAX = 5
"""How long one statement of a page may read: a person waits for it, and a page may ask again every few seconds."""

GROUPED_EVENTS_MAX = 50_000
"""Events read to tell groups apart: about a second. The read model knows no groups, so they are read one by one."""

GROUPS_MAX = 8
"""Groups shown by name: as many colours as an eye tells apart. The others are one group together."""

WINDOWS = {"hour": 48, "day": 30, "month": 12}
"""How many windows of each length a chart shows."""


class TooMuch(Exception):
    """There is too much to count while a person waits."""


class Span(msgspec.Struct, frozen=True):
    """Neighbouring windows in UTC: where each begins, and where the last one ends."""

    window: str
    starts: tuple[datetime, ...]
    end: datetime

    @property
    def edges(self) -> list[datetime]:
        """The instants that cut the span."""
        return [*self.starts, self.end]


class Counted(msgspec.Struct, frozen=True):
    """What a meter counted, in plain decimal text: in each window and in the whole span, and of how many events."""

    quantities: tuple[str, ...]
    whole: str
    events: int
    unmeasured: int


class Group(msgspec.Struct, frozen=True):
    """One value of a metadata key. ``name`` is ``None`` for events without the key."""

    name: str | None
    quantities: tuple[str, ...]
    whole: str


class Groups(msgspec.Struct, frozen=True):
    """The groups with the most events, and all others together, if there are any."""

    named: tuple[Group, ...]
    others: Group | None
    others_count: int


def span_of(now: datetime, window: str, count: int | None = None) -> Span:
    """The last ``count`` windows, the running one among them. Raises ``Invalid`` for a window that there is not."""
    if window not in WINDOWS:
        raise Invalid("window", f"must be one of {', '.join(WINDOWS)}")
    count = count or WINDOWS[window]
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if window == "month":
        months = [_month(hour, back) for back in range(count - 1, -2, -1)]
        return Span(window, tuple(months[:-1]), months[-1])
    step = timedelta(hours=1) if window == "hour" else timedelta(days=1)
    last = hour if window == "hour" else hour.replace(hour=0)
    return Span(window, tuple(last - step * back for back in range(count - 1, -1, -1)), last + step)


def _month(at: datetime, back: int) -> datetime:
    """The first instant of the month so many months back."""
    year, month = divmod(at.year * 12 + at.month - 1 - back, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


@asynccontextmanager
async def bounded(service: Service) -> AsyncIterator[Database]:
    """A connection whose statements are given up after a while. Raises ``TooMuch`` when one was."""
    try:
        async with (
            service.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(SQL["bound_reading"], f"{READING_SECONDS_MAX}s")
            yield connection
    except asyncpg.QueryCanceledError:
        raise TooMuch from None


async def count_windows(database: Database, tenant_id: str, meters: Sequence[Row], span: Span) -> dict[str, Counted]:
    """What each of the meters (rows of the read model) counted, by its id."""
    ids = [row["meter_id"] for row in meters]
    where = (tenant_id, ids, span.window, span.starts[0], span.end)
    summaries: dict[tuple[str, datetime], Summary] = {}
    for row in await database.fetch(SQL["meter_windows"], *where):
        summaries[row["meter_id"], row["since"]] = stored_summary(row)
    distinct: dict[tuple[str, datetime | None], int] = {}
    if any(aggregation_of(row).type is Kind.unique for row in meters):
        for row in await database.fetch(SQL["distinct_windows"], *where):
            distinct[row["meter_id"], row["since"]] = row["values"]
    return {row["meter_id"]: _counted(row, span, summaries, distinct) for row in meters}


def _counted(
    row: Row,
    span: Span,
    summaries: Mapping[tuple[str, datetime], Summary],
    distinct: Mapping[tuple[str, datetime | None], int],
) -> Counted:
    aggregation, meter_id, whole = aggregation_of(row), row["meter_id"], EMPTY
    quantities: list[str] = []
    for since in span.starts:
        summary = summaries.get((meter_id, since), EMPTY)
        quantities.append(number.plain(quantity(aggregation, summary, distinct.get((meter_id, since), 0))))
        whole = combine(whole, summary)
    return Counted(
        quantities=tuple(quantities),
        whole=number.plain(quantity(aggregation, whole, distinct.get((meter_id, None), 0))),
        events=whole.events,
        unmeasured=whole.unmeasured,
    )


async def count_groups(database: Database, tenant_id: str, meter_id: str, span: Span, key: str) -> Groups:
    """What a meter counted, told apart by a metadata key. Raises ``NotFound``."""
    meter = (await counted_meters(database, tenant_id)).get(meter_id)
    if meter is None:
        raise NotFound("meter", meter_id)
    question = Question(tenant_id, meter, None, await projected_position(database, tenant_id))
    measured = await measure_groups(database, question, span.edges, key)
    by_name: dict[str | None, dict[int, Measured]] = {}
    for (index, name), counted in measured.items():
        by_name.setdefault(name, {})[index] = counted
    ranked = sorted(by_name, key=lambda name: (-_events(by_name[name]), name or ""))

    def group(name: str | None, windows: Mapping[int, Measured]) -> Group:
        whole = _joined(windows.values())
        counted = [windows.get(index, Measured()).quantity(meter.aggregation) for index in range(len(span.starts))]
        return Group(name, tuple(map(number.plain, counted)), number.plain(whole.quantity(meter.aggregation)))

    rest = ranked[GROUPS_MAX:]
    others = {
        index: _joined(by_name[name][index] for name in rest if index in by_name[name])
        for index in range(len(span.starts))
    }
    named = tuple(group(name, by_name[name]) for name in ranked[:GROUPS_MAX])
    return Groups(named, group(None, others) if rest else None, len(rest))


def _joined(parts: Iterable[Measured]) -> Measured:
    whole = Measured()
    for part in parts:
        whole.join(part)
    return whole


def _events(windows: Mapping[int, Measured]) -> int:
    return sum(counted.summary.events + counted.summary.unmeasured for counted in windows.values())
