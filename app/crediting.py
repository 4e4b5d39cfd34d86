"""Credits of a customer: what the open cycles claim of them, and what that leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from app.accounts import account_for
from app.opening import open_cycles
from domain.claim import Claim, ClaimKey, OverageTerms, Step
from domain.credit_account import CreditAccount
from domain.entitlement import Entitlement, OverageBehavior, Terms
from domain.plan import OpenedCycle
from domain.price import Price
from domain.rating import CountedOverage, chargeable_units
from domain.settlement import Settlement, instants, settle
from domain.subscription import Subscription
from projections.aggregates import Aggregates
from projections.counting import CountedMeter
from projections.rating_facts import LineCredits, MeterKey, PricedLine, meter_lines, prices_of
from projections.usage import Measured


class ClaimSource(msgspec.Struct, frozen=True):
    """What a claim's steps are counted from: a meter, the instants between its steps, and the free units."""

    meter: CountedMeter
    edges: tuple[datetime, ...]
    free_units: Decimal


class AccountView(msgspec.Struct, frozen=True):
    """A customer's account of one entitlement with every claim settled, as it stands at an instant."""

    entitlement: Entitlement
    account: CreditAccount
    settlement: Settlement
    at: datetime
    sources: Mapping[ClaimKey, ClaimSource]

    def line_credits(self, subscription_id: str, cycle_start: datetime) -> dict[MeterKey, LineCredits]:
        """What the lines of a cycle draw, and their overage."""
        found: dict[MeterKey, LineCredits] = {}
        for claim in self.settlement.claims:
            if (claim.key.subscription_id, claim.key.cycle_start) == (subscription_id, cycle_start):
                settled = self.settlement.by_key[claim.key]
                overage = counted_overage(claim.overage, settled.overage)
                found[claim.key.product_id, claim.key.meter_id] = LineCredits(settled.credits, overage)
        return found


class ClaimingCycle(msgspec.Struct, frozen=True):
    """Lines of a closed cycle that claim anew, priced as known at its invoice's position."""

    subscription: Subscription
    cycle: OpenedCycle
    priced_at: int
    touched: Collection[MeterKey]


async def account_view(
    aggregates: Aggregates,
    entitlement_id: str,
    customer_id: str,
    *,
    until: datetime | None = None,
    claims_until: datetime | None = None,
    late_claims: Sequence[ClaimingCycle] = (),
) -> AccountView:
    """The account with the claims of every cycle of the customer that is not closed, and of ``late_claims``.

    Cycles that have begun by ``until`` (by default now) are opened first: their grants are part of the account. Those
    that end after ``claims_until`` claim nothing. Raises ``NotFound``.
    """
    entitlement = await aggregates.get(Entitlement, entitlement_id)
    at = until or aggregates.now
    subscriptions = await subscriptions_of(aggregates, customer_id)
    for subscription in subscriptions:
        await open_cycles(aggregates, subscription, at)
    account = await account_for(aggregates, entitlement, customer_id)
    claiming = _Claiming(aggregates, account)
    claims: list[Claim] = []
    for subscription in subscriptions:
        for cycle in subscription.cycles:
            if cycle.invoice_id is None and (claims_until is None or cycle.end <= claims_until):
                claims += await claiming.claims(ClaimingCycle(subscription, cycle, aggregates.position, ()))
    for late_claim in late_claims:
        claims += await claiming.claims(late_claim)
    return AccountView(entitlement, account, settle(account, claims, at), at, claiming.sources)


async def subscriptions_of(aggregates: Aggregates, customer_id: str) -> list[Subscription]:
    """The customer's subscriptions as known at the position, in the order of their ids."""
    found = [await aggregates.find(Subscription, one) for one in await aggregates.subscription_ids(customer_id)]
    return [subscription for subscription in found if subscription is not None]


def steps_of(source: ClaimSource, parts: Sequence[Measured]) -> tuple[Step, ...]:
    """The steps of a claim, from what its meter counted between the edges."""
    so_far = Measured()
    steps: list[Step] = []
    for until, part in zip(source.edges[1:], parts, strict=True):
        so_far.join(part)
        consumed = so_far.quantity(source.meter.aggregation)
        steps.append(Step(until, chargeable_units(consumed, source.free_units)))
    return tuple(steps)


class _Claiming:
    """Makes the claims of cycles on one account."""

    def __init__(self, aggregates: Aggregates, account: CreditAccount) -> None:
        self._aggregates = aggregates
        self._account = account
        self.sources: dict[ClaimKey, ClaimSource] = {}

    async def claims(self, asked: ClaimingCycle) -> list[Claim]:
        """The claims of a cycle's lines that burn the account's credits; of a closed one only those touched."""
        closed = asked.cycle.invoice_id is not None
        prices = await prices_of(self._aggregates, asked.cycle, asked.priced_at)
        by_product = {item.product_id: price for item, price in prices}
        found: list[Claim] = []
        for line in meter_lines(prices):
            if line.price.credit_entitlement_id != self._account.entitlement_id:
                continue
            if not closed or line.key in asked.touched:
                found.append(await self._claim(asked, line, by_product[line.item.product_id], closed))
        return found

    async def _claim(self, asked: ClaimingCycle, line: PricedLine, price: Price, closed: bool) -> Claim:
        cycle = asked.cycle
        terms = await terms_of(self._aggregates, self._account.entitlement_id, cycle, price)
        product_id, meter_id = line.key
        units_per_credit = line.price.units_per_credit
        assert units_per_credit is not None, "a line that burns credits says how many units one covers"
        key = ClaimKey(
            cycle_end=cycle.end,
            subscription_id=asked.subscription.object_id,
            line=line.index,
            cycle_start=cycle.start,
            product_id=product_id,
            meter_id=meter_id,
        )
        source = self.sources[key] = await self._source(cycle, line)
        parts = await self._aggregates.measured(source.meter, asked.subscription.customer_id, source.edges)
        return Claim(
            key=key,
            units_per_credit=units_per_credit,
            steps=steps_of(source, parts),
            burn_order=terms.burn_order,
            overage=overage_terms(terms) if line.price.credits_only else None,
            closed=closed,
            waive_uncovered=cycle.trial,
        )

    async def _source(self, cycle: OpenedCycle, line: PricedLine) -> ClaimSource:
        edges = (cycle.start, *instants(self._account, cycle.start, cycle.end), cycle.end)
        return ClaimSource((await self._aggregates.meters())[line.price.meter_id], edges, line.price.free_units)


async def terms_of(aggregates: Aggregates, entitlement_id: str, cycle: OpenedCycle, price: Price) -> Terms:
    """An entitlement's terms at a cycle's end, with what the product says otherwise."""
    entitlement = await aggregates.at_instant(Entitlement, entitlement_id, cycle.end)
    included = price.included(entitlement_id)
    return entitlement.terms if included is None else included.terms(entitlement.terms, price.currency)


def overage_terms(terms: Terms) -> OverageTerms | None:
    """How uncovered credits are counted, or ``None`` when they are not."""
    if not terms.overage.enabled:
        return None
    return OverageTerms(
        behavior=terms.overage.behavior,
        limit=None if terms.overage.limit is None else Decimal(terms.overage.limit),
        price_per_credit=None if terms.price_per_unit is None else Decimal(terms.price_per_unit),
    )


def counted_overage(terms: OverageTerms | None, counted: Decimal) -> CountedOverage | None:
    """Overage as a line of the invoice: it costs something only where it is invoiced."""
    if terms is None or not counted:
        return None
    invoiced = terms.behavior is OverageBehavior.invoice_at_billing
    return CountedOverage(credits=counted, price_per_credit=terms.price_per_credit if invoiced else None)
