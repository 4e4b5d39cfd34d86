"""Many questions at once are answered as each of them alone, and spans are cut at hours without gap or overlap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from asyncpg import Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.aggregates import Aggregates
from projections.quantities import counted_meters, projected_position
from projections.usage import Asked, Measured, measure_all, split_at_hours
from tests.projections.histories import CUSTOMERS, START, edges, grown, steps

pytestmark = pytest.mark.usefixtures("small_pages")

HOUR = timedelta(hours=1)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def counted(answer: list[Measured]) -> list[tuple[object, ...]]:
    return [(one.summary, one.distinct) for one in answer]


@settings(max_examples=40)
@given(steps=steps, edges=edges)
async def test_many_questions_at_once_are_answered_as_each_alone(
    pool: Pool[Record], steps: list[object], edges: list[int]
) -> None:
    history = await grown(pool, steps)
    await history.project()
    position = await projected_position(pool, history.tenant_id)
    instants = [START + timedelta(microseconds=at) for at in edges]
    asked = [
        Asked(meter, customer_id, span)
        for meter in (await counted_meters(pool, history.tenant_id)).values()
        for customer_id in (*CUSTOMERS, "nobody")
        for span in (instants, instants[:2], instants[-2:])
    ]
    alone = [(await measure_all(pool, history.tenant_id, position, [one]))[0] for one in asked]
    together = await measure_all(pool, history.tenant_id, position, asked)
    assert [counted(answer) for answer in together] == [counted(answer) for answer in alone]
    # What was told beforehand is what would have been read.
    aggregates = Aggregates(pool, history.tenant_id, START, position)
    await aggregates.measure_ahead(asked)
    for one, answer in zip(asked, alone, strict=True):
        assert counted(await aggregates.measured(*one)) == counted(answer)


@given(since=st.integers(0, 4 * 3_600_000_000), length=st.integers(1, 4 * 3_600_000_000))
def test_a_span_is_cut_at_hours_without_gap_or_overlap(since: int, length: int) -> None:
    begin = START + timedelta(microseconds=since)
    end = begin + timedelta(microseconds=length)
    whole, cut = split_at_hours(begin, end)
    pieces = sorted(whole + cut)
    assert (pieces[0][0], pieces[-1][1]) == (begin, end)
    assert all(one[1] == other[0] for one, other in pairwise(pieces))
    assert len(whole) <= 1
    assert all(edge == edge.replace(minute=0, second=0, microsecond=0) for span in whole for edge in span)
    assert all(until - since < HOUR for since, until in cut)


def test_the_calendars_last_hour_is_read_by_events() -> None:
    assert split_at_hours(LAST - timedelta(minutes=5), LAST) == ([], [(LAST - timedelta(minutes=5), LAST)])
    assert split_at_hours(LAST, LAST) == ([], [])
