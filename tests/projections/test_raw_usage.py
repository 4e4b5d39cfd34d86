"""Usage counted from the rows of the log, as of any position, is what a plain computation over the events gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from asyncpg import Pool, Record
from hypothesis import Phase, given, settings

from projections import raw_usage
from projections.counting import HourOfUsage
from projections.quantities import counted_meters
from projections.raw_usage import InvoicedCycle, RawUsage, everybody, measure_raw
from projections.usage import Asked, Question
from tests.projections import naive as plain
from tests.projections.histories import (
    CUSTOMERS,
    HOUR_MICROS,
    LOG,
    START,
    WHOLE,
    Close,
    Commit,
    History,
    NewMeter,
    Void,
    edges,
    grown,
    steps,
)
from tests.projections.naive import Answer, known_at, measured


@pytest.fixture(scope="module", autouse=True)
def small_reads() -> Iterator[None]:
    """Two events at once, so that a span is read in several pages, and an hour in its seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_usage, "READ_EVENTS", 2)
        yield


async def check(history: History, offsets: list[int], positions: list[int]) -> None:
    instants = [START + timedelta(microseconds=at) for at in offsets]
    meters = await counted_meters(history.pool, history.tenant_id)
    everyone = await everybody(history.pool, history.tenant_id)
    assert set(everyone) == {event.customer_id for event in history.events}
    for position in positions:
        known = known_at(position, history.events)
        declared = {one: naive for one, naive in history.meters.items() if naive.created_at <= position}
        cycles = [
            InvoicedCycle(cycle.start, cycle.end, cycle.position)
            for cycle in history.cycles
            if cycle.position <= position
        ]
        for meter_id, naive in declared.items():
            for customer_id in (*CUSTOMERS, "nobody", None):
                question = Question(history.tenant_id, meters[meter_id], customer_id, position, everyone)
                got = [
                    Answer(
                        Fraction(span.quantity(question.meter.aggregation)),
                        span.summary.events,
                        span.summary.unmeasured,
                    )
                    for span in await measure_raw(history.pool, question, instants)
                ]
                expected = [measured(naive, known, customer_id, since, until) for since, until in pairwise(instants)]
                assert got == expected, (position, meter_id, customer_id)
        # All at once, and each piece by itself instead of its hours.
        raw = RawUsage(history.pool, history.tenant_id, position)
        asked = [Asked(meters[one], customer_id, instants) for one in declared for customer_id in CUSTOMERS]
        for each, once in zip(await raw.measure(asked), await raw.measure_once(asked), strict=True):
            assert [vars(one) for one in each] == [vars(one) for one in once], position
        for customer_id in CUSTOMERS:
            own = [
                cycle for cycle, naive in zip(cycles, history.cycles, strict=False) if naive.customer_id == customer_id
            ]
            raw = RawUsage(history.pool, history.tenant_id, position)
            late = await raw.late_hours(customer_id, 0, [meters[one] for one in declared], own)
            expected_late = sorted(
                (meter_id, hour, changed, history.times[changed])
                for meter_id, naive in declared.items()
                for (whose, hour), changed in plain.late_hours(naive, history.events, history.cycles, position).items()
                if whose == customer_id
            )
            assert [tuple(one) for one in late] == expected_late, (position, customer_id)


async def ends(history: History) -> list[int]:
    """Where the log ended after each commit: nothing is ever known of a part of one."""
    rows = await history.pool.fetch("select last_position from log.commit where tenant_id = $1", history.tenant_id)
    return sorted(row["last_position"] for row in rows)


@settings(max_examples=3, phases=[Phase.generate])
@given(steps=steps, edges=edges)
async def test_any_log_as_of_any_position(pool: Pool[Record], steps: list[object], edges: list[int]) -> None:
    history = await grown(pool, steps)
    positions = await ends(history)
    await check(history, edges, sorted({*positions[:: max(1, len(positions) // 3)], *positions[-1:]}))


async def test_late_usage_and_retractions_show_from_their_position_on(pool: Pool[Record]) -> None:
    """Of each aggregation, with an hour that two customers share, and a meter that is declared in the middle."""
    history = await grown(
        pool,
        [
            *LOG,
            NewMeter(
                "call",
                "last",
                "v",
                {"conjunction": "and", "clauses": [{"key": "v", "operator": "greater_than", "value": 1}]},
            ),
            Close("ada", 0, 2 * HOUR_MICROS + 5),
            Commit(
                (("call", "ada", HOUR_MICROS + 7, '{"v": 9, "k": "y"}'), ("call", "ada", 3 * HOUR_MICROS, '{"v": 8}'))
            ),
            NewMeter("call", "max", "v", None),
            Void((0, 9)),
            Commit((("call", "ada", 5, '{"v": 0.5}'),)),
        ],
    )
    await check(history, WHOLE, await ends(history))


async def test_a_page_is_small_also_where_an_edge_cuts_an_hour_and_each_is_rested_after(
    pool: Pool[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eleven events of an hour, ten of them inside of the edges, each in its own second; two may be read at once."""
    calls = tuple(("call", "ada", minute * 60_000_000, f'{{"v": {minute}}}') for minute in range(1, 12))
    history = await grown(pool, [NewMeter("call", "sum", "v", None), NewMeter("call", "count", None, None), *LOG[3:4]])
    await history.do(Commit(calls))
    sizes, rests = list[int](), 0
    original = raw_usage._hour_of_usage

    def noted(row: Record, customer_id: str) -> HourOfUsage:
        sizes.append(row["events"])
        return original(row, customer_id)

    async def rest() -> None:
        nonlocal rests
        rests += 1

    monkeypatch.setattr(raw_usage, "_hour_of_usage", noted)
    meters = list((await counted_meters(pool, history.tenant_id)).values())
    start, end = START + timedelta(minutes=2), START + timedelta(minutes=11, microseconds=1)
    raw = RawUsage(pool, history.tenant_id, (await ends(history))[-1], rest=rest)
    asked = [Asked(meter, "ada", (start, end)) for meter in meters]
    for way in (raw.measure, raw.measure_once):
        sizes.clear()
        (total,), (events,) = await way(asked)
        assert (total.summary.total, events.summary.events) == (sum(range(2, 12)), 10)
        assert sizes == [2] * 5
    assert rests == 10
