"""The quantities equal a plain computation over the events, however the log grew and whoever projected it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from asyncpg import Connection, Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from app.commands import prepare
from app.database import connect_owner, open_pool
from app.engine.launcher import Engine
from app.event_log import append_usage
from app.service import Caller, Service
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.event import UsageEvent
from domain.filter import read_filter, write_filter
from domain.meter import Meter
from projections import quantities
from projections.log_reader import head
from projections.quantities import catch_up, project_page, projected_position
from projections.rating_facts import counted_meters
from projections.rebuild import compare, rebuild
from projections.usage import Question, measure, measure_groups
from tests.conftest import RULES, MovingClock
from tests.projections.naive import Answer, NaiveEvent, NaiveMeter, measured

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
HOURS = 4
CUSTOMERS = ("ada", "bob")
NAMES = ("call", "job")
DATABASE = "quantities"
"""A database of its own: a rebuild looks at every tenant there is."""


@pytest.fixture(scope="module")
async def own_dsn(engine: Engine) -> str:
    owner = await asyncpg.connect(engine.dsn)
    try:
        await owner.execute(f"create database {DATABASE}")
    finally:
        await owner.close()
    address = engine.dsn_for(DATABASE)
    await prepare(address)
    return address


@pytest.fixture(scope="module")
async def pool(own_dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(own_dsn) as opened:
        yield opened


@pytest.fixture
async def owner(own_dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(own_dsn)
    yield connection
    await connection.close()


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """Pages of two commits, so that a log of some commits has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantities, "PAGE_COMMITS", 2)
        yield


# What happens to a log, step by step.


@dataclass(frozen=True)
class Commit:
    """Usage events recorded together: name, customer, microseconds after the start, metadata."""

    events: tuple[tuple[str, str, int, str], ...]


@dataclass(frozen=True)
class NewMeter:
    event_name: str
    kind: str
    key: str | None
    filter: Any


@dataclass(frozen=True)
class Switch:
    """Archive the meter with this number, or unarchive it when it is archived."""

    meter: int


@dataclass(frozen=True)
class Project:
    """Project a page."""


HOUR_MICROS = 3_600_000_000
offsets = st.one_of(
    # At the edges of hours, where an hour's summary and a cut hour meet.
    st.builds(
        lambda hour, micros: max(0, hour * HOUR_MICROS + micros), st.integers(0, HOURS), st.sampled_from((-1, 0, 1))
    ),
    st.integers(0, HOURS * HOUR_MICROS),
)
numbers = st.sampled_from(
    ("0", "-0.0", "1", "1.0", "7", "-2.5", "0.1", "1e2", "12.345678901234567890123456789012", "99999999999999999999")
)
others = st.sampled_from(('"7"', '"007"', '"-2.50"', '"seven"', '"1e2"', '""', "true", "false", '"x"', '"xy"'))
metadata = st.one_of(
    st.just(""),
    st.just("{}"),
    st.builds(
        lambda v, k: '{"v": ' + v + ', "k": ' + k + "}",
        st.one_of(numbers, others),
        st.sampled_from(('"x"', '"y"', "1", '"1"', "true")),
    ),
    st.builds(lambda v: '{ "v":' + v + "}", st.one_of(numbers, others)),
)
events = st.tuples(st.sampled_from(NAMES), st.sampled_from(CUSTOMERS), offsets, metadata)
conditions = st.fixed_dictionaries(
    {
        "key": st.sampled_from(("v", "k", "nothing")),
        "operator": st.sampled_from(
            (
                "equals",
                "not_equals",
                "greater_than",
                "greater_than_or_equals",
                "less_than",
                "less_than_or_equals",
                "contains",
                "does_not_contain",
            )
        ),
        "value": st.sampled_from(("x", "7", "", 7, 0, 1, True, False)),
    }
)
conjunctions = st.sampled_from(("and", "or"))
filters = st.recursive(
    st.fixed_dictionaries({"conjunction": conjunctions, "clauses": st.lists(conditions, min_size=1, max_size=3)}),
    lambda inner: st.fixed_dictionaries(
        {"conjunction": conjunctions, "clauses": st.lists(st.one_of(inner, conditions), min_size=1, max_size=2)}
    ),
    max_leaves=2,
)
meters = st.one_of(
    st.builds(NewMeter, st.sampled_from(NAMES), st.just("count"), st.none(), st.none() | filters),
    st.builds(
        NewMeter,
        st.sampled_from(NAMES),
        st.sampled_from(("sum", "max", "min", "last", "avg", "unique")),
        st.sampled_from(("v", "v", "k")),
        st.none() | filters,
    ),
)
steps = st.lists(
    st.one_of(
        st.builds(Commit, st.lists(events, min_size=1, max_size=8).map(tuple)),
        st.builds(Commit, st.lists(events, min_size=1, max_size=8).map(tuple)),
        meters,
        st.builds(Switch, st.integers(0, 5)),
        st.just(Project()),
    ),
    min_size=2,
    max_size=12,
)
edges = st.lists(offsets, min_size=2, max_size=4, unique=True).map(sorted)


@dataclass
class History:
    """A tenant whose log grows step by step, and beside it the plain record of what was done."""

    pool: Pool[Record]
    tenant_id: str = field(default_factory=lambda: f"t{uuid4().hex[:12]}")
    clock: MovingClock = field(default_factory=MovingClock)
    events: list[NaiveEvent] = field(default_factory=list)
    meters: dict[str, NaiveMeter] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        return Service(self.pool, self.clock, RULES)

    @property
    def caller(self) -> Caller:
        return Caller(self.tenant_id, "key_1", "write", "test")

    async def do(self, step: object) -> None:
        """Carry out one step, here and there."""
        match step:
            case Commit():
                await self.record(step)
            case NewMeter():
                await self.declare(step)
            case Switch():
                await self.switch(step.meter)
            case Project():
                async with self.pool.acquire() as connection:
                    await project_page(connection, self.tenant_id)

    async def record(self, step: Commit) -> None:
        sent = [
            UsageEvent(f"e{len(self.events) + index}", name, customer, START + timedelta(microseconds=at), text)
            for index, (name, customer, at, text) in enumerate(step.events)
        ]
        async with self.pool.acquire() as connection:
            receipt = await append_usage(connection, self.tenant_id, sent, self.clock())
        assert receipt.ingested_count == len(sent)
        first = receipt.position - len(sent) + 1
        self.events += [
            NaiveEvent(position, e.event_name, e.customer_id, e.timestamp or self.clock(), e.metadata)
            for position, e in enumerate(sent, start=first)
        ]

    async def declare(self, step: NewMeter) -> None:
        meter_id = f"mtr_{len(self.meters)}"
        stated = None if step.filter is None else read_filter(step.filter)
        text = "" if stated is None else msgspec.json.encode(write_filter(stated)).decode()
        async with transaction(self.service, self.caller, "meter.create") as running:
            running.add(
                Meter.create(
                    meter_id,
                    name="Meter",
                    event_name=step.event_name,
                    aggregation=read_aggregation({"type": step.kind, "key": step.key}),
                    filter=text,
                    measurement_unit="unit",
                    description=None,
                    at=running.now,
                )
            )
        self.meters[meter_id] = NaiveMeter(step.event_name, step.kind, step.key, step.filter)

    async def switch(self, number: int) -> None:
        if not self.meters:
            return
        meter_id = f"mtr_{number % len(self.meters)}"
        naive = self.meters[meter_id]
        archived = naive.archived
        async with transaction(self.service, self.caller, "meter.switch") as running:
            meter = await running.get(Meter, meter_id)
            (meter.unarchive if archived else meter.archive)(running.now)
        position = (await head(self.pool, self.tenant_id)).position
        (naive.unarchived_at if archived else naive.archived_at).append(position)

    async def project(self) -> None:
        """Project to the end."""
        async with self.pool.acquire() as connection:
            while await project_page(connection, self.tenant_id):
                pass

    async def check(self, offsets: list[int]) -> None:
        """Compare every meter, for each customer and for all, with the plain computation."""
        instants = [START + timedelta(microseconds=at) for at in offsets]
        position = await projected_position(self.pool, self.tenant_id)
        counted = await counted_meters(self.pool, self.tenant_id)
        for meter_id, naive in self.meters.items():
            for customer_id in (*CUSTOMERS, "nobody", None):
                question = Question(self.tenant_id, counted[meter_id], customer_id, position)
                got = [
                    Answer(
                        Fraction(span.quantity(question.meter.aggregation)),
                        span.summary.events,
                        span.summary.unmeasured,
                    )
                    for span in await measure(self.pool, question, instants)
                ]
                expected = [
                    measured(naive, self.events, customer_id, since, until) for since, until in pairwise(instants)
                ]
                assert got == expected, (meter_id, naive, customer_id)


async def grown(pool: Pool[Record], steps: list[object]) -> History:
    history = History(pool)
    for step in steps:
        await history.do(step)
    return history


FEW = settings(max_examples=60)


@FEW
@given(steps=steps, edges=edges)
async def test_quantities_equal_the_plain_computation(
    pool: Pool[Record], steps: list[object], edges: list[int]
) -> None:
    history = await grown(pool, steps)
    await history.project()
    assert await projected_position(pool, history.tenant_id) == (await head(pool, history.tenant_id)).position
    await history.check(edges)


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
    for event in history.events:
        if since <= event.timestamp < until and meter.counts(event):
            parts.setdefault(group_of(event), []).append(event)
    return {group: measured(meter, part, None, since, until).quantity for group, part in parts.items()}


def group_of(event: NaiveEvent) -> str | None:
    """The metadata's ``k`` as text; the number 1 is the only one there is."""
    value = event.values().get("k")
    if value is None or isinstance(value, str):
        return value
    return "true" if value is True else "1"


@settings(max_examples=12)
@given(steps=steps, edges=edges)
async def test_a_rebuild_gives_the_same_rows(
    pool: Pool[Record], own_dsn: str, steps: list[object], edges: list[int]
) -> None:
    history = await grown(pool, steps)
    await history.project()
    reports: list[tuple[str, int, int]] = []
    connection = await connect_owner(own_dsn)
    try:
        assert await rebuild(connection, lambda *report: reports.append(report), swap=True) == []
    finally:
        await connection.close()
    position = (await head(pool, history.tenant_id)).position
    assert not position or (history.tenant_id, position, position) in reports
    await history.check(edges)
    # Life goes on with the new tables.
    await history.record(Commit((("call", "ada", 0, '{"v": 1}'),)))
    await history.project()
    await history.check(edges)


LOG = [
    NewMeter("call", "sum", "v", None),
    NewMeter("call", "unique", "k", None),
    NewMeter("job", "count", None, None),
    *(
        Commit((("call", "ada", hour * HOUR_MICROS, f'{{"v": {hour + 1}, "k": "x"}}'), ("job", "bob", hour, "")))
        for hour in range(HOURS)
    ),
    Commit((("call", "bob", 5, '{"v": "no number"}'),)),
]
WHOLE = [0, HOUR_MICROS // 2, HOURS * HOUR_MICROS]


async def test_a_rebuild_finds_rows_that_the_log_does_not_give(pool: Pool[Record], owner: Connection[Record]) -> None:
    """The comparison can fail: each tampered table is named, and the rebuild mends it."""
    history = await grown(pool, LOG)
    await history.project()
    tenant_id = history.tenant_id
    assert await pool.execute("update quantity set total = total + 1 where tenant_id = $1", tenant_id) != "UPDATE 0"
    assert await pool.execute("delete from distinct_value where tenant_id = $1", tenant_id) != "DELETE 0"
    assert await pool.execute("update meter set name = 'Other' where tenant_id = $1", tenant_id) == "UPDATE 3"
    found = {difference.table: difference for difference in await rebuild(owner, lambda *_: None, swap=True)}
    assert set(found) == {"quantity", "distinct_value", "meter"}
    assert (found["meter"].missing, found["meter"].extra) == (3, 3)
    assert (found["distinct_value"].missing, found["distinct_value"].extra) == (1, 0)
    assert found["quantity"].missing == found["quantity"].extra > 0
    assert await rebuild(owner, lambda *_: None, swap=False) == []
    assert await compare(owner) == []
    await history.check(WHOLE)


async def test_a_rebuild_is_quiet_about_quantities_that_are_behind(
    pool: Pool[Record], owner: Connection[Record]
) -> None:
    behind = await grown(pool, LOG)
    await behind.do(Project())
    assert 0 < await projected_position(pool, behind.tenant_id) < (await head(pool, behind.tenant_id)).position
    untouched = await grown(pool, LOG)
    assert await projected_position(pool, untouched.tenant_id) == 0
    assert await rebuild(owner, lambda *_: None, swap=True) == []
    for history in (behind, untouched):
        await history.check(WHOLE)


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
    victim = await asyncpg.connect(own_dsn, server_settings={"search_path": "read", "role": "taximeter_app"})
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
