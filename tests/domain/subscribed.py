"""A subscription for tests, and what they ask of it."""

from __future__ import annotations

from datetime import UTC, date, datetime

from domain.cycle import Anchor, Interval, Unit
from domain.plan import Item, Plan
from domain.price import UNTIL_CANCELLED
from domain.subscription import Subscription

MONTHLY = Interval(count=1, unit=Unit.Month)
YEARLY = Interval(count=1, unit=Unit.Year)


def subscribed(
    anchor: Anchor | None = None,
    *,
    interval: Interval = MONTHLY,
    period: Interval = UNTIL_CANCELLED,
    trial_days: int = 0,
    at: datetime,
) -> Subscription:
    """A subscription to one product; without an anchor from the first of January 2026."""
    return Subscription.create(
        "sub_1",
        customer_id="ada",
        items=(Item("pdt_1", 1),),
        currency="USD",
        interval=interval,
        period=period,
        anchor=anchor or Anchor(date=date(2026, 1, 1)),
        billing="",
        metadata="{}",
        trial_days=trial_days,
        at=at,
    )


def plan(
    product_id: str = "pdt_2", quantity: int = 1, interval: Interval = MONTHLY, period: Interval = UNTIL_CANCELLED
) -> Plan:
    return Plan(items=(Item(product_id, quantity),), interval=interval, period=period)


def day(month: int, of: int = 1, hour: int = 0, year: int = 2026) -> datetime:
    return datetime(year, month, of, hour, tzinfo=UTC)


def starts(subscription: Subscription) -> list[datetime]:
    return [cycle.start for cycle in subscription.cycles]


def spans(subscription: Subscription) -> list[tuple[datetime, datetime]]:
    return [(cycle.start, cycle.end) for cycle in subscription.cycles]


def replayed(subscription: Subscription) -> Subscription:
    """The subscription made again from its events."""
    again = None
    for event in subscription.collect_events():
        again = event.mutate(again)
    assert isinstance(again, Subscription)
    return again
