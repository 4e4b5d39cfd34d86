"""Usage as it was known when a cycle was closed, though events came and went since: what a plain computation gives."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from asyncpg import Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.aggregation import Kind
from domain.event import read_metadata
from projections import known_usage
from projections.counting import distinct_digest
from projections.known_usage import KnownUsage, deciding_position, measure_known, values_before
from projections.quantities import counted_meters
from projections.raw_usage import SQL as RAW
from projections.raw_usage import RawUsage
from tests.projections.histories import HOUR_MICROS, HOURS, Close, Commit, History, NewMeter, Void, grown, steps
from tests.projections.naive import Answer, NaiveCycle, NaiveEvent, NaiveMeter, as_number_if_one, known_at, measured

pytestmark = pytest.mark.usefixtures("small_pages")

SOME = Commit(tuple(("call", "ada", hour * HOUR_MICROS + 7, f'{{"v": {hour}, "k": "x"}}') for hour in range(HOURS)))
ALL_KINDS = [NewMeter("call", kind, "v", None) for kind in ("sum", "max", "min", "last", "avg", "unique")]


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that even a small hour is read in pages."""
    monkeypatch.setattr(known_usage, "EVENTS_AT_ONCE", 2)


@settings(max_examples=6)
@given(
    before=steps,
    after=steps,
    cycle=st.sampled_from([Close("ada", 0, HOURS * HOUR_MICROS), Close("ada", 7, 2 * HOUR_MICROS + HOUR_MICROS // 2)]),
)
async def test_it_is_what_was_known_then(
    pool: Pool[Record], before: list[object], after: list[object], cycle: Close
) -> None:
    history = await grown(pool, [*ALL_KINDS, SOME, *before, cycle, SOME, Void((0, 1)), *after])
    await history.project()
    meters = await counted_meters(pool, history.tenant_id)
    for closed in history.cycles:
        for meter_id, naive in history.meters.items():
            if naive.created_at < closed.position and closed.start < closed.end:
                meter = meters[meter_id]
                asked = KnownUsage(
                    history.tenant_id, meter, closed.customer_id, closed.start, closed.end, closed.position
                )
                await check(history, naive, closed, asked)


async def check(history: History, naive: NaiveMeter, closed: NaiveCycle, asked: KnownUsage) -> None:
    """The quantity, and for the aggregations that one event decides, that it does."""
    known = known_at(closed.position, history.events)
    expected = measured(naive, known, closed.customer_id, closed.start, closed.end)
    raw = RawUsage(history.pool, asked.tenant_id, asked.position)
    (found,) = await measure_known(history.pool, [asked], raw)
    assert expected == Answer(
        Fraction(found.quantity(asked.meter.aggregation)), found.summary.events, found.summary.unmeasured
    )
    deciding = await deciding_position(history.pool, asked, found, raw)
    if expected.events and asked.meter.aggregation.type in (Kind.max, Kind.min, Kind.last):
        (event,) = [event for event in known if event.position == deciding]
        alone = measured(naive, [event], closed.customer_id, closed.start, closed.end)
        assert (alone.events, alone.quantity) == (1, expected.quantity)
    else:
        assert deciding is None
    if asked.meter.aggregation.type is Kind.unique:
        await check_values(history, asked, naive, known)


async def check_values(history: History, asked: KnownUsage, naive: NaiveMeter, known: list[NaiveEvent]) -> None:
    """What stands up to each event, with it, in the order of time; asked for is whatever the tenant ever recorded."""
    key = str(naive.key)
    of_all = [event for event in history.events if key in event.values()]
    digests = {distinct_digest(read_metadata(event.metadata)[key]) for event in of_all}
    seen = set[tuple[type, object]]()
    held = set[bytes]()
    assert await values_before(history.pool, asked, (asked.start, 0), digests) == held
    for event in sorted(known, key=lambda event: (event.timestamp, event.position)):
        if event.customer_id != asked.customer_id or not asked.start <= event.timestamp < asked.end:
            continue
        if naive.counts(event) and key in event.values():
            # In Python True equals 1; the type keeps them apart.
            value = as_number_if_one(event.values()[key])
            if (type(value), value) not in seen:
                held.add(distinct_digest(read_metadata(event.metadata)[key]))
            seen.add((type(value), value))
        found = await values_before(history.pool, asked, (event.timestamp, event.position), digests)
        assert found == held
    assert len(held) == len(seen)


async def decided_at(pool: Pool[Record], asked: KnownUsage) -> int | None:
    raw = RawUsage(pool, asked.tenant_id, asked.position)
    (measured,) = await measure_known(pool, [asked], raw)
    return await deciding_position(pool, asked, measured, raw)


async def test_of_equal_values_the_earliest_decides(pool: Pool[Record]) -> None:
    same = Commit(tuple(("call", "ada", at, '{"v": 9}') for at in (HOUR_MICROS, 5, 9)))
    cycle = Close("ada", 0, 2 * HOUR_MICROS)
    history = await grown(pool, [NewMeter("call", "max", "v", None), same, cycle, same, Void((1,))])
    await history.project()
    (meter,) = (await counted_meters(pool, history.tenant_id)).values()
    (closed,) = history.cycles
    asked = KnownUsage(history.tenant_id, meter, "ada", closed.start, closed.end, closed.position)
    assert await decided_at(pool, asked) == history.events[1].position


async def test_late_hours_are_read_once_for_all_meters(pool: Pool[Record]) -> None:
    """And no other hours with them: what an explanation costs is what is late."""
    cycle = Close("ada", 0, HOURS * HOUR_MICROS)
    late = Commit((("call", "ada", HOUR_MICROS + 9, '{"v": 5}'), ("call", "ada", 3 * HOUR_MICROS, '{"v": 6}')))
    history = await grown(pool, [*ALL_KINDS, SOME, cycle, late])
    await history.project()
    meters = (await counted_meters(pool, history.tenant_id)).values()
    (closed,) = history.cycles
    asked = [KnownUsage(history.tenant_id, one, "ada", closed.start, closed.end, closed.position) for one in meters]
    reader = Reader(pool)
    raw = RawUsage(reader, history.tenant_id, closed.position)  # type: ignore[arg-type]
    found = await measure_known(pool, asked, raw)
    assert [one.summary.events for one in found] == [HOURS] * len(ALL_KINDS)
    hours = [closed.start + timedelta(hours=hour) for hour in (1, 3)]
    assert reader.spans == [(hour, hour + timedelta(hours=1)) for hour in hours]


class Reader:
    """A database that notes of which spans it was asked for the events."""

    def __init__(self, pool: Pool[Record]) -> None:
        self.fetchval, self._pool = pool.fetchval, pool
        self.spans: list[tuple[object, object]] = []

    async def fetch(self, statement: str, *values: Any) -> list[Record]:
        if statement == RAW["usage_of_customers"]:
            self.spans.append((values[2], values[3]))
        return await self._pool.fetch(statement, *values)


async def test_a_greater_value_in_an_hour_that_the_cycle_cuts_but_outside_of_it_hides_none(pool: Pool[Record]) -> None:
    """Of a cycle that begins and ends inside of an hour, whose summary knows what is before and after it."""
    calls = (("call", "ada", 3, '{"v": 9}'), ("call", "ada", 8, '{"v": 7}'), ("call", "ada", HOUR_MICROS, '{"v": 7}'))
    ends = (("call", "ada", 2 * HOUR_MICROS + 5, '{"v": 8}'), ("call", "ada", 2 * HOUR_MICROS + 7, '{"v": 9}'))
    meter, first, second = NewMeter("call", "max", "v", None), Close("ada", 7, 9), Close("ada", 7, 2 * HOUR_MICROS + 6)
    history = await grown(pool, [meter, Commit(calls), first, Commit(ends), second])
    await history.project()
    (counted,) = (await counted_meters(pool, history.tenant_id)).values()
    found: list[int | None] = []
    for cycle in history.cycles:
        asked = KnownUsage(history.tenant_id, counted, "ada", cycle.start, cycle.end, cycle.position)
        found.append(await decided_at(pool, asked))
    assert found == [history.events[1].position, history.events[3].position]


async def test_a_value_that_stood_only_in_an_event_retracted_since_was_there(pool: Pool[Record]) -> None:
    """The read model knows nothing of it any more, and of a value that came late it knows too much."""
    first = Commit((("call", "ada", 5, '{"v": "gone"}'), ("call", "ada", HOUR_MICROS, '{"v": "stays"}')))
    late = Commit((("call", "ada", 7, '{"v": "late"}'), ("call", "bob", 7, '{"v": "other"}')))
    cycle = Close("ada", 0, 3 * HOUR_MICROS)
    history = await grown(pool, [NewMeter("call", "unique", "v", None), first, cycle, late, Void((0,))])
    await history.project()
    (meter,) = (await counted_meters(pool, history.tenant_id)).values()
    (closed,) = history.cycles
    asked = KnownUsage(history.tenant_id, meter, "ada", closed.start, closed.end, closed.position)
    digests = {value: distinct_digest(value) for value in ("gone", "stays", "late", "other", "never")}
    place = (closed.start + timedelta(hours=2), 1)
    found = await values_before(pool, asked, place, digests.values())
    assert {value for value, digest in digests.items() if digest in found} == {"gone", "stays"}
