"""A Hypothesis machine bills a customer through the real service and in the naive model, and compares after each step.

A run in CI is short and only finds; TAXIMETER_MACHINE_EXAMPLES makes it longer and lets it shrink what it finds.
TAXIMETER_MACHINE_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.engine.launcher import Engine
from tests.projections.histories import new_database
from tests.scenarios import naive
from tests.scenarios.lines import Json
from tests.scenarios.machine import Driven, Plant, crashing
from tests.scenarios.story import Refused
from tests.scenarios.tariff import Tariff, in_credits, included, per_unit

LONG = "TAXIMETER_MACHINE_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("TAXIMETER_MACHINE_EXAMPLES", "8"))
STEPS = 35
NAIVE_LINES_MAX = 150

START = datetime(2026, 3, 1, tzinfo=UTC)
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
FAR = datetime(2030, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CREDITS = 5
Prices = tuple[int, Fraction, int, Fraction]
"""Cents: the month, a call, how many of them are free, a text."""

prices = st.tuples(
    st.sampled_from((100, 500)),
    st.sampled_from((Fraction(1, 2), Fraction(3), Fraction("7.25"))),
    st.sampled_from((0, 2)),
    st.sampled_from((Fraction("0.125"), Fraction("2.5"))),
)
FIRST: Prices = (500, Fraction(1, 2), 2, Fraction("2.5"))
moments = st.one_of(
    st.integers(0, 70 * 24).map(lambda hours: lambda edges, now: now - timedelta(hours=hours)),
    st.tuples(st.integers(0, 50), st.sampled_from((-1, 0, 1))).map(
        lambda place: lambda edges, now: edges[place[0] % len(edges)] + place[1] * MICROSECOND
    ),
)
"""When usage happened: some hours ago, or where a cycle or a grant begins or ends."""

Moment = Callable[[list[datetime], datetime], datetime]
meters = st.sampled_from(("calls", "texts", "texts"))
numbers = st.sampled_from((1, 2, 3.0, 0.5, 7, 12, -1, -2.5))


def tariff(given: Prices) -> Tariff:
    """The price list of the product."""
    fee, call, free, text = given
    return Tariff(
        f"${fee / 100:.2f}",
        (per_unit("calls", dollars(call), free), in_credits("texts", "points", naive.UNITS_PER_CREDIT, dollars(text))),
        (included("points", CREDITS),),
    )


def dollars(cents: Fraction) -> str:
    """A price in major units."""
    return f"${float(cents / 100):.8f}"


def naive_price(given: Prices) -> naive.Price:
    """The same for the naive model."""
    fee, call, free, text = given
    return naive.Price(fee, CREDITS, {"calls": (Fraction(free), call), "texts": (Fraction(0), text)})


class Billing(RuleBasedStateMachine):
    """The service and the naive model side by side."""

    plant: ClassVar[Plant]

    def __init__(self) -> None:
        super().__init__()
        self.driven: Driven = self.plant.tenant()
        self.world = self.driven.world
        self.naive = naive.Business(START, [(BEGINNING, naive_price(FIRST))])
        self.sent = 0
        self.wallet = 0

    @initialize()
    def open(self) -> None:
        """A month with a fee, calls beyond the free ones, texts in credits."""
        world, do = self.world, self.driven.do
        do(world.open(START, {"event_age_max": "none"}))
        do(world.meter("calls", "call", {"type": "count"}, None))
        do(world.meter("texts", "text", {"type": "sum", "key": "n"}, None))
        do(world.credits("points", {}))
        do(world.product("Phone", tariff(FIRST)))
        do(world.customer("ada", "UTC"))
        do(world.subscribe("ada", "ada", {"Phone": 1}, "2026-03-01", 0))
        self.naive.begin()

    def edges(self) -> list[datetime]:
        """Where cycles and grants begin and end, as far as usage may be there."""
        grants = [at for one in self.naive.grants for at in (one.begins, one.expires)]
        cycles = [at for one in self.naive.cycles for at in (one.start, one.end)]
        return sorted({at for at in (*grants, *cycles) if at < self.naive.now}) or [START]

    @rule(uses=st.lists(st.tuples(meters, moments, numbers), min_size=1, max_size=5))
    def ingest(self, uses: list[tuple[str, Moment, float]]) -> None:
        for meter, moment, n in uses:
            self.sent += 1
            self.send(f"e{self.sent}", meter, moment(self.edges(), self.naive.now), n, "recorded")

    def send(self, event_id: str, meter: str, at: datetime, n: float, expected: str) -> None:
        event = {
            "event_id": event_id,
            "customer_id": "ada",
            "event_name": meter.removesuffix("s"),
            "timestamp": at.isoformat(),
            "metadata": {"n": n},
        }
        answer = self.driven.do(self.world.call("POST", "/events/ingest", {"events": [event]}))
        became = "recorded" if answer["ingested_count"] else "duplicate" if answer["duplicate_count"] else "conflict"
        assert became == self.naive.record(event_id, naive.Event(meter, at, Fraction(n))) == expected

    @precondition(lambda self: self.naive.events)
    @rule(which=st.integers(0, 999), changed=st.booleans())
    def resend(self, which: int, changed: bool) -> None:
        event_id, known = self.event(which)
        # 1.0 says the same as 1.
        n = float(known.n + changed)
        self.send(event_id, known.meter, known.at, n, "conflict" if changed else "duplicate")

    def event(self, which: int) -> tuple[str, naive.Event]:
        found = list(self.naive.events.items())
        return found[which % len(found)]

    @precondition(lambda self: self.naive.events)
    @rule(which=st.integers(0, 999))
    def void_usage(self, which: int) -> None:
        event_id, _ = self.event(which)
        self.driven.do(self.world.void_usage([event_id]))
        self.naive.void(event_id)

    @rule()
    def close(self) -> None:
        ended = next(cycle for cycle in self.naive.cycles if not cycle.price).end <= self.naive.now
        assert self.driven.refusal(self.world.close("ada", None)) == (None if ended else "CYCLE_NOT_ENDED")
        if ended:
            self.naive.bill()

    @precondition(lambda self: self.naive.bills)
    @rule(which=st.integers(0, 99))
    def close_twice(self, which: int) -> None:
        closed = [cycle for cycle in self.naive.cycles if cycle.price]
        start, before = closed[which % len(closed)].start, self.driven.head()
        path = f"/subscriptions/{self.world.ids['subscription ada']}/close-cycle"
        again = self.driven.do(self.world.call("POST", path, {"cycle_start": start.isoformat()}))
        assert again in self.driven.do(self.world.invoices())
        assert self.driven.head() == before

    @rule(amount=st.integers(1, 12), days=st.none() | st.sampled_from((2, 9, 20, 50)))
    def grant_credits(self, amount: int, days: int | None) -> None:
        expires = None if days is None else self.naive.now + timedelta(days=days)
        self.driven.do(self.world.grant("ada", "points", str(amount), expires))
        # Of credits that begin together those given by hand are older than those that come with the cycle.
        place = len(self.naive.grants) - (self.naive.cycles[-1].start == self.naive.now)
        self.naive.grants.insert(place, naive.Grant(self.naive.now, expires or FAR, amount))

    @rule(amount=st.integers(1, 8))
    def spend_credits(self, amount: int) -> None:
        left = self.left()
        refusal = self.driven.refusal(self.world.debit("ada", "points", str(amount)))
        if sum(left.values()) < amount:
            assert refusal == "INSUFFICIENT_CREDITS"
            return
        assert refusal is None
        for index in sorted(left, key=lambda index: self.naive.grants[index].begins):
            taken = min(amount, left[index])
            self.naive.grants[index].left -= taken
            amount -= taken

    def left(self) -> dict[int, int]:
        """What can be spent of each grant now: what the running usage of open months leaves."""
        copy = deepcopy(self.naive)
        for cycle in copy.cycles:
            # What late usage frees or takes counts from the next invoice on.
            cycle.late.clear()
        copy = copy.if_all_were_billed()
        valid = [i for i, one in enumerate(copy.grants) if one.begins <= self.naive.now < one.expires]
        return {index: copy.grants[index].left for index in valid}

    @rule(price=prices, days=st.none() | st.sampled_from((-100, -45, -20, 10, 40)))
    def change_price(self, price: Prices, days: int | None) -> None:
        effective = None if days is None else self.naive.now + timedelta(days=days)
        self.driven.do(self.world.reprice("Phone", tariff(price), effective))
        # A cycle that began this very instant has begun.
        by_default = self.naive.now + MICROSECOND * (self.naive.cycles[-1].start == self.naive.now)
        self.naive.prices.append((effective or by_default, naive_price(price)))

    @rule(days=st.sampled_from((20, 31, 62)))
    def let_months_pass(self, days: int) -> None:
        self.advance_clock(24 * days)

    @rule(hours=st.one_of(st.integers(1, 48), st.integers(100, 1000)))
    def advance_clock(self, hours: int) -> None:
        to = self.naive.now + timedelta(hours=hours)
        self.driven.do(self.world.move_clock(to))
        self.naive.advance(to)

    @rule(command=st.sampled_from(("grant", "reprice", "close", "ingest", "void")))
    def crash(self, command: str) -> None:
        """Whatever dies before it commits has not happened."""
        before, world = self.driven.head(), self.world
        event: Json = {"event_id": "lost", "customer_id": "ada", "event_name": "call"}
        last = [f"e{self.sent}"] if self.sent else []
        commands: dict[str, Callable[[], Any]] = {
            "grant": lambda: world.grant("ada", "points", "3", None),
            "reprice": lambda: world.reprice("Phone", tariff((900, Fraction(9), 9, Fraction(9))), None),
            "close": lambda: world.close("ada", None),
            "ingest": lambda: world.call("POST", "/events/ingest", {"events": [event]}),
            "void": lambda: world.void_usage(last),
        }
        with crashing(), suppress(AssertionError, Refused):
            self.driven.do(commands[command]())
        assert self.driven.head() == before

    @rule(hours=st.integers(100, 1000))
    def crash_while_the_clock_moves(self, hours: int) -> None:
        """A walk that dies goes on where it stopped."""
        to = self.naive.now + timedelta(hours=hours)
        with crashing(after=1), suppress(AssertionError):
            self.driven.do(self.world.move_clock(to))
        self.driven.do(self.world.move_clock(to))
        self.naive.advance(to)

    @invariant()
    def the_estimate_is_the_naive_one(self) -> None:
        if not self.naive.cycles:
            return
        document = self.driven.do(self.world.estimate("ada", None))
        foreseen = self.naive.if_all_were_billed()
        assert rows(self.world, document) == foreseen.bills[len(self.naive.bills)]

    @invariant()
    def the_balance_is_the_naive_one_and_the_ledger_balances(self) -> None:
        if self.naive.cycles:
            balance, problems = self.driven.account("points", "ada")
            assert (balance, problems) == (sum(self.left().values()), [])

    @invariant()
    def the_invoices_are_the_naive_ones(self) -> None:
        wallet, invoices = 0, self.driven.do(self.world.invoices())
        assert [rows(self.world, one) for one in invoices] == self.naive.bills
        assert [one["number"] for one in invoices] == [f"INV-{n:06d}" for n in range(1, len(invoices) + 1)]
        for one in invoices:
            taken = min(wallet, one["subtotal_amount"])
            assert one["wallet_amount"] == taken
            wallet -= taken
        self.wallet = wallet

    @invariant()
    def the_chain_holds(self) -> None:
        assert self.driven.broken_commits() == []

    def teardown(self) -> None:
        """What is too slow to be looked at after each step."""
        if self.naive.cycles:
            self.driven.do(self.world.catch_up())
            for name in ("calls", "texts"):
                span = "start=2020-01-01T00:00:00Z&end=2030-01-01T00:00:00Z"
                path = f"/meters/{self.world.ids[name]}/usage?customer_id=ada&{span}"
                quantity = self.driven.do(self.world.call("GET", path))["quantity"]
                assert Fraction(quantity) == self.naive.quantity(name, BEGINNING, FAR)
            assert self.driven.do(self.world.wallet("ada", "USD")) == self.wallet
            assert self.driven.do(self.world.balance("ada", "points")) == (str(sum(self.left().values())), "0")
        self.driven.close()
        assert self.plant.rebuilt() == []


def rows(world: Any, document: Json) -> list[tuple[object, ...]]:
    """The lines of a document as the naive model has them."""
    found: list[tuple[object, ...]] = []
    for line in document["lines"]:
        start = line.get("cycle_start")
        name = line["meter_id"] and world.name_of(line["meter_id"])
        place = (line["kind"], name, datetime.fromisoformat(start) if start else None)
        units = [Fraction(line[f"{part}_units"]) for part in ("consumed", "free", "credit", "paid")]
        found.append((*place, *(units if name else []), line["amount"]))
    return found


@pytest.fixture
async def own_dsn(engine: Engine) -> str:
    """The address of a database of its own: a rebuild looks at all there is."""
    return await new_database(engine, "machine")


def test_the_service_bills_as_the_naive_model_does(own_dsn: str) -> None:
    chosen = int(os.environ.get("TAXIMETER_MACHINE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"TAXIMETER_MACHINE_SEED={chosen}")
    Billing.plant = Plant(own_dsn)
    try:
        run_state_machine_as_test(
            seed(chosen)(Billing),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
                phases=(Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
                print_blob=True,
            ),
        )
    finally:
        Billing.plant.close()


def test_the_naive_model_is_small_and_shares_nothing() -> None:
    text = Path(naive.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= NAIVE_LINES_MAX
    assert "domain" not in text
    assert "app" not in {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith("from ")}
