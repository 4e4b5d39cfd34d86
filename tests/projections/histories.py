"""Logs that grow step by step, at random, with a plain record beside them of what was done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
from asyncpg import Pool, Record
from hypothesis import strategies as st

from app.commands import prepare
from app.engine.launcher import Engine
from app.event_log import append_usage
from app.service import Caller, Service
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.event import UsageEvent
from domain.filter import read_filter, write_filter
from domain.meter import Meter
from projections.log_reader import END, head
from projections.quantities import project_page, projected_position
from projections.rating_facts import counted_meters
from projections.usage import Question, measure
from tests.conftest import RULES, MovingClock
from tests.projections.naive import Answer, NaiveEvent, NaiveMeter, measured

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
HOURS = 4
CUSTOMERS = ("ada", "bob")
NAMES = ("call", "job")


async def new_database(engine: Engine, name: str) -> str:
    """The address of a migrated database that only one module uses."""
    owner = await asyncpg.connect(engine.dsn)
    try:
        await owner.execute(f"create database {name}")
    finally:
        await owner.close()
    await prepare(engine.dsn_for(name))
    return engine.dsn_for(name)


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
                await self.project(pages=1)

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

    async def project(self, pages: int = END) -> None:
        """Project some pages, or to the end. Only a tenant whose log holds something is ever projected."""
        async with self.pool.acquire() as connection:
            while pages and (await head(connection, self.tenant_id)).position:
                pages = pages - 1 if await project_page(connection, self.tenant_id) else 0

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
