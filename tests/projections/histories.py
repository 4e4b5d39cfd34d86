"""Logs that grow step by step, at random, with a plain record beside them of what was done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from app.service import Caller, Service
from app.transaction import transaction
from app.voiding import void_events
from domain import instant
from domain.aggregation import read_aggregation
from domain.event import UsageEvent
from domain.filter import read_filter, write_filter
from domain.invoice import Document, Invoice
from domain.meter import Meter
from projections.late_hours import late_hours
from projections.log_reader import END, head
from projections.quantities import SQL as QUANTITIES
from projections.quantities import counted_meters, project_page, projected_position
from projections.usage import Question, measure
from tests.app.log_rows import record_usage
from tests.conftest import RULES, MovingClock
from tests.projections import naive as plain
from tests.projections.naive import Answer, NaiveCycle, NaiveEvent, NaiveMeter, known_at, measured

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
HOURS = 4
MICROSECOND = timedelta(microseconds=1)
CUSTOMERS = ("ada", "bob")
NAMES = ("call", "job")


MIGRATED = "migrated"
"""A database that nobody uses: its copy is there in a quarter of the time that migrating a new one takes."""


async def new_database(engine: Engine, name: str) -> str:
    """The address of a migrated database that only one module uses."""
    owner = await asyncpg.connect(engine.dsn)
    try:
        if not await owner.fetchval("select count(*) from pg_database where datname = $1", MIGRATED):
            await owner.execute(f"create database {MIGRATED}")
            await prepare(engine.dsn_for(MIGRATED))
        # Nearly all of it is the files of the catalogue, of which the other strategy would log every page.
        await owner.execute(f"create database {name} template {MIGRATED} strategy file_copy")
    finally:
        await owner.close()
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
class Void:
    """Retract the events with these numbers, and one that nobody sent."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Close:
    """Invoice a cycle of a customer; its edges are microseconds after the start."""

    customer_id: str
    since: int
    until: int


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
        st.builds(Void, st.lists(st.integers(0, 40), min_size=1, max_size=4).map(tuple)),
        st.builds(Close, st.sampled_from(CUSTOMERS), offsets, offsets),
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
    cycles: list[NaiveCycle] = field(default_factory=list)
    times: dict[int, datetime] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        return Service(self.pool, self.clock, RULES)

    @property
    def caller(self) -> Caller:
        return Caller(self.tenant_id, "key_1", "write", "test")

    async def do(self, step: object) -> None:
        """Carry out one step, here and there."""
        self.clock.advance(seconds=1)
        match step:
            case Commit():
                await self.record(step)
            case NewMeter():
                await self.declare(step)
            case Switch():
                await self.switch(step.meter)
            case Void():
                await self.void(step)
            case Close():
                await self.close(step)
            case Project():
                await self.project(pages=1)

    async def record(self, step: Commit) -> None:
        sent = [
            UsageEvent(f"e{len(self.events) + index}", name, customer, START + timedelta(microseconds=at), text)
            for index, (name, customer, at, text) in enumerate(step.events)
        ]
        async with self.pool.acquire() as connection:
            receipt = await record_usage(connection, self.tenant_id, sent, self.clock())
        assert receipt.ingested_count == len(sent)
        first = receipt.position - len(sent) + 1
        self.events += [
            NaiveEvent(position, e.event_name, e.customer_id, e.timestamp or self.clock(), e.metadata)
            for position, e in enumerate(sent, start=first)
        ]
        self.times |= dict.fromkeys(range(first, receipt.position + 1), self.clock())

    async def void(self, step: Void) -> None:
        chosen = dict.fromkeys(number % len(self.events) for number in step.numbers) if self.events else {}
        standing = [number for number in chosen if self.events[number].voided_at is None]
        ids = [f"e{number}" for number in chosen]
        answered = await void_events(self.service, self.caller, [*ids, "nobody's"], "")
        assert (answered.voided_count, answered.not_found) == (len(standing), ["nobody's"])
        assert answered.already_voided == [f"e{number}" for number in chosen if number not in standing]
        for position, number in enumerate(standing, start=answered.position - len(standing) + 1):
            self.events[number] = replace(self.events[number], voided_at=position)
            self.times[position] = self.clock()

    async def close(self, step: Close) -> None:
        start, end = (START + timedelta(microseconds=at) for at in sorted((step.since, step.until)))
        number = len(self.cycles)
        document = Document(
            invoice_id=f"inv_{number}",
            number=str(number),
            customer_id=step.customer_id,
            subscription_id=f"sub_{number}",
            currency="USD",
            cycle_start=instant.text(start),
            cycle_end=instant.text(end),
            lines=(),
            subtotal_amount=0,
            wallet_amount=0,
            tax_amount=0,
            total_amount=0,
            position=0,
            digest="",
            issued_at=instant.text(self.clock()),
        )
        async with transaction(self.service, self.caller, "cycle.close") as running:
            running.add(Invoice.issue(f"inv_{number}", document, running.now))
        position = (await head(self.pool, self.tenant_id)).position
        self.cycles.append(NaiveCycle(step.customer_id, start, end, position))

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
        position = (await head(self.pool, self.tenant_id)).position
        self.meters[meter_id] = NaiveMeter(step.event_name, step.kind, step.key, step.filter, position)

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
        """Compare every meter that is projected, for each customer and for all, with the plain computation."""
        instants = [START + timedelta(microseconds=at) for at in offsets]
        position = await projected_position(self.pool, self.tenant_id)
        counted, known = await counted_meters(self.pool, self.tenant_id), known_at(position, self.events)
        for meter_id, naive in self.meters.items():
            if naive.created_at > position:
                continue
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
                expected = [measured(naive, known, customer_id, since, until) for since, until in pairwise(instants)]
                assert got == expected, (meter_id, naive, customer_id)

    async def check_unmeasured(self) -> None:
        """Compare the list of unmeasured events with the events that stand."""
        position = await projected_position(self.pool, self.tenant_id)
        for meter_id, naive in self.meters.items():
            rows = await self.pool.fetch(QUANTITIES["unmeasured"], self.tenant_id, meter_id, len(self.events), 0)
            standing = known_at(position, self.events) if naive.created_at <= position else []
            assert [row["position"] for row in reversed(rows)] == [
                event.position
                for event in standing
                if measured(naive, [event], None, event.timestamp, event.timestamp + MICROSECOND).unmeasured
            ]

    async def check_late_hours(self) -> None:
        """Compare the late hours of each customer with the plain computation, as of the projected position."""
        position = await projected_position(self.pool, self.tenant_id)
        expected = [
            (customer_id, meter_id, hour, late, self.times[late])
            for meter_id, naive in self.meters.items()
            for (customer_id, hour), late in plain.late_hours(naive, self.events, self.cycles, position).items()
        ]
        got = [
            (customer_id, *late)
            for customer_id in CUSTOMERS
            for late in await late_hours(self.pool, self.tenant_id, customer_id, 0, position)
        ]
        assert got == sorted(expected)


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
