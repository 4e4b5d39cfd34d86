"""Whole histories: the estimate is the invoice, nobody overspends what is shared, and a rebuild finds the same rows.

In a database of its own, since a rebuild looks at every tenant there is.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from asyncpg import Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from app import subscribing
from app.database import connect_owner, open_pool
from app.due import next_due
from app.engine.launcher import Engine
from app.invoicing import void
from app.keys import create_key, system_caller
from app.reading_log import reading
from app.service import Caller, Service
from app.voiding import void_events
from domain import instant
from domain.cycle import Interval, Unit
from domain.entitlement import BurnOrder, Overage, OverageBehavior, Rollover
from domain.errors import Conflict, Insufficient
from domain.invoice import Document, DocumentType
from domain.plan import ChangeMode, OpenedCycle
from domain.price import MeterPrice, Price
from domain.rating import Line, LineKind, computation_of
from domain.subscription import Subscription
from domain.subscription_events import Status
from domain.tier import Tier, TierMode
from projections.rebuild import rebuild
from tests.app.shop import Shop, price_of, sms_line, sms_price
from tests.conftest import RULES, MovingClock
from tests.projections.histories import new_database

EXAMPLES = int(os.environ.get("TAXIMETER_TEST_EXAMPLES", "6"))
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    return await new_database(engine, "reckoning")


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as pool:
        yield pool


async def a_shop(pool: Pool[Record], clock: MovingClock) -> Shop:
    service = Service(pool, clock, RULES)
    tenant_id = f"t{uuid4().hex[:12]}"
    key_id, _ = await create_key(service, system_caller(tenant_id), scope="write")
    shop = Shop(service, Caller(tenant_id, key_id, "write", "test"))
    await shop.customer()
    return shop


# Random histories.


@dataclass
class History:
    """A shop, Ada's subscriptions, and every document that was issued."""

    shop: Shop
    clock: MovingClock
    subscriptions: list[str] = field(default_factory=list[str])
    documents: list[Document] = field(default_factory=list[Document])
    events: dict[str, tuple[datetime, int]] = field(default_factory=dict[str, tuple[datetime, int]])

    async def cycles(self, subscription_id: str) -> list[OpenedCycle]:
        async with reading(self.shop.service, self.shop.caller, latest=True) as aggregates:
            return [one for one in (await aggregates.get(Subscription, subscription_id)).cycles if not one.invoice_id]

    async def do(self, what: str, which: int, amount: int) -> None:
        """One thing happens; what is refused for a reason that a user is told changes nothing."""
        subscription_id = self.subscriptions[which % len(self.subscriptions)]
        with suppress(Conflict, Insufficient):
            match what:
                case "use":
                    at = self.clock.now - timedelta(hours=amount * 7 % 800)
                    self.events |= {f"e{self.shop.sent + number}": (at, amount - 3) for number in range(which + 1)}
                    await self.shop.use(*[at] * (which + 1), metadata=f'{{"n": {amount - 3}}}')
                case "retract":
                    await void_events(self.shop.service, self.shop.caller, [f"e{amount}"], "")
                    self.events.pop(f"e{amount}", None)
                case "credit":
                    expires = self.clock.now + timedelta(days=which * 9, hours=amount) if which else None
                    await self.shop.credit(str(amount + 1), expires)
                case "debit":
                    await self.shop.debit(f"{amount + 1}.25")
                case "pay_in":
                    await self.shop.pay_in(amount * 5)
                case "pass":
                    self.clock.advance(days=amount)
                case "replan":
                    product, mode = ("api", "beside", "free")[amount % 3], list(ChangeMode)[amount % 5]
                    await self.shop.replan(subscription_id, product, mode)
                case "pause":
                    await self.shop.change(subscription_id, status=Status.paused)
                    self.clock.advance(days=amount % 3)
                    await self.shop.change(subscription_id, status=Status.active)
                case "void":
                    if self.documents:
                        voided = self.documents[amount % len(self.documents)]
                        await void(self.shop.service, self.shop.caller, str(voided.invoice_id), None)
                case "due":
                    self.documents += await self.shop.close_due()
                case _:
                    await self.close(subscription_id, amount)
        await self.shop.credits()

    async def close(self, subscription_id: str, amount: int) -> None:
        """Close some cycle that is not closed; its estimate of before its end is the invoice."""
        cycles = await self.cycles(subscription_id)
        if not cycles:
            return
        cycle = cycles[amount % len(cycles)]
        expected = await self.shop.estimate(subscription_id, cycle.start)
        self.clock.now = max(self.clock.now, cycle.end)
        document = await self.shop.close(subscription_id, cycle.start)
        self.documents.append(document)
        for name in ("lines", "subtotal_amount", "wallet_amount", "total_amount", "replaces", "position"):
            assert getattr(document, name) == getattr(expected, name), name

    async def let_pass(self, days: int, on_time: bool) -> None:
        """Let days pass; on time, whatever ends on the way is closed when its grace period is over."""
        until = self.clock.now + timedelta(days=days)
        while on_time:
            due = await next_due(self.shop.service, self.shop.tenant_id, self.clock.now, RULES.close_grace)
            if due is None or due > until:
                break
            self.clock.now = due
            self.documents += await self.shop.close_due()
        self.clock.now = until

    async def check_invoiced(self) -> None:
        """All documents that stand come to the usage there is, and to its price as it was last computed."""
        rows = await self.shop.service.pool.fetch(
            "select document from invoice where tenant_id = $1 and status <> 'void' order by position",
            self.shop.tenant_id,
        )
        standing = [msgspec.json.decode(row["document"], type=Document) for row in rows]
        for own in (document for document in standing if document.type is DocumentType.invoice):
            for key in {(line.product_id, line.meter_id) for line in own.lines if line.kind is LineKind.usage}:
                self.check_line(own, key, [document for document in standing if of_one(document, own)])

    def check_line(self, own: Document, key: tuple[str, str | None], standing: list[Document]) -> None:
        lines = [line for line in own.lines if (line.product_id, line.meter_id) == key]
        first = computation_of(lines)
        corrections = [
            line
            for document in standing
            for line in document.lines
            if line.cycle_start == own.cycle_start and (line.product_id, line.meter_id) == key
        ]
        start, end = instant.parse(own.cycle_start), instant.parse(own.cycle_end)
        inside = [amount for at, amount in self.events.values() if start <= at < end]
        used = len(inside) if key[1] == "calls" else sum(inside)
        assert sum(Decimal(each.consumed_units) for each in (first, *corrections)) == used
        latest = corrections[-1].after if corrections else first
        assert latest is not None
        assert first.amount + sum(line.amount for line in corrections) == latest.amount


def of_one(document: Document, own: Document) -> bool:
    return document.subscription_id == own.subscription_id


def product(meters: tuple[MeterPrice, ...], included: str, terms: dict[str, Any]) -> Price:
    return sms_price(included, *meters, fixed_price=100, **terms)


TIERS = (Tier(up_to="3", price_per_unit="2"), Tier(up_to=None, price_per_unit="0.5", fixed_price=7))
BARE = sms_line("tokens", None, meter_units_per_credit="3", free_threshold="1")
TIERED = sms_line("calls", None, tier_mode=TierMode.graduated, tiers=TIERS)

RARE = ("retract", "credit", "debit", "pay_in", "replan", "pause", "due")
OFTEN = ("use", "use", "pass", "void", "close")
steps = st.lists(
    st.tuples(st.sampled_from((*OFTEN, *OFTEN, *RARE)), st.integers(0, 3), st.integers(0, 20)),
    min_size=6,
    max_size=22,
)
terms = st.fixed_dictionaries(
    {
        "burn_order": st.sampled_from(BurnOrder),
        "overage": st.builds(
            Overage,
            enabled=st.booleans(),
            behavior=st.sampled_from(OverageBehavior),
            limit=st.sampled_from([None, "0", "2.5", "6"]),
        ),
        "rollover": st.builds(
            Rollover,
            enabled=st.booleans(),
            percentage=st.sampled_from([None, 33, 100]),
            timeframe=st.sampled_from([None, Interval(count=10, unit=Unit.Day)]),
            max_count=st.sampled_from([None, 0, 1, 2]),
        ),
    }
)


@settings(max_examples=EXAMPLES)
@given(
    terms=terms, included=st.tuples(st.integers(0, 9), st.integers(0, 9)), days=st.sampled_from([None, 12]), story=steps
)
async def test_the_estimate_is_the_invoice_whatever_happened(
    shared_pool: Pool[Record],
    terms: dict[str, Any],
    included: tuple[int, int],
    days: int | None,
    story: list[tuple[str, int, int]],
) -> None:
    clock = MovingClock()
    shop = await a_shop(shared_pool, clock)
    await shop.entitle(currency="USD", price_per_unit="1.5", **terms)
    await shop.open(product((sms_line(), BARE), str(included[0]), {"expires_after_days": days}))
    await shop.sell("beside", product((BARE, TIERED), str(included[1]), {}))
    await shop.sell("free", price_of(meters=(MeterPrice(meter_id="tokens", price_per_unit="1"),)))
    history = History(shop, clock)
    history.subscriptions = [
        await shop.subscribe(anchor=date(2026, 2, 10)),
        await shop.subscribe(products=["beside", "api"]),
        await shop.subscribe(products=["free"], anchor=None, trial_days=4),
    ]
    for step in story:
        await history.do(*step)
    clock.advance(days=40)
    for subscription_id in history.subscriptions:
        await history.close(subscription_id, 0)
    history.documents += await shop.close_due()
    await shop.credits()
    assert await shop.close_due() == []
    await history.check_invoiced()


@settings(max_examples=EXAMPLES)
@given(
    terms=terms,
    included=st.integers(0, 9),
    story=st.lists(
        st.tuples(st.sampled_from(["use", "use", "credit", "debit", "pass"]), st.integers(0, 3), st.integers(0, 12)),
        min_size=6,
        max_size=16,
    ),
)
async def test_closing_late_gives_the_lines_of_closing_on_time(
    shared_pool: Pool[Record], terms: dict[str, Any], included: int, story: list[tuple[str, int, int]]
) -> None:
    """Two shops live through the same; one closes each cycle as it ends, the other all of them in the end."""
    histories = [await twin(shared_pool, terms, included) for _ in range(2)]
    for what, which, amount in story:
        for on_time, history in enumerate(histories):
            if what == "use":
                await history.shop.use(*[history.clock.now] * (which + 1), metadata=f'{{"n": {amount - 3}}}')
            elif what == "pass":
                await history.let_pass(amount, bool(on_time))
            else:
                await history.do(what, which, amount)
    lines: list[dict[tuple[str, str], tuple[Line, ...]]] = []
    for on_time, history in enumerate(histories):
        await history.let_pass(70, bool(on_time))
        history.documents += await history.shop.close_due()
        lines.append({(one.subscription_id, one.cycle_start): one.lines for one in history.documents})
    assert lines[0] == lines[1]
    assert await histories[0].shop.balance() == await histories[1].shop.balance()


async def twin(pool: Pool[Record], terms: dict[str, Any], included: int) -> History:
    """A shop whose subscriptions have the ids of the other's: those decide who draws first."""
    clock = MovingClock()
    history = History(await a_shop(pool, clock), clock)
    await history.shop.entitle(currency="USD", price_per_unit="1.5", **terms)
    await history.shop.open(product((sms_line(), BARE), str(included), {}))
    with pytest.MonkeyPatch.context() as patch:
        for number, anchor in enumerate((date(2026, 3, 1), date(2026, 3, 5), date(2026, 3, 1))):
            patch.setattr(subscribing, "new_id", lambda _, name=f"sub_{number}": name)
            history.subscriptions.append(await history.shop.subscribe(anchor=anchor))
    return history


async def test_a_rebuild_finds_the_rows_that_these_histories_left(dsn: str, shared_pool: Pool[Record]) -> None:
    tenants = await shared_pool.fetchval("select count(*) from tenant")
    assert tenants > 0
    connection = await connect_owner(dsn)
    try:
        assert await rebuild(connection, lambda *_: None, swap=False) == []
    finally:
        await connection.close()
