"""The quantities equal a plain computation over the events, however the log grew and whoever projected it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import asyncpg
import pytest
from asyncpg import Connection, Pool, Record
from hypothesis import given, settings

from projections import quantities
from projections.log_reader import END, head
from projections.quantities import catch_up, counted_meters, project_page, projected_position
from projections.shape import LIVE
from projections.usage import Question, measure_groups
from tests.projections.histories import (
    HOUR_MICROS,
    LOG,
    START,
    WHOLE,
    Commit,
    History,
    NewMeter,
    Project,
    Void,
    edges,
    grown,
    steps,
)
from tests.projections.naive import NaiveEvent, NaiveMeter, known_at, measured

pytestmark = pytest.mark.usefixtures("small_pages")


FEW = settings(max_examples=150)


@FEW
@given(steps=steps, edges=edges)
async def test_quantities_equal_the_plain_computation(
    pool: Pool[Record], steps: list[object], edges: list[int]
) -> None:
    history = await grown(pool, steps)
    await history.project()
    assert await projected_position(pool, history.tenant_id) == (await head(pool, history.tenant_id)).position
    await history.check(edges)
    await history.check_unmeasured()
    await history.check_late_hours()


@settings(max_examples=40)
@given(steps=steps, edges=edges)
async def test_quantities_are_right_at_every_page(pool: Pool[Record], steps: list[object], edges: list[int]) -> None:
    """As known at the projected position: what is recorded or retracted after it does not show."""
    history = await grown(pool, steps)
    while (before := await projected_position(pool, history.tenant_id)) < (
        await head(pool, history.tenant_id)
    ).position:
        await history.do(Project())
        assert await projected_position(pool, history.tenant_id) > before
        await history.check(edges)
        await history.check_unmeasured()
        await history.check_late_hours()


@settings(max_examples=15)
@given(steps=steps, edges=edges)
async def test_groups_equal_the_plain_computation(pool: Pool[Record], steps: list[object], edges: list[int]) -> None:
    history = await grown(pool, steps)
    await history.project()
    instants = [START + timedelta(microseconds=at) for at in edges]
    position = await projected_position(pool, history.tenant_id)
    for meter_id, meter in (await counted_meters(pool, history.tenant_id)).items():
        groups = await measure_groups(pool, Question(history.tenant_id, meter, None, position), instants, "k")
        for index, (since, until) in enumerate(pairwise(instants)):
            got = {
                group: Fraction(span.quantity(meter.aggregation)) for (at, group), span in groups.items() if at == index
            }
            assert got == expected_groups(history, history.meters[meter_id], since, until)


def expected_groups(
    history: History, meter: NaiveMeter, since: datetime, until: datetime
) -> dict[str | None, Fraction]:
    parts: dict[str | None, list[NaiveEvent]] = {}
    for event in known_at(END, history.events):
        if since <= event.timestamp < until and meter.counts(event):
            parts.setdefault(group_of(event), []).append(event)
    return {group: measured(meter, part, None, since, until).quantity for group, part in parts.items()}


def group_of(event: NaiveEvent) -> str | None:
    """The metadata's ``k`` as text; the number 1 is the only one there is."""
    value = event.values().get("k")
    if value is None or isinstance(value, str):
        return value
    return "true" if value is True else "1"


@pytest.mark.parametrize("paged", [False, True], ids=["one page", "a page each"])
async def test_of_equal_timestamps_the_later_recorded_is_the_last(pool: Pool[Record], paged: bool) -> None:
    history = await grown(pool, [NewMeter("call", "last", "v", None)])
    later, same = 2_000_000, 1_000_000
    for offset, value in ((same, 1), (same, 2), (later, 3), (later, 4), (same, 5)):
        await history.record(Commit((("call", "ada", offset, f'{{"v": {value}}}'),)))
        if paged:
            await history.project()
    await history.project()
    await history.check(WHOLE)
    await history.check([0, later, later + 1])
    rows = await pool.fetch("select last_value from quantity where tenant_id = $1", history.tenant_id)
    assert [row["last_value"] for row in rows] == [4]


async def test_a_page_that_fails_before_its_commit_is_counted_once(pool: Pool[Record]) -> None:
    history = await grown(pool, LOG)

    async def fold_and_fail() -> None:
        async with pool.acquire() as connection, connection.transaction():
            assert await catch_up(connection, history.tenant_id, pages=2) > 0
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await fold_and_fail()
        assert await projected_position(pool, history.tenant_id) == 0
    await history.project()
    await history.check(WHOLE)


async def test_a_projector_that_dies_in_a_page_is_taken_over(
    pool: Pool[Record], owner: Connection[Record], own_dsn: str
) -> None:
    history = await grown(pool, LOG)
    await history.do(Project())
    reached = await projected_position(pool, history.tenant_id)
    victim = await asyncpg.connect(own_dsn, server_settings={"search_path": LIVE, "role": "taximeter_app"})
    running = victim.transaction()
    await running.start()
    assert await catch_up(victim, history.tenant_id, pages=1) > reached
    async with pool.acquire() as other:
        assert not await project_page(other, history.tenant_id), "the dying projector still has the tenant"
    assert await owner.fetchval("select pg_terminate_backend($1, 5000)", victim.get_server_pid())
    await victim.close(timeout=1)
    assert await projected_position(pool, history.tenant_id) == reached
    await history.project()
    await history.check(WHOLE)


async def test_two_projectors_on_one_tenant_count_once(pool: Pool[Record]) -> None:
    history = await grown(pool, LOG)
    until = (await head(pool, history.tenant_id)).position

    async def project() -> int:
        pages = 0
        async with pool.acquire() as connection:
            while await projected_position(connection, history.tenant_id) < until:
                pages += await project_page(connection, history.tenant_id)
        return pages

    async def close() -> int:
        async with pool.acquire() as connection, connection.transaction():
            return await catch_up(connection, history.tenant_id, until)

    async with asyncio.timeout(20):
        pages = await asyncio.gather(project(), project(), project())
        assert await close() == until
    # Eight commits in pages of two: no page was folded twice.
    assert sum(pages) == 4
    await history.check(WHOLE)


async def test_a_projector_and_a_close_at_once_count_once(pool: Pool[Record]) -> None:
    history = await grown(pool, LOG)
    until = (await head(pool, history.tenant_id)).position

    async def close() -> int:
        async with pool.acquire() as connection, connection.transaction():
            return await catch_up(connection, history.tenant_id, until)

    async with asyncio.timeout(20):
        first, second, _, _ = await asyncio.gather(close(), close(), history.project(), history.project())
    assert (first, second) == (until, until)
    await history.check(WHOLE)


async def test_an_hour_is_counted_again_page_by_page(pool: Pool[Record]) -> None:
    """Two events at once: pages end between events of one instant, and at the last one."""
    history = await grown(pool, [NewMeter("call", "sum", "v", None), NewMeter("call", "unique", "v", None)])
    at = (5, 5, 5, 5, 7, 7, 9, HOUR_MICROS)
    await history.do(Commit(tuple(("call", "ada", offset, f'{{"v": {number}}}') for number, offset in enumerate(at))))
    await history.project()
    for number in range(len(at)):
        await history.do(Void((number,)))
        await history.project()
        await history.check([0, HOUR_MICROS, 2 * HOUR_MICROS])
    assert await pool.fetchval("select count(*) from quantity where tenant_id = $1", history.tenant_id) == 0
    assert await pool.fetchval("select count(*) from distinct_value where tenant_id = $1", history.tenant_id) == 0


async def test_a_page_ends_when_it_holds_many_bytes(pool: Pool[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    """Large metadata must not be gathered without end; a commit that is larger than a page is a page of its own."""
    history = await grown(pool, [NewMeter("call", "count", None, None)])
    await history.project()
    text = '{"k": "%s"}' % ("x" * 100)
    for _ in range(5):
        await history.record(Commit((("call", "ada", 0, text), ("call", "ada", 0, text))))
    monkeypatch.setattr(quantities, "PAGE_COMMITS", 50)
    pages: list[int] = []
    for limit, expected in ((3 * len(text), 4), (1, 2), (10 * len(text), 4)):
        monkeypatch.setattr(quantities, "PAGE_BYTES", limit)
        before = await projected_position(pool, history.tenant_id)
        await history.do(Project())
        pages.append(await projected_position(pool, history.tenant_id) - before)
        assert pages[-1] == expected
    await history.check(WHOLE)


async def test_a_page_ends_when_it_holds_many_retractions(pool: Pool[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them costs an hour that is read again, and a page is one transaction."""
    history = await grown(pool, LOG)
    await history.project()
    for number in range(4):
        await history.do(Void((number,)))
    monkeypatch.setattr(quantities, "PAGE_COMMITS", 50)
    monkeypatch.setattr(quantities, "PAGE_EVENTS", 3 * quantities.RETRACTION_WEIGHT)
    before = await projected_position(pool, history.tenant_id)
    await history.do(Project())
    assert await projected_position(pool, history.tenant_id) == before + 3
