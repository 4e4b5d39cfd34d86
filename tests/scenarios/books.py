"""A business in memory: what was recorded, and what the domain makes of it. No database, nothing of ``app``.

What the application gathers from read models is gathered here by going through everything that was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from itertools import chain

import msgspec

from domain.aggregation import EMPTY, Aggregation, combine, distinct_key, quantity, summary_of
from domain.claim import Claim, ClaimKey, Step
from domain.credit_account import CreditAccount
from domain.entitlement import Entitlement
from domain.event import UsageEvent, read_metadata
from domain.filter import Filter, matches
from domain.grant import Calendar, GrantedCycle
from domain.invoice import Document, Invoice
from domain.invoice import Status as InvoiceStatus
from domain.plan import Item, OpenedCycle
from domain.price import FeeRule, MeterPrice, Price
from domain.product import Product
from domain.rating import (
    Computation,
    CycleFacts,
    Line,
    LineKind,
    MeterUsage,
    RatedProduct,
    Tax,
    adjustment_line,
    chargeable_units,
    computation_of,
    rate,
)
from domain.settlement import Settlement, instants, settle
from domain.subscription import Subscription
from domain.wallet import Wallet
from tests.scenarios.domain_terms import counted_of, overage_of, rollover_of


@dataclass
class Recorded:
    """A usage event, where it stands in the log, and where and when it was last heard of: recorded, or retracted."""

    event: UsageEvent
    position: int
    known_at: int
    changed_at: datetime
    voided: bool = False


@dataclass(frozen=True)
class CountedMeter:
    """What a meter counts."""

    event_name: str
    aggregation: Aggregation
    condition: Filter | None

    def counts(self, event: UsageEvent) -> bool:
        """Whether it is one of the meter's events."""
        named = event.event_name == self.event_name
        return named and (self.condition is None or matches(self.condition, read_metadata(event.metadata)))


@dataclass(frozen=True)
class LateLine:
    """One meter of a product in a closed cycle, with usage that its invoice does not know of."""

    cycle: OpenedCycle
    item: Item
    price: Price
    meter: MeterPrice
    changed_at: datetime


@dataclass
class Books:
    """Everything that was recorded. Ids are the names that a story gives."""

    now: datetime
    taxes: tuple[Tax, ...] = ()
    position: int = 0
    events: dict[str, Recorded] = field(default_factory=dict)
    meters: dict[str, CountedMeter] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    entitlements: dict[str, Entitlement] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    accounts: dict[tuple[str, str], CreditAccount] = field(default_factory=dict)
    wallets: dict[tuple[str, str], Wallet] = field(default_factory=dict)
    invoices: list[Invoice] = field(default_factory=list)
    priced: dict[str, list[tuple[Item, Price]]] = field(default_factory=dict)
    """The prices that an invoice was rated by, by its id."""

    def measured(self, meter_id: str, customer: str, start: datetime, end: datetime) -> Decimal:
        """The meter's quantity in ``[start, end)``, one event after another."""
        meter = self.meters[meter_id]
        found = [(one, read_metadata(one.event.metadata)) for one in self._matching(meter, customer, start, end)]
        parts = [summary_of(meter.aggregation, _at(one), one.position, values) for one, values in found]
        keys = {distinct_key(values[key]) for _, values in found if (key := meter.aggregation.key) and key in values}
        return quantity(meter.aggregation, reduce(combine, parts, EMPTY), len(keys))

    def _matching(self, meter: CountedMeter, customer: str, start: datetime, end: datetime) -> Iterator[Recorded]:
        for one in self.events.values():
            inside = one.event.customer_id == customer and start <= _at(one) < end
            if inside and not one.voided and meter.counts(one.event):
                yield one

    def prices(self, cycle: OpenedCycle) -> list[tuple[Item, Price]]:
        """The products of a cycle and their prices: those of its invoice, or those in force as known now."""
        if cycle.invoice_id is not None:
            return self.priced[cycle.invoice_id]
        return [(item, self.products[item.product_id].price_at(cycle.start)) for item in cycle.items]

    def open_cycles(self, at: datetime) -> None:
        """Open what has begun by then, and grant what comes with it; grants end with their cycles."""
        for subscription in self.subscriptions.values():
            subscription.advance(self.zones[subscription.customer_id], at)
            for cycle in subscription.cycles:
                if cycle.invoice_id is None:
                    self._grant(subscription, cycle)
            self._end_grants(subscription)

    def _grant(self, subscription: Subscription, cycle: OpenedCycle) -> None:
        for item, price in self.prices(cycle):
            for one in price.credits:
                terms = one.terms(self.entitlements[one.credit_entitlement_id].terms, price.currency)
                days = terms.expires_after_days
                account = self.account(one.credit_entitlement_id, subscription.customer_id)
                account.grant_cycle(
                    f"grant {len(account.grants)}",
                    amount=Decimal((one.trial_credits or 0) if cycle.trial else one.credits_amount),
                    cycle=GrantedCycle(
                        subscription_id=subscription.object_id,
                        product_id=item.product_id,
                        start=cycle.start,
                        end=cycle.end,
                    ),
                    lasts_until=None if days is None else cycle.start + timedelta(days=days),
                    outlives=cycle.trial and one.trial_credits_expire_after_trial is False,
                    rollover=rollover_of(terms, self._calendar(subscription, cycle)),
                    at=self.now,
                )

    def _end_grants(self, subscription: Subscription) -> None:
        """Grants end with their cycles, those of cycles and products that others replaced as they begin."""
        name = subscription.object_id
        for (_, customer), account in self.accounts.items():
            for start in account.granted_cycles(name) if customer == subscription.customer_id else ():
                cycle = subscription.cycle_starting(start)
                if cycle is None:
                    account.move_cycle_end(name, start, start, None, self.now)
                elif cycle.invoice_id is None:
                    products = [item.product_id for item in cycle.items]
                    calendar = self._calendar(subscription, cycle)
                    account.move_cycle_end(name, start, cycle.end, calendar, self.now, products=products)

    def _calendar(self, subscription: Subscription, cycle: OpenedCycle) -> Calendar:
        """Where the cycles after this one end."""
        following = next((one for one in subscription.cycles if one.start > cycle.start), None)
        return Calendar(
            anchor=subscription.anchor,
            interval=subscription.interval,
            zone=self.zones[subscription.customer_id],
            index=subscription.calendar.index if following is None else following.index,
        )

    def account(self, entitlement: str, customer: str) -> CreditAccount:
        """The customer's account, opened when it is first asked for."""
        if (entitlement, customer) not in self.accounts:
            precision = self.entitlements[entitlement].precision
            self.accounts[entitlement, customer] = CreditAccount.open(entitlement, customer, precision, self.now)
        return self.accounts[entitlement, customer]

    def wallet(self, customer: str, currency: str) -> Wallet:
        """The customer's wallet, opened when it is first asked for."""
        if (customer, currency) not in self.wallets:
            self.wallets[customer, currency] = Wallet.open(customer, currency, self.now)
        return self.wallets[customer, currency]

    def settlement(self, entitlement: str, customer: str, late: Sequence[LateLine] = ()) -> Settlement:
        """Every claim on an account, settled: those of cycles that are not closed, and those of late lines."""
        account = self.account(entitlement, customer)
        claims: list[Claim] = []
        for subscription in self.subscriptions.values():
            if subscription.customer_id != customer:
                continue
            for cycle in subscription.cycles:
                again = {(line.item.product_id, line.meter.meter_id) for line in late if line.cycle == cycle}
                for index, (item, price, meter) in enumerate(_lines(self.prices(cycle))):
                    claimed = cycle.invoice_id is None or (item.product_id, meter.meter_id) in again
                    if claimed and meter.credit_entitlement_id == entitlement:
                        claims.append(self._claim(account, subscription, cycle, index, item, price, meter))
        return settle(account, claims, max([self.now, *(claim.key.cycle_end for claim in claims)]))

    def _claim(
        self,
        account: CreditAccount,
        subscription: Subscription,
        cycle: OpenedCycle,
        index: int,
        item: Item,
        price: Price,
        meter: MeterPrice,
    ) -> Claim:
        own = self.entitlements[account.entitlement_id].terms
        included = price.included(account.entitlement_id)
        terms = included.terms(own, price.currency) if included else own
        assert meter.units_per_credit is not None
        ends = (*instants(account, cycle.start, cycle.end), cycle.end)
        used = [self.measured(meter.meter_id, subscription.customer_id, cycle.start, until) for until in ends]
        return Claim(
            key=ClaimKey(
                cycle_end=cycle.end,
                subscription_id=subscription.object_id,
                line=index,
                cycle_start=cycle.start,
                product_id=item.product_id,
                meter_id=meter.meter_id,
            ),
            units_per_credit=meter.units_per_credit,
            steps=tuple(
                Step(until, chargeable_units(units, meter.free_units)) for until, units in zip(ends, used, strict=True)
            ),
            burn_order=terms.burn_order,
            overage=overage_of(terms) if meter.credits_only else None,
            closed=cycle.invoice_id is not None,
            waive_uncovered=cycle.trial,
        )

    def late(self, subscription: Subscription) -> list[LateLine]:
        """The lines of closed cycles whose usage has changed since it was last settled."""
        found: list[LateLine] = []
        for cycle in subscription.cycles:
            if cycle.invoice_id is None:
                continue
            known = max(self.document(cycle.invoice_id).position, subscription.settled_position)
            for item, price, meter in _lines(self.prices(cycle)):
                news = [
                    one.changed_at
                    for one in self.events.values()
                    if one.known_at > known
                    and one.event.customer_id == subscription.customer_id
                    and cycle.start <= _at(one) < cycle.end
                    and self.meters[meter.meter_id].counts(one.event)
                ]
                if news:
                    found.append(LateLine(cycle, item, price, meter, min(news)))
        return found

    def facts(
        self,
        subscription: Subscription,
        cycle: OpenedCycle,
        prices: Sequence[tuple[Item, Price]],
        settlements: Sequence[Settlement],
        adjustments: Sequence[Line] = (),
    ) -> CycleFacts:
        """What rating a cycle depends on."""
        products = [
            RatedProduct(
                product_id=item.product_id,
                name=item.product_id,
                quantity=item.quantity,
                price=price,
                usage=tuple(self._usage(subscription, cycle, item, meter, settlements) for meter in price.meters),
            )
            for item, price in prices
        ]
        return CycleFacts(
            currency=subscription.currency,
            start=cycle.start,
            end=cycle.end,
            planned_start=cycle.planned_start,
            planned_end=cycle.planned_end,
            fee=cycle.fee,
            trial=cycle.trial,
            products=tuple(products),
            adjustments=tuple(adjustments),
            taxes=self.taxes,
        )

    def _usage(
        self,
        subscription: Subscription,
        cycle: OpenedCycle,
        item: Item,
        meter: MeterPrice,
        settlements: Sequence[Settlement],
    ) -> MeterUsage:
        place = (subscription.object_id, cycle.start, item.product_id, meter.meter_id)
        usage = MeterUsage(
            name=meter.meter_id,
            measurement_unit="unit",
            price=meter,
            consumed=self.measured(meter.meter_id, subscription.customer_id, cycle.start, cycle.end),
        )
        for settlement in settlements:
            for claim in settlement.claims:
                key = claim.key.line_key
                if (key.subscription_id, key.cycle_start, key.product_id, key.meter_id) == place:
                    settled = settlement.by_key[claim.key]
                    charge = counted_of(claim.overage, settled.overage)
                    usage = msgspec.structs.replace(usage, credits=settled.credits, overage=charge)
        return usage

    def adjustments(
        self, subscription: Subscription, late: Sequence[LateLine], settlements: Sequence[Settlement]
    ) -> list[Line]:
        """A line for each late line that comes to something else than what was invoiced for it."""
        found: list[Line] = []
        for one in late:
            price = msgspec.structs.replace(one.price, meters=(one.meter,), fixed_price=0)
            rated = rate(self.facts(subscription, one.cycle, [(one.item, price)], settlements)).lines
            before, after = self._invoiced(one), computation_of(rated)
            if before != after:
                found.append(
                    adjustment_line(
                        product_id=one.item.product_id,
                        product_name=one.item.product_id,
                        meter_id=one.meter.meter_id,
                        meter_name=one.meter.meter_id,
                        price_per_unit=rated[0].price_per_unit,
                        cycle_start=one.cycle.start,
                        cycle_end=one.cycle.end,
                        before=before,
                        after=after,
                    )
                )
        return found

    def _invoiced(self, late: LateLine) -> Computation:
        """What a late line has come to on invoices that stand."""
        own = self.document(str(late.cycle.invoice_id))
        key = (late.item.product_id, late.meter.meter_id)
        came_to = computation_of(line for line in own.lines if (line.product_id, line.meter_id) == key)
        for invoice in self.invoices:
            for line in invoice.read().lines if invoice.status is not InvoiceStatus.void else ():
                corrects = line.kind is LineKind.adjustment and line.cycle_start == own.cycle_start
                if corrects and (line.product_id, line.meter_id) == key and line.after is not None:
                    came_to = msgspec.structs.replace(line.after, amount=came_to.amount + line.amount)
        return came_to

    def document(self, invoice_id: str) -> Document:
        """The document of an invoice."""
        return next(one for one in self.invoices if one.object_id == invoice_id).read()


def empty_facts(books: Books, subscription: Subscription, adjustments: Sequence[Line]) -> CycleFacts:
    """The facts of a document that only corrects."""
    return CycleFacts(
        currency=subscription.currency,
        start=books.now,
        end=books.now,
        planned_start=books.now,
        planned_end=books.now,
        fee=FeeRule.waived,
        trial=False,
        products=(),
        adjustments=tuple(adjustments),
        taxes=books.taxes,
    )


def _at(one: Recorded) -> datetime:
    assert one.event.timestamp is not None, "stories say when usage happened"
    return one.event.timestamp


def _lines(prices: Sequence[tuple[Item, Price]]) -> list[tuple[Item, Price, MeterPrice]]:
    return list(chain.from_iterable([(item, price, meter) for meter in price.meters] for item, price in prices))
