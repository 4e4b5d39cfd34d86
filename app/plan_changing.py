"""Changing what a subscription is subscribed to: at once, at the next billing date, or only to see what it would do."""

from __future__ import annotations

from datetime import datetime

import msgspec

from app.opening import open_cycles
from app.reckoning import reckon
from app.service import Caller, Service
from app.subscribing import Change, move_on, price_of
from app.transaction import transaction
from domain.customer import Customer
from domain.errors import Invalid
from domain.invoice import Document
from domain.plan import ChangeMode, Item, OpenedCycle, Plan
from domain.rating import LineKind, rate
from domain.subscription import Subscription
from projections.aggregates import Aggregates, known
from projections.rating_facts import cycle_facts


class PlanOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The products to change to. ``later`` waits for the next billing date; ``mode`` says how a cut cycle is billed."""

    items: tuple[Item, ...]
    mode: ChangeMode
    later: bool


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of plan would do.

    ``subscription`` is as it would be; ``cut`` is the cycle that would end at ``effective_at``, as an invoice would
    have it if nothing more were recorded. ``following`` is open after it, with its fixed price in minor units before
    tax. At the next billing date nothing is cut, and what follows has not begun.
    """

    subscription: Subscription
    effective_at: datetime
    cut: Document | None
    following: OpenedCycle | None
    fixed_amount: int


async def change_plan(service: Service, caller: Caller, subscription_id: str, order: PlanOrder) -> None:
    """Change the plan, or schedule the change.

    Nothing is billed by that: a cut cycle is closed like any other. Raises ``NotFound``, ``Invalid`` when the products
    do not agree among themselves or with the subscription's currency, ``Conflict`` when it has ended or is about to.
    """
    async with transaction(service, caller, "subscription.change_plan") as running:
        subscription = await running.get(Subscription, subscription_id)
        await _replan(running, subscription, order)
        await open_cycles(running, subscription, running.now)


async def cancel_scheduled_change(service: Service, caller: Caller, subscription_id: str) -> None:
    """Keep the plan. Raises ``NotFound`` when no change is scheduled."""
    async with transaction(service, caller, "subscription.cancel_change_plan") as running:
        subscription = await running.get(Subscription, subscription_id)
        subscription.unschedule_plan_change(await _zone(running, subscription), running.now)
        await open_cycles(running, subscription, running.now)


async def foresee(aggregates: Aggregates, subscription_id: str, order: PlanOrder) -> Foreseen:
    """What changing the plan would do; it is decided in memory only. Raises as ``change_plan`` does."""
    subscription = await aggregates.get(Subscription, subscription_id)
    await open_cycles(aggregates, subscription, aggregates.now)
    before = subscription.open_cycle(aggregates.now)
    next_start = subscription.next_start(await _zone(aggregates, subscription))
    await _replan(aggregates, subscription, order)
    await open_cycles(aggregates, subscription, aggregates.now)
    following = None if order.later else subscription.open_cycle(aggregates.now)
    return Foreseen(
        subscription=subscription,
        effective_at=next_start if order.later else aggregates.now,
        cut=await _cut(aggregates, subscription, before),
        following=following,
        fixed_amount=0 if following is None else await _fixed_amount(aggregates, subscription, following),
    )


async def foresee_end(aggregates: Aggregates, subscription_id: str, change: Change) -> Document | None:
    """The invoice of the cycle that a pause or a cancellation would end now, or ``None`` when it ends none.

    It is decided in memory only. Raises as ``change_subscription`` does.
    """
    subscription = await aggregates.get(Subscription, subscription_id)
    await open_cycles(aggregates, subscription, aggregates.now)
    before = subscription.open_cycle(aggregates.now)
    move_on(subscription, change, await _zone(aggregates, subscription), aggregates.now)
    await open_cycles(aggregates, subscription, aggregates.now)
    return await _cut(aggregates, subscription, before)


async def _cut(aggregates: Aggregates, subscription: Subscription, before: OpenedCycle | None) -> Document | None:
    """The invoice of the cycle that was open ``before``, if it ends now."""
    cut = before and subscription.cycle_starting(before.start)
    if cut is None or cut.end != aggregates.now:
        return None
    return await (await reckon(aggregates, subscription, cut)).document(aggregates)


async def _fixed_amount(aggregates: Aggregates, subscription: Subscription, cycle: OpenedCycle) -> int:
    """What the fixed prices of a cycle come to."""
    lines = rate(await cycle_facts(aggregates, subscription, cycle, {})).lines
    return sum(line.amount for line in lines if line.kind in (LineKind.fixed, LineKind.proration))


async def _replan(aggregates: Aggregates, subscription: Subscription, order: PlanOrder) -> None:
    price = await price_of(aggregates, order.items)
    if price.currency != subscription.currency:
        raise Invalid(
            "product_id",
            f"is priced in {price.currency}, and the subscription in {subscription.currency}",
            "CURRENCY_MISMATCH",
        )
    plan = Plan(items=order.items, interval=price.cycle, period=price.subscription_period)
    zone = await _zone(aggregates, subscription)
    if order.later:
        subscription.schedule_plan_change(plan, zone, aggregates.now)
    else:
        subscription.change_plan(plan, order.mode, zone, aggregates.now)


async def _zone(aggregates: Aggregates, subscription: Subscription) -> str:
    return known(await aggregates.find(Customer, subscription.customer_id)).time_zone
