"""One customer's open cycles, held in memory: read once in full, then moved on by each event of usage.

What is held is what the estimate is reckoned from: the facts of each cycle, its credit accounts with their claims, and
what every meter counted between the instants that matter. An event only adds to the counts; the same pure functions
that rate an invoice then give the new estimate. Whatever else may change an estimate makes the customer be read anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from app.crediting import AccountView, steps_of, subscriptions_of
from app.live.standing import CycleStanding, MeterQuantity, Standing
from app.opening import open_cycles
from app.reading_log import reading
from app.reckoning import Reckoning, line_credits, reckon, wallet_balance
from app.service import Caller, Service
from domain import number
from domain.aggregation import Aggregation
from domain.customer import Customer
from domain.invoice import Document, Subject, compose
from domain.plan import OpenedCycle
from domain.rating import ZERO, CycleFacts, MeterUsage, rate
from domain.settlement import settle
from domain.subscription import Status, Subscription
from projections.aggregates import Aggregates, Span, known
from projections.counting import CountedMeter, Metadata, NamedMeters, by_event_name
from projections.database import Row
from projections.rating_facts import LineCredits, MeterKey
from projections.usage import Measured

DISTINCT_MAX = 10_000
"""Distinct values of `unique` meters that are held for one customer: about a megabyte. With more it is read anew at
each change."""


NOTED_MAX = 1_000
"""Events that are noted before they are counted; more would only take memory."""


class _HeldCycle(msgspec.Struct):
    reckoning: Reckoning
    subject: Subject
    cycle: OpenedCycle
    wallet_balance: int
    standing: CycleStanding
    changed: int


class HeldCustomer:
    """A customer as of ``position``. ``stale`` says that it has to be read anew before it is shown again, ``owed`` that
    it is different from what was offered last.

    Events are noted as they come and counted together, when the customer is next shown.
    """

    def __init__(self, known_at: Aggregates, customer_id: str, cycles: Sequence[_HeldCycle]) -> None:
        self.customer_id = customer_id
        self.position = known_at.position
        self.stale = False
        self.owed = False
        self.left = 0
        self.read_again_at: datetime | None = None
        self.objects: set[str] = set()
        self._cycles = cycles
        self._measures: Mapping[Span, list[Measured]] = known_at.measures
        # By meter, beside the same by whole spans: hashing the instants of a span for each event would cost the most.
        self._parts: dict[str, list[tuple[Sequence[datetime], list[Measured]]]] = {}
        for span, parts in known_at.measures.items():
            self._parts.setdefault(span[0], []).append((span[2], parts))
        self._meters: Mapping[str, NamedMeters] = {}
        self._aggregations: Mapping[str, Aggregation] = {}
        self._closed_until: datetime | None = None
        self._countable = True
        self._touched = False
        self._noted: list[Row] = []

    def learn(self, meters: Collection[CountedMeter], subscriptions: Sequence[Subscription]) -> None:
        """Take in what tells which event counts where, and what the customer's estimates depend on."""
        self._meters = by_event_name(meters)
        self._aggregations = {meter.meter_id: meter.aggregation for meter in meters}
        closed = [cycle.end for one in subscriptions for cycle in one.cycles if cycle.invoice_id is not None]
        self._closed_until = max(closed, default=None)
        for held in self._cycles:
            reckoning = held.reckoning
            self.objects.update(item.product_id for item in held.cycle.items)
            self.objects.update(line.meter_id for line in held.standing.meters)
            self.objects.update(view.entitlement.object_id for view in reckoning.accounts)
            self._countable &= not reckoning.late and not reckoning.facts.adjustments
        distinct = sum(len(part.distinct) for parts in self._measures.values() for part in parts)
        self._countable &= distinct <= DISTINCT_MAX

    @property
    def standing(self) -> Standing:
        """What the customer stands at. What did not change since is as true at this position."""
        return Standing(
            customer_id=self.customer_id,
            position=self.position,
            cycles=tuple(_at(held.standing, self.position) for held in self._cycles),
            changed=tuple(held.changed for held in self._cycles),
            left=self.left,
        )

    def note(self, row: Row) -> None:
        """Take in one event of the customer that was recorded after ``position``; in order of position."""
        self._noted.append(row)
        if len(self._noted) >= NOTED_MAX:
            self.catch_up()

    def catch_up(self) -> bool:
        """Count what was noted. False when the customer has to be read anew.

        An event that no open cycle counts may be late usage of a closed one: then the customer is stale.
        """
        noted, self._noted = self._noted, []
        for row in noted:
            if self.stale:
                break
            self._count_row(row)
        return not self.stale

    def _count_row(self, row: Row) -> None:
        named = self._meters.get(row["event_name"])
        if named is None:
            return
        metadata = named.read(row["metadata"])
        for meter in named.meters:
            if meter.counts(row["position"], metadata):
                self._count(meter, row, metadata)

    def _count(self, meter: CountedMeter, row: Row, metadata: Metadata) -> None:
        at = row["timestamp"]
        if not self._countable or (self._closed_until is not None and at < self._closed_until):
            self.stale = True
            return
        for edges, parts in self._parts.get(meter.meter_id, ()):
            if edges[0] <= at < edges[-1]:
                parts[bisect_right(edges, at) - 1].add(meter.aggregation, at, row["position"], metadata)
                self._touched = True

    def restate(self, position: int) -> bool:
        """Reckon the cycles with what was noted, all there is up to ``position``. Says whether anything is different.

        A customer that has to be read anew stays what it was.
        """
        if not self.catch_up():
            return False
        self.position = max(self.position, position)
        if not self._touched:
            return False
        self._touched = False
        changed = False
        for held in self._cycles:
            standing = self._restated(held)
            if differs(standing, held.standing):
                held.standing, held.changed, changed = standing, self.position, True
        self.owed |= changed
        return changed

    def _restated(self, held: _HeldCycle) -> CycleStanding:
        reckoning = held.reckoning
        accounts = [self._resettled(view) for view in reckoning.accounts]
        credits = line_credits(accounts, reckoning.subscription.object_id, held.cycle.start)
        facts = self._recounted(reckoning.facts, credits)
        document = compose(
            held.subject,
            rate(facts),
            wallet_balance=held.wallet_balance,
            position=self.position,
            issue=None,
        )
        return cycle_standing(document, facts)

    def _recounted(self, facts: CycleFacts, credits: Mapping[MeterKey, LineCredits]) -> CycleFacts:
        span = (facts.start, facts.end)
        products = [
            msgspec.structs.replace(
                product,
                usage=tuple(
                    self._usage(usage, span, credits.get((product.product_id, usage.price.meter_id)))
                    for usage in product.usage
                ),
            )
            for product in facts.products
        ]
        return msgspec.structs.replace(facts, products=tuple(products))

    def _usage(self, usage: MeterUsage, span: tuple[datetime, ...], drawn: LineCredits | None) -> MeterUsage:
        meter_id = usage.price.meter_id
        (measured,) = self._measures[meter_id, self.customer_id, span]
        return MeterUsage(
            name=usage.name,
            measurement_unit=usage.measurement_unit,
            price=usage.price,
            consumed=measured.quantity(self._aggregations[meter_id]),
            credits=drawn.credits if drawn else ZERO,
            overage=drawn.overage if drawn else None,
        )

    def _resettled(self, view: AccountView) -> AccountView:
        claims = [
            msgspec.structs.replace(
                claim,
                steps=steps_of(
                    view.sources[claim.key],
                    self._measures[claim.key.meter_id, self.customer_id, view.sources[claim.key].edges],
                ),
            )
            for claim in view.settlement.claims
        ]
        return msgspec.structs.replace(view, settlement=settle(view.account, claims, view.at))

    def follow(self, before: HeldCustomer) -> bool:
        """Carry on from what was held before this was read. Says whether anything is different."""
        earlier = {(one.standing.subscription_id, one.standing.cycle_start): one for one in before._cycles}
        changed = False
        for held in self._cycles:
            old = earlier.pop((held.standing.subscription_id, held.standing.cycle_start), None)
            if old is not None and not differs(held.standing, old.standing):
                held.changed = old.changed
            else:
                changed = True
        self.left = self.position if earlier else before.left
        return changed or bool(earlier)


def _at(standing: CycleStanding, position: int) -> CycleStanding:
    if standing.estimate.position == position:
        return standing
    estimate = msgspec.structs.replace(standing.estimate, position=position)
    return msgspec.structs.replace(standing, estimate=estimate)


def differs(one: CycleStanding, other: CycleStanding) -> bool:
    """Whether two standings of a cycle differ in more than their position."""
    if one.meters != other.meters or one.cycle_end != other.cycle_end:
        return True
    return msgspec.structs.replace(one.estimate, position=other.estimate.position) != other.estimate


def cycle_standing(document: Document, facts: CycleFacts) -> CycleStanding:
    """A cycle as it is shown: each meter's quantity once, and the estimate."""
    quantities = {
        usage.price.meter_id: number.plain(usage.consumed) for product in facts.products for usage in product.usage
    }
    return CycleStanding(
        subscription_id=document.subscription_id,
        cycle_start=document.cycle_start,
        cycle_end=document.cycle_end,
        meters=tuple(MeterQuantity(meter_id, quantity) for meter_id, quantity in quantities.items()),
        estimate=document,
    )


def shown_cycles(subscription: Subscription) -> list[OpenedCycle]:
    """The cycles that are shown: the earliest that is not closed, which the next invoice is for, and the newest."""
    unclosed = [cycle for cycle in subscription.cycles if cycle.invoice_id is None]
    return unclosed[:1] if len(unclosed) < 2 else [unclosed[0], unclosed[-1]]


async def hold(service: Service, caller: Caller, customer_id: str) -> HeldCustomer:
    """Read a customer in one snapshot of the database, as of the projected position. One without cycles holds none."""
    async with reading(service, caller) as aggregates:
        subscriptions = await subscriptions_of(aggregates, customer_id)
        for subscription in subscriptions:
            await open_cycles(aggregates, subscription, aggregates.now)
        reads_again = await _next_opening(aggregates, subscriptions)
        shown = [(subscription, cycle) for subscription in subscriptions for cycle in shown_cycles(subscription)]
        # In the order of their ends: reckoning a cycle opens, in memory, whatever begins before that.
        shown.sort(key=lambda pair: pair[1].end)
        cycles = [await _held_cycle(aggregates, subscription, cycle) for subscription, cycle in shown]
        held = HeldCustomer(aggregates, customer_id, cycles)
        held.learn((await aggregates.meters()).values(), subscriptions)
        held.read_again_at = reads_again
        return held


async def _held_cycle(aggregates: Aggregates, subscription: Subscription, cycle: OpenedCycle) -> _HeldCycle:
    reckoning = await reckon(aggregates, subscription, cycle)
    balance = await wallet_balance(aggregates, subscription.customer_id, subscription.currency)
    document = await reckoning.document(aggregates)
    standing = cycle_standing(document, reckoning.facts)
    return _HeldCycle(reckoning, reckoning.subject(), cycle, balance, standing, aggregates.position)


async def _next_opening(aggregates: Aggregates, subscriptions: Sequence[Subscription]) -> datetime | None:
    """When the next cycle of any of them begins, which nobody may have recorded by then."""
    starts: list[datetime] = []
    for subscription in subscriptions:
        if subscription.status is Status.active:
            zone = known(await aggregates.find(Customer, subscription.customer_id)).time_zone
            starts.append(subscription.next_start(zone))
    return min(starts, default=None)
