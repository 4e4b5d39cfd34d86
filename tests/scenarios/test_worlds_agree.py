"""Random stories: whatever happens in whatever order, both worlds give the same invoices, balances and estimates.

TAXIMETER_STORIES makes a run longer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine.launcher import Engine
from tests.projections.histories import new_database
from tests.scenarios.in_domain import InDomain
from tests.scenarios.lines import Json, read_line
from tests.scenarios.machine import Plant
from tests.scenarios.story import Refused, Use, World
from tests.scenarios.tariff import Included, Tariff, in_credits, included, money, per_unit

EXAMPLES = int(os.environ.get("TAXIMETER_STORIES", "6"))

START = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MODES = (
    "prorated_immediately",
    "full_immediately",
    "difference_immediately",
    "prorated_immediately_keep_cycle",
    "do_not_bill",
)
overages = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "overage_enabled": st.just(True),
            "overage_behavior": st.sampled_from(
                ("forgive_at_reset", "invoice_at_billing", "carry_deficit", "carry_deficit_auto_repay")
            ),
            "price_per_unit": st.just("2"),
            "currency": st.just("USD"),
        },
        optional={"overage_limit": st.sampled_from((3, 10))},
    ),
)
rollovers = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"rollover_enabled": st.just(True)},
        optional={
            "rollover_percentage": st.sampled_from((33, 50, 100)),
            "max_rollover_count": st.sampled_from((1, 2)),
        },
    ),
)
terms = st.builds(
    lambda *parts: {name: value for part in parts for name, value in part.items()},
    overages,
    rollovers,
    st.fixed_dictionaries(
        {}, optional={"burn_order": st.just("earliest_expiry"), "expires_after_days": st.sampled_from((10, 45))}
    ),
)
small_plans = st.builds(
    lambda units, each, free, credits: Tariff(
        "$31.00",
        (per_unit("calls", "$1.00", 2), in_credits("texts", "points", units, each, free)),
        credits,
    ),
    st.sampled_from((1, 2)),
    st.sampled_from((None, "$0.05")),
    st.sampled_from((0, 2)),
    st.sampled_from((tuple[Included, ...](), (included("points", 5),), (included("points", 20),))),
)
LARGE = Tariff("$62.00", (in_credits("texts", "points", 1),), (included("points", 30),))
PLAIN = Tariff("$5.00", (per_unit("calls", "$0.35"),))
businesses = st.fixed_dictionaries(
    {"terms": terms, "small": small_plans, "trial_days": st.sampled_from((0, 0, 10)), "two": st.booleans()}
)
"""A customer with a plan that can change, and perhaps with a second subscription that shares the usage."""

hours = st.sampled_from((1, 5, 24, 24 * 7, 24 * 20, 24 * 31))
steps = st.one_of(
    st.tuples(st.just("use"), st.sampled_from(("call", "text", "text")), st.integers(0, 70 * 24), st.integers(-2, 9)),
    st.tuples(st.just("use"), st.sampled_from(("call", "text")), st.sampled_from((0, 1, 24)), st.integers(1, 9)),
    st.tuples(st.just("use at the edge"), st.sampled_from(("call", "text")), st.sampled_from((-1, 0)), st.just(3)),
    st.tuples(st.just("void usage"), st.integers(0, 99)),
    st.tuples(st.just("wait"), hours),
    st.tuples(st.just("wait"), hours),
    st.tuples(st.just("wait for the month's end")),
    st.tuples(st.just("close"), st.sampled_from(("ada", "second"))),
    st.tuples(st.just("grant"), st.integers(1, 12), st.none() | st.integers(1, 50)),
    st.tuples(st.just("debit"), st.integers(1, 6)),
    st.tuples(st.just("reprice"), st.sampled_from(("$0.50", "$2.00")), st.none() | st.integers(-40, 40)),
    st.tuples(st.just("plan"), st.sampled_from(("Small", "Large")), st.sampled_from(MODES), st.booleans()),
    st.tuples(st.just("change"), st.sampled_from(({"status": "paused"}, {"status": "active"}))),
    st.tuples(st.just("move the billing date"), st.integers(1, 40)),
    st.tuples(st.just("void an invoice"), st.integers(0, 9)),
    st.tuples(st.just("pay in"), st.sampled_from(("$1.00", "$40.00"))),
)


class Telling:
    """A random story as one world plays it, and everything that is seen after each step."""

    def __init__(self, world: World, business: Json) -> None:
        self._world = world
        self._business = business
        self._now = START
        self._sent: list[str] = []
        self.seen: list[Any] = []

    async def play(self, told: list[tuple[Any, ...]]) -> None:
        """Do step after step, and look around after each."""
        await self._open()
        for step in told:
            refused = None
            try:
                await self._do(*step)
            except Refused as refusal:
                refused = refusal.code
            self.seen.append((step, refused, await self._look()))

    async def _open(self) -> None:
        world, business = self._world, self._business
        await world.open(START, {"event_age_max": "none"})
        await world.meter("calls", "call", {"type": "count"}, None)
        await world.meter("texts", "text", {"type": "sum", "key": "n"}, None)
        await world.credits("points", business["terms"])
        for name, tariff in (("Small", business["small"]), ("Large", LARGE), ("Plain", PLAIN)):
            await world.product(name, tariff)
        await world.customer("ada", "UTC")
        await world.subscribe("ada", "ada", {"Small": 1}, "2026-03-01", business["trial_days"])
        if business["two"]:
            # Its cycles end at other minutes than those of the first: of two that end together either may close first.
            await self._wait(START + timedelta(minutes=7))
            await world.subscribe("second", "ada", {"Plain": 2}, None, 0)

    async def _do(self, kind: str, *given: Any) -> None:
        world, now = self._world, self._now
        month = now.replace(day=1, hour=0, minute=0)
        match kind, *given:
            case "use", name, back, n:
                await self._use(name, max(START, now - timedelta(hours=back)), n)
            case "use at the edge", name, edge, n:
                await self._use(name, max(START, month + edge * MICROSECOND), n)
            case "void usage", which if self._sent:
                await world.void_usage([self._sent[which % len(self._sent)]])
            case "wait", passing:
                await self._wait(now + timedelta(hours=passing))
            case ("wait for the month's end",):
                await self._wait((month + timedelta(days=31)).replace(day=1))
            case "close", name if name == "ada" or self._business["two"]:
                await world.close(name, None)
            case "grant", amount, days:
                await world.grant("ada", "points", str(amount), now + timedelta(days=days) if days else None)
            case "debit", amount:
                await world.debit("ada", "points", str(amount))
            case "reprice", each, days:
                small: Tariff = self._business["small"]
                changed = Tariff(small.fee, (per_unit("calls", each, 2), *small.prices[1:]), small.credits)
                await world.reprice("Small", changed, None if days is None else now + timedelta(days=days))
            case "plan", product, mode, at_next:
                await world.change_plan("ada", product, mode, at_next)
            case "change", members:
                await world.change("ada", members)
            case "move the billing date", days:
                await world.change("ada", {"next_billing_date": (now + timedelta(days=days)).isoformat()})
            case "void an invoice", which if invoices := await world.invoices():
                await world.void_invoice(which % len(invoices) + 1)
            case "pay in", amount:
                await world.pay_in("ada", money(amount))
            case _:
                pass

    async def _use(self, name: str, at: datetime, n: int) -> None:
        self._sent.append(f"e{len(self._sent)}")
        await self._world.use([Use(self._sent[-1], "ada", name, at, {"n": n})])

    async def _wait(self, until: datetime) -> None:
        await self._world.move_clock(until)
        self._now = until

    async def _look(self) -> Json:
        invoices = [(one["number"], one["status"], *self._read(one)) for one in await self._world.invoices()]
        estimates: list[Any] = []
        for name in ("ada", "second") if self._business["two"] else ("ada",):
            try:
                estimates.append(self._read(await self._world.estimate(name, None)))
            except Refused as refused:
                estimates.append(refused.code)
        balance = await self._world.balance("ada", "points")
        return {"invoices": invoices, "balance": balance, "estimates": estimates}

    def _read(self, document: Json) -> tuple[Any, ...]:
        lines = [read_line(self._world.name_of, line) for line in document["lines"]]
        amounts = [document[f"{name}_amount"] for name in ("subtotal", "wallet", "total")]
        return document.get("type"), document["cycle_start"], document["cycle_end"], lines, amounts


@pytest.fixture
async def own_dsn(engine: Engine) -> str:
    """The address of a database of its own."""
    return await new_database(engine, "worlds")


@pytest.fixture
def plant(own_dsn: str) -> Iterator[Plant]:
    running = Plant(own_dsn)
    yield running
    running.close()


def test_random_stories_end_the_same_in_both_worlds(plant: Plant) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    @given(business=businesses, told=st.lists(steps, min_size=5, max_size=25))
    def tell(business: Json, told: list[tuple[Any, ...]]) -> None:
        told = [*told, ("wait", 24 * 40)]
        driven = plant.tenant()
        try:
            in_domain, over_http = Telling(InDomain(), business), Telling(driven.world, business)
            asyncio.run(in_domain.play(told))
            driven.do(over_http.play(told))
            for one, other in zip(in_domain.seen, over_http.seen, strict=True):
                assert one == other
            assert driven.account("points", "ada")[1] == []
        finally:
            driven.close()

    tell()
