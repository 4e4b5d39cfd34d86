"""Random histories of a business: what happens to one customer's subscriptions, step by step."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
from asyncpg import Pool, Record
from hypothesis import strategies as st

from app.due import next_due
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
from domain.rating import LineKind, computation_of
from domain.subscription import Subscription
from domain.subscription_events import Status
from domain.tier import Tier, TierMode
from tests.app.shop import Shop, price_of, sms_line, sms_price
from tests.conftest import RULES, MovingClock


async def a_shop(pool: Pool[Record], clock: MovingClock) -> Shop:
    service = Service(pool, clock, RULES)
    tenant_id = f"t{uuid4().hex[:12]}"
    key_id, _ = await create_key(service, system_caller(tenant_id), scope="write")
    shop = Shop(service, Caller(tenant_id, key_id, "write", "test"))
    await shop.customer()
    return shop


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


PLAIN: dict[str, Any] = {
    "burn_order": BurnOrder.oldest,
    "overage": Overage(enabled=True, behavior=OverageBehavior.invoice_at_billing, limit=None),
    "rollover": Rollover(enabled=True, percentage=33, timeframe=None, max_count=None),
}
"""Credits as most would have them: what they do not cover is invoiced, and some of them rolls over."""


async def a_history(pool: Pool[Record], terms: dict[str, Any], included: tuple[int, int], days: int | None) -> History:
    """A shop with three products, of which Ada has taken four: in one month, in another, and on trial."""
    clock = MovingClock()
    shop = await a_shop(pool, clock)
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
    return history
