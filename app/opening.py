"""Opening cycles, and granting the credits that come with them. Decided in memory; a transaction records it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import cast

from msgspec import structs

from app.accounts import account_for, accounts_of
from app.identity import new_id
from domain.customer import Customer
from domain.entitlement import PERCENT_MAX, Entitlement, Terms
from domain.grant import Calendar, GrantedCycle, RolloverTerms
from domain.instant import MICROSECOND
from domain.plan import OpenedCycle
from domain.price import IncludedCredits
from domain.subscription import Subscription
from projections.aggregates import Aggregates, known
from projections.fault_points import FaultPoint, reach

_INTERRUPTIONS = (
    Subscription.CycleCut,
    Subscription.BillingDateMoved,
    Subscription.PlanChanged,
    Subscription.Resumed,
    Subscription.Ended,
)
"""What may leave an opened cycle with another end, or in another's place."""


async def open_cycles(aggregates: Aggregates, subscription: Subscription, at: datetime) -> None:
    """Open every cycle that has begun by ``at``, each with its included credits. Safe to call any number of times."""
    customer = known(await aggregates.find(Customer, subscription.customer_id))
    subscription.advance(customer.time_zone, at)
    granting = _Granting(aggregates, subscription, customer.time_zone)
    decided = subscription.pending_events
    opened = {event.start for event in decided if isinstance(event, Subscription.CycleOpened)}
    for cycle in [cycle for cycle in subscription.cycles if cycle.start in opened]:
        await reach(FaultPoint.cycle_opened)
        await granting.grant(cycle)
    if any(isinstance(event, _INTERRUPTIONS) for event in decided):
        await granting.follow_cycles()


async def grant_included(aggregates: Aggregates, subscription: Subscription, cycles: Iterable[OpenedCycle]) -> None:
    """Grant what the products of opened cycles include, where that was not done."""
    customer = known(await aggregates.find(Customer, subscription.customer_id))
    granting = _Granting(aggregates, subscription, customer.time_zone)
    for cycle in cycles:
        await granting.grant(cycle)


class _Granting:
    """The credits of one subscription's cycles."""

    def __init__(self, aggregates: Aggregates, subscription: Subscription, zone: str) -> None:
        self._aggregates = aggregates
        self._subscription = subscription
        self._zone = zone
        self._opened: Mapping[datetime, Calendar] | None = None

    async def grant(self, cycle: OpenedCycle) -> None:
        """Grant what the products of the cycle include. Nothing happens when that was done.

        The credits are those of the price version in force at the cycle's start as known now; once granted they stay.
        """
        for item in cycle.items:
            price = await self._aggregates.price_in(cycle, item.product_id, self._aggregates.position)
            for included in price.credits:
                entitlement = known(await self._aggregates.find(Entitlement, included.credit_entitlement_id))
                # Its terms are those of the cycle's first instant, whenever the cycle is opened.
                then = await self._aggregates.at_instant(Entitlement, entitlement.object_id, cycle.start + MICROSECOND)
                terms = included.terms(then.terms, price.currency)
                account = await account_for(self._aggregates, entitlement, self._subscription.customer_id)
                account.grant_cycle(
                    new_id("grt"),
                    amount=_amount(included, cycle),
                    cycle=GrantedCycle(
                        subscription_id=self._subscription.object_id,
                        product_id=item.product_id,
                        start=cycle.start,
                        end=cycle.end,
                    ),
                    lasts_until=_lasts_until(cycle, terms),
                    outlives=cycle.trial and included.trial_credits_expire_after_trial is False,
                    rollover=await self._rollover(cycle, terms),
                    at=self._aggregates.now,
                )
                await reach(FaultPoint.credit_granted)

    async def follow_cycles(self) -> None:
        """The grants of a cycle end with it, also where it was cut or its end was moved.

        Those of a cycle or a product that another took the place of end as they begin.
        """
        subscription, now = self._subscription, self._aggregates.now
        for account in await accounts_of(self._aggregates, subscription.customer_id):
            for start in account.granted_cycles(subscription.object_id):
                cycle = subscription.cycle_starting(start)
                if cycle is None:
                    account.move_cycle_end(subscription.object_id, start, start, None, now)
                elif cycle.invoice_id is None:
                    products = [item.product_id for item in cycle.items]
                    calendar = await self._calendar(cycle)
                    account.move_cycle_end(subscription.object_id, start, cycle.end, calendar, now, products=products)

    async def _rollover(self, cycle: OpenedCycle, terms: Terms) -> RolloverTerms | None:
        rollover = terms.rollover
        if not rollover.enabled:
            return None
        return RolloverTerms(
            calendar=await self._calendar(cycle),
            percentage=PERCENT_MAX if rollover.percentage is None else rollover.percentage,
            timeframe=rollover.timeframe,
            max_count=rollover.max_count,
        )

    async def _calendar(self, cycle: OpenedCycle) -> Calendar:
        """Where the cycles after this one end, as it stood when this one opened, or was cut."""
        cycles = self._subscription.cycles
        following = bisect_right(cycles, cycle.start, key=lambda one: one.start)
        if following < len(cycles) and cycle.end == cycle.planned_end:
            return (await self._as_they_opened())[cycle.start]
        now = _calendar_of(self._subscription, self._zone)
        return now if following == len(cycles) else structs.replace(now, index=cycles[following].index)

    async def _as_they_opened(self) -> Mapping[datetime, Calendar]:
        """By its start, the calendar right after each cycle was opened; from one pass, however many there are."""
        if self._opened is None:
            found: dict[datetime, Calendar] = {}
            recorded = await self._aggregates.facts(Subscription, self._subscription.object_id)
            replayed: Subscription | None = None
            for event in (*recorded, *self._subscription.pending_events):
                replayed = cast("Subscription", event.mutate(replayed))
                if isinstance(event, Subscription.CycleOpened):
                    found[event.start] = _calendar_of(replayed, self._zone)
            self._opened = found
        return self._opened


def _calendar_of(subscription: Subscription, zone: str) -> Calendar:
    calendar = subscription.calendar
    return Calendar(anchor=calendar.anchor, interval=subscription.interval, zone=zone, index=calendar.index)


def _amount(included: IncludedCredits, cycle: OpenedCycle) -> Decimal:
    return Decimal(included.trial_credits or 0) if cycle.trial else Decimal(included.credits_amount)


def _lasts_until(cycle: OpenedCycle, terms: Terms) -> datetime | None:
    days = terms.expires_after_days
    return None if days is None else cycle.start + timedelta(days=days)
