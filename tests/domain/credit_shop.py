"""One customer with credits, in memory: cycles, usage, closes, corrections and voids, a day at a time.

It does what the service does with the domain, without a log: claims from usage, burns and rollovers at a close.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from domain.burn import LineKey
from domain.claim import Claim, ClaimKey, OverageTerms, Step
from domain.credit_account import CreditAccount
from domain.credit_ledger import check
from domain.cycle import Anchor, Interval, Unit
from domain.entitlement import BurnOrder, OverageBehavior
from domain.grant import Calendar, GrantedCycle, RolloverTerms
from domain.settlement import Settlement, instants, settle


def day(number: int | Decimal) -> datetime:
    """Noon of no zone: day 0 is 1 January 2026, UTC; a fraction is a time of the day."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(Decimal(number) * 86_400_000_000))


@dataclass(frozen=True)
class Meter:
    """A credit line of a subscription. Without ``behavior`` it has a price, or its overage is off."""

    name: str
    units_per_credit: Decimal = Decimal(1)
    behavior: OverageBehavior | None = None
    limit: Decimal | None = None


@dataclass
class Subscription:
    """Cycles of ``days`` days from day ``start`` on, with credits included in each."""

    name: str
    start: int
    days: int
    included: Decimal
    meters: tuple[Meter, ...]
    percentage: int | None = None
    max_count: int | None = None
    timeframe: int | None = None
    expires_after: int | None = None
    closed: dict[int, str] = field(default_factory=dict[int, str])

    def span(self, index: int) -> tuple[datetime, datetime]:
        return day(self.start + index * self.days), day(self.start + (index + 1) * self.days)

    def begun(self, now: datetime) -> list[int]:
        return [index for index in range(400) if self.span(index)[0] <= now]

    def terms(self, index: int) -> RolloverTerms | None:
        if self.percentage is None:
            return None
        anchor, interval = Anchor(instant=day(self.start)), Interval(self.days, Unit.Day)
        return RolloverTerms(
            calendar=Calendar(anchor=anchor, interval=interval, zone="UTC", index=index + 1),
            percentage=self.percentage,
            max_count=self.max_count,
            timeframe=self.timeframe and Interval(self.timeframe, Unit.Day),
        )


class CreditShop:
    """``usage`` is (instant, meter, amount); a cycle counts what happened in it, whenever it was recorded."""

    def __init__(self, *subscriptions: Subscription, precision: int = 2, order: BurnOrder = BurnOrder.oldest) -> None:
        self.account = CreditAccount.open("cde_1", "cus_1", precision, day(0))
        self.subscriptions = {subscription.name: subscription for subscription in subscriptions}
        self.order = order
        self.now = day(0)
        self.usage: list[tuple[datetime, str, Decimal]] = []
        self.late: set[tuple[str, int]] = set()
        self.invoices: list[tuple[str, str, int]] = []
        self.made = 0
        self.move_to(0)

    def new_id(self, kind: str) -> str:
        self.made += 1
        return f"{kind}_{self.made}"

    def move_to(self, number: int | Decimal) -> None:
        """Let time pass; cycles that begin are granted their credits, in the order of their starts."""
        self.now = max(self.now, day(number))
        begun = [(sub.span(index), sub, index) for sub in self.subscriptions.values() for index in sub.begun(self.now)]
        for (start, end), sub, index in sorted(begun, key=lambda one: (one[0][0], one[1].name)):
            lasts = None if sub.expires_after is None else start + timedelta(days=sub.expires_after)
            self.account.grant_cycle(
                f"{sub.name}-{index}",
                amount=sub.included,
                cycle=GrantedCycle(subscription_id=sub.name, product_id="pdt", start=start, end=end),
                lasts_until=lasts,
                rollover=sub.terms(index),
                at=self.now,
            )

    def use(self, meter: str, amount: int | Decimal, at: datetime | None = None) -> None:
        """Usage, now or earlier; of a closed cycle it is late."""
        at = at or self.now
        self.usage.append((at, meter, Decimal(amount)))
        for sub in self.subscriptions.values():
            if meter in {line.name for line in sub.meters}:
                self.late |= {
                    (sub.name, index) for index in sub.closed if sub.span(index)[0] <= at < sub.span(index)[1]
                }

    def quantity(self, meter: str, start: datetime, until: datetime) -> Decimal:
        return sum((amount for at, name, amount in self.usage if name == meter and start <= at < until), Decimal(0))

    def claims(self) -> list[Claim]:
        """The open cycles that have begun, and the closed ones with late usage."""
        return [
            self.claim(sub, index, place)
            for sub in self.subscriptions.values()
            for index in sub.begun(self.now)
            if index not in sub.closed or (sub.name, index) in self.late
            for place in range(len(sub.meters))
        ]

    def claim(self, sub: Subscription, index: int, place: int) -> Claim:
        meter, (start, end) = sub.meters[place], sub.span(index)
        untils = [*instants(self.account, start, end), end]
        return Claim(
            key=self.key(sub.name, index, place),
            units_per_credit=meter.units_per_credit,
            steps=tuple(Step(until, max(Decimal(0), self.quantity(meter.name, start, until))) for until in untils),
            burn_order=self.order,
            overage=meter.behavior and OverageTerms(behavior=meter.behavior, limit=meter.limit),
            closed=index in sub.closed,
        )

    def key(self, name: str, index: int, place: int = 0) -> ClaimKey:
        sub = self.subscriptions[name]
        start, end = sub.span(index)
        return ClaimKey(end, name, place, start, "pdt", sub.meters[place].name)

    def settled(self) -> Settlement:
        return settle(self.account, self.claims(), self.now)

    def close(self, name: str, index: int) -> str:
        """Close a cycle that has ended, whatever cycles are open before it."""
        sub, settlement = self.subscriptions[name], self.settled()
        start, end = sub.span(index)
        assert end <= self.now
        invoice = self.new_id("inv")
        self.account.burn(
            invoice,
            subscription_id=name,
            cycle=(start, end),
            lines=settlement.burn_lines(name, start),
            at=self.now,
        )
        self.account.roll_over(settlement.rollovers_of(name, start, end), invoice, self.now)
        sub.closed[index] = invoice
        self.invoices.append((invoice, name, index))
        return invoice

    def correct(self, name: str, index: int) -> None:
        """Settle a closed cycle with its late usage, on an invoice of its own."""
        sub, settlement = self.subscriptions[name], self.settled()
        start, end = sub.span(index)
        self.account.burn(
            self.new_id("inv"),
            subscription_id=name,
            cycle=(start, end),
            lines=settlement.burn_lines(name, start),
            at=self.now,
        )
        self.late.discard((name, index))

    def void(self, name: str, index: int) -> None:
        sub = self.subscriptions[name]
        self.account.return_burns(sub.closed.pop(index), self.now)
        self.late.discard((name, index))

    def debit(self, amount: Decimal) -> None:
        free = self.settled().free(self.now, self.order)
        self.account.debit(self.new_id("cle"), amount=amount, free=free, at=self.now)

    def drawn(self) -> dict[LineKey, dict[str, Decimal]]:
        """What each line draws of which grant, by closed burns and open claims together."""
        settlement = self.settled()
        lines = {key: dict(line.draws) for key, line in settlement.standing.items()}
        lines |= {key.line_key: settled.by_grant() for key, settled in settlement.by_key.items()}
        return {key: {grant: drawn for grant, drawn in draws.items() if drawn} for key, draws in lines.items() if draws}

    def overage(self) -> dict[LineKey, Decimal]:
        """What is counted as overage of each line."""
        settlement = self.settled()
        counted = {key: line.overage for key, line in settlement.standing.items()}
        counted |= {key.line_key: settled.overage for key, settled in settlement.by_key.items()}
        return {key: amount for key, amount in counted.items() if amount}

    def problems(self) -> list[str]:
        """What the ledger's check and the bounds of every grant find wrong."""
        settlement = self.settled()
        found = check(self.account, settlement, self.now)
        found += [f"{one} holds {left}" for one, left in settlement.remaining.items() if left < 0]
        found += [
            f"{one} holds {left} of {settlement.grants[one].amount}"
            for one, left in settlement.remaining.items()
            if left > settlement.grants[one].amount
        ]
        return found
