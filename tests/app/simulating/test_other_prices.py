"""Any history with any other prices, against a plain computation that knows nothing of simulations.

What a simulation says is what a business would have billed that had those prices from the beginning and knew all usage
in time. That business is the naive one of the scenarios: exact fractions, and not a line of the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.due import next_due
from app.voiding import void_events
from domain import instant
from domain.comparison import SimulatedCycle
from domain.invoice import Document
from domain.price import IncludedCredits, MeterPrice, Price
from domain.proposal import ProductChange, Proposal
from domain.rating import LineKind
from tests.app.business import a_shop
from tests.app.shop import APRIL, MARCH, Shop, price_of, sms_line
from tests.app.simulating.asking import cycles_of
from tests.conftest import RULES, MovingClock
from tests.scenarios import naive
from tests.scenarios.naive import Business

HISTORY_DAYS = 100
"""March, April and May, and a part of June that is still open."""


@dataclass(frozen=True)
class Line:
    """What a unit costs and how many are free, as the API is told."""

    free: str
    each: str

    @property
    def plain(self) -> tuple[Fraction, Fraction]:
        return Fraction(self.free), Fraction(self.each)


@dataclass(frozen=True)
class Tariff:
    """A fee, credits that are included, a price of calls, and one of tokens that credits do not cover."""

    fee: int
    credits: int
    calls: Line
    tokens: Line

    @property
    def plain(self) -> naive.Price:
        return naive.Price(self.fee, self.credits, {"calls": self.calls.plain, "texts": self.tokens.plain})

    @property
    def meters(self) -> dict[str, MeterPrice]:
        calls, tokens = self.calls, self.tokens
        units = str(naive.UNITS_PER_CREDIT)
        return {
            "calls": MeterPrice(meter_id="calls", price_per_unit=calls.each, free_threshold=calls.free),
            "tokens": sms_line("tokens", tokens.each, free_threshold=tokens.free, meter_units_per_credit=units),
        }

    @property
    def included(self) -> tuple[IncludedCredits, ...]:
        amount = str(self.credits)
        return (IncludedCredits(credit_entitlement_id="sms", credits_amount=amount),) if self.credits else ()

    @property
    def price(self) -> Price:
        return price_of(fixed_price=self.fee, meters=tuple(self.meters.values()), credits=self.included)


@dataclass
class Lived:
    """A shop, and the plain record of what its one customer did."""

    shop: Shop
    clock: MovingClock
    events: dict[str, tuple[datetime, Fraction]] = field(default_factory=dict[str, tuple[datetime, Fraction]])
    grants: list[naive.Grant] = field(default_factory=list[naive.Grant])

    async def do(self, what: str, amount: int, days: int) -> None:
        """One thing happens, some time after the one before, and what is due is closed on time."""
        await self.pass_time(timedelta(days=days if what == "pass" else 0, minutes=7))
        shop, now = self.shop, self.clock.now
        match what:
            case "use":
                await self.use(now - timedelta(hours=days), amount)
            case "late":
                await self.use(now - timedelta(days=2 * days), amount)
            case "retract" if self.events:
                event_id = sorted(self.events)[amount % len(self.events)]
                await void_events(shop.service, shop.caller, [event_id], "")
                del self.events[event_id]
            case "credit":
                expires = now + timedelta(days=days + 1)
                await shop.credit(str(abs(amount) + 1), expires)
                self.grants.append(naive.Grant(now, expires, abs(amount) + 1))
            case _:
                pass

    async def use(self, at: datetime, amount: int) -> None:
        n = Fraction(amount, 2)
        self.events[f"e{self.shop.sent}"] = (at, n)
        await self.shop.use(at, metadata=f'{{"n": {Decimal(amount) / 2}}}')

    async def pass_time(self, time: timedelta) -> None:
        until = self.clock.now + time
        while True:
            due = await next_due(self.shop.service, self.shop.tenant_id, self.clock.now, RULES.close_grace)
            if due is None or due > until:
                break
            self.clock.now = due
            await self.shop.close_due()
        self.clock.now = until

    def billed(self, *prices: naive.Price) -> dict[datetime, naive.Cycle]:
        """What a business with these prices, of March and from April on, would have billed had it known all in time."""
        plain = Business(MARCH, list(zip((MARCH, APRIL), prices, strict=True)))
        for event_id, (at, n) in self.events.items():
            plain.events[f"{event_id} calls"] = naive.Event("calls", at, n)
            plain.events[f"{event_id} texts"] = naive.Event("texts", at, n)
        while plain.now <= self.clock.now:
            plain.begin()
            plain.now = plain.cycles[-1].end
        plain.grants += [replace(grant) for grant in self.grants]
        for _ in plain.cycles:
            plain.bill()
        return {cycle.start: cycle for cycle in plain.cycles}


def told(document: Document) -> dict[str, naive.Computed | int]:
    """What an invoice says of its fee and of each meter."""
    found: dict[str, naive.Computed | int] = {}
    for line in document.lines:
        if line.kind is LineKind.fixed:
            found["fee"] = line.amount
        else:
            assert (line.kind, line.meter_id in found) == (LineKind.usage, False)
            units = (line.consumed_units, line.free_units, line.credit_units, line.paid_units)
            found[str(line.meter_id)] = (*(Fraction(one) for one in units), line.amount)  # type: ignore[assignment]
    return found


def plainly(cycle: naive.Cycle) -> dict[str, naive.Computed | int]:
    """The same of a cycle that the naive business billed."""
    assert cycle.price is not None
    fee: dict[str, naive.Computed | int] = {"fee": cycle.price.fee} if cycle.price.fee else {}
    return {**fee, "calls": cycle.billed["calls"], "tokens": cycle.billed["texts"]}


frees = st.sampled_from(("0", "1", "2.5", "6"))
prices = st.sampled_from(("0", "0.5", "1", "1.25", "3.333", "40"))
lines = st.builds(Line, frees, prices)
tariffs = st.builds(Tariff, st.integers(0, 500), st.integers(0, 4), lines, lines)
PARTS = ("fee", "credits", "calls", "tokens", "calls threshold", "tokens threshold")
parts = st.sets(st.sampled_from(PARTS), min_size=1)
steps = st.lists(
    st.tuples(
        st.sampled_from(("use", "use", "use", "late", "late", "pass", "pass", "retract", "credit")),
        st.integers(-3, 12),
        st.integers(0, 16),
    ),
    min_size=8,
    max_size=24,
)


def other(tariff: Tariff, wanted: Tariff, parts: set[str]) -> Tariff:
    """A tariff with some parts of another one."""
    changed = tariff
    if "calls threshold" in parts:
        changed = replace(changed, calls=replace(changed.calls, free=wanted.calls.free))
    if "tokens threshold" in parts:
        changed = replace(changed, tokens=replace(changed.tokens, free=wanted.tokens.free))
    return replace(
        changed, **{part: getattr(wanted, part) for part in ("fee", "credits", "calls", "tokens") if part in parts}
    )


def proposal(wanted: Tariff, parts: set[str]) -> Proposal:
    """What asks for these parts."""
    change = ProductChange(
        fixed_price=wanted.fee if "fee" in parts else None,
        credits=wanted.included if "credits" in parts else None,
        meters=tuple(wanted.meters[part] for part in ("calls", "tokens") if part in parts),
        thresholds={
            name: line.free
            for name, line in (("calls", wanted.calls), ("tokens", wanted.tokens))
            if f"{name} threshold" in parts
        },
    )
    return Proposal({"api": change})


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tariffs, tariffs, tariffs, parts, steps)
async def test_it_is_what_would_have_been_billed(
    pool: Pool[Record],
    first: Tariff,
    later: Tariff,
    wanted: Tariff,
    parts: set[str],
    steps: list[tuple[str, int, int]],
) -> None:
    clock = MovingClock()
    lived = Lived(await a_shop(pool, clock), clock)
    await lived.shop.entitle(precision=0)
    await lived.shop.open(first.price)
    await lived.shop.reprice(later.price, APRIL)
    await lived.shop.subscribe()
    for step in steps:
        await lived.do(*step)
    await lived.pass_time(max(timedelta(), MARCH + timedelta(days=HISTORY_DAYS) - clock.now))
    cycles = await cycles_of(lived.shop, proposal(wanted, parts))
    as_is = lived.billed(first.plain, later.plain)
    as_would_be = lived.billed(*(other(tariff, wanted, parts).plain for tariff in (first, later)))
    assert {start_of(one) for one in cycles} == as_is.keys()
    for one in cycles:
        assert told(one.current) == plainly(as_is[start_of(one)])
        assert told(one.proposed) == plainly(as_would_be[start_of(one)])


def start_of(one: SimulatedCycle) -> datetime:
    return instant.parse(one.current.cycle_start)
