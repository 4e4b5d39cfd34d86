"""What a subscription's products say of its credits: the terms that hold, and when a balance is low."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.crediting import subscriptions_of
from app.opening import open_cycles
from domain import number
from domain.entitlement import PERCENT_MAX, Entitlement, Terms
from domain.price import IncludedCredits, Price
from domain.product import Product
from domain.subscription import Subscription
from domain.subscription_events import Status
from projections.aggregates import Aggregates, known

ENDED = (Status.cancelled, Status.expired)


class Linked(msgspec.Struct, frozen=True):
    """An entitlement that a subscription includes or burns. A balance at or below ``threshold`` is low."""

    entitlement: Entitlement
    terms: Terms
    threshold: Decimal | None


async def linked_credits(aggregates: Aggregates, subscription: Subscription) -> list[Linked]:
    """The entitlements of a subscription's newest cycle, by id, with the terms of that cycle."""
    await open_cycles(aggregates, subscription, aggregates.now)
    newest = subscription.cycles[-1] if subscription.cycles else None
    items, start = (newest.items, newest.start) if newest else (subscription.items, aggregates.now)
    found: dict[str, Linked] = {}
    for item in items:
        price = known(await aggregates.find(Product, item.product_id)).price_at(start)
        for entitlement_id in _entitlements(price):
            entitlement = known(await aggregates.find(Entitlement, entitlement_id))
            linked = _linked(entitlement, price, trial=newest is not None and newest.trial)
            before = found.get(entitlement_id)
            found[entitlement_id] = linked if before is None else _joined(before, linked)
    return [found[entitlement_id] for entitlement_id in sorted(found)]


async def low_threshold(aggregates: Aggregates, entitlement_id: str, customer_id: str) -> Decimal | None:
    """The highest threshold that a customer's lasting subscriptions set for an entitlement, if any does."""
    thresholds = [
        linked.threshold
        for subscription in await subscriptions_of(aggregates, customer_id)
        if subscription.status not in ENDED
        for linked in await linked_credits(aggregates, subscription)
        if linked.entitlement.object_id == entitlement_id and linked.threshold is not None
    ]
    return max(thresholds, default=None)


def _entitlements(price: Price) -> list[str]:
    """The entitlements that a product includes, then those that its meters burn."""
    included = [one.credit_entitlement_id for one in price.credits]
    return included + [one.credit_entitlement_id for one in price.meters if one.credit_entitlement_id is not None]


def _linked(entitlement: Entitlement, price: Price, *, trial: bool) -> Linked:
    included = price.included(entitlement.object_id)
    if included is None:
        return Linked(entitlement, entitlement.terms, None)
    terms = included.terms(entitlement.terms, price.currency)
    return Linked(entitlement, terms, _threshold(included, entitlement.precision, trial))


def _threshold(included: IncludedCredits, precision: int, trial: bool) -> Decimal | None:
    """The product's percentage of what the cycle was granted."""
    percent = included.low_balance_threshold_percent
    if percent is None:
        return None
    granted = Decimal(included.trial_credits or 0) if trial else Decimal(included.credits_amount)
    return number.quotient(number.times(granted, Decimal(percent)), Decimal(PERCENT_MAX), precision)


def _joined(first: Linked, second: Linked) -> Linked:
    """Two products with one entitlement: the terms of the first, and the higher threshold."""
    thresholds = [one.threshold for one in (first, second) if one.threshold is not None]
    return Linked(first.entitlement, first.terms, max(thresholds, default=None))
