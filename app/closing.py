"""Closing what is due in groups: one transaction closes a cycle of each of some subscriptions.

Between two closes there is nothing to share but reading and committing, and that is most of what a close costs. See
docs/decisions/0028-closing-in-groups.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec

from app.alerting.rows import StandingAlert, standing_alerts_of
from app.billing import adjust_ended, invoice_cycle, opened_subscription
from app.invoicing import Bill
from app.projecting import project_most
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain.alert import Alert
from domain.customer import Customer
from domain.plan import OpenedCycle
from domain.subscription import Subscription
from domain.subscription_events import Status
from domain.wallet import Wallet
from projections.fault_points import FaultPoint, reach
from projections.quantities import catch_up
from projections.rating_facts import meter_lines, prices_of
from projections.usage import Asked

AnyItem = TypeVar("AnyItem")

GROUP_MAX = 50
"""Subscriptions closed by one transaction. What they share is a small part of the cost by then. Whoever else appends
to the tenant's log waits for all of them."""

GROUP_SECONDS = 0.25
"""After so long a group takes in no further subscription. Only for those whose closes are dear, or on a machine that is
busy: most of what was read for the others is read in vain."""


class Due(msgspec.Struct, frozen=True):
    """A subscription of which something is due. Its customer and currency never change."""

    subscription_id: str
    customer_id: str
    currency: str


class Closed(msgspec.Struct, frozen=True):
    """What a group did for one subscription: the document that it issued, and whether more of it is due."""

    due: Due
    bill: Bill | None
    more: bool


def first_group(waiting: Sequence[Due], count: int) -> tuple[list[Due], list[Due]]:
    """The first of those who wait, ``count`` at most, and the rest, in order.

    A group has one subscription of a customer: what one close takes of credits and wallet the next one has to find gone
    in the log, so that each invoice can be reckoned again from its own position.
    """
    group: dict[str, Due] = {}
    rest: list[Due] = []
    for due in waiting:
        if len(group) < count and due.customer_id not in group:
            group[due.customer_id] = due
        else:
            rest.append(due)
    return list(group.values()), rest


async def close_group(service: Service, caller: Caller, group: Sequence[Due]) -> list[Closed]:
    """Close the earliest due cycle of each subscription and open every cycle that has begun, in one transaction.

    All of it or nothing: raises what any of them raises. The customers are different ones. Whether a subscription is
    due is asked again under the lock, for another run may have closed it.
    """
    await project_most(service, caller.tenant_id)
    await reach(FaultPoint.close_projected)
    async with transaction(service, caller, "cycles.close_due") as running:
        return await _Group(running, (await running.rules()).close_grace).close(group)


class _Group:
    """The subscriptions of one transaction. They are read together and then closed one after another."""

    def __init__(self, running: Transaction, grace: timedelta) -> None:
        self._running = running
        self._grace = grace
        self._alerts: Mapping[str, Sequence[StandingAlert]] = {}

    async def close(self, group: Sequence[Due]) -> list[Closed]:
        running, subscriptions = self._running, list[Subscription]()
        await running.read_ahead(_streams(group))
        for due in _in_time(group):
            subscriptions.append(await opened_subscription(running, due.subscription_id))
        await self._read_ahead(subscriptions)
        closed = [
            Closed(due, await self._close_next(subscription), self._due_cycle(subscription) is not None)
            for due, subscription in _in_time(zip(group, subscriptions, strict=False))
        ]
        # Whoever the time did not suffice for is asked for again.
        return closed + [Closed(due, None, True) for due in group[len(closed) :]]

    async def _close_next(self, subscription: Subscription) -> Bill | None:
        cycle = self._due_cycle(subscription)
        if cycle is not None:
            return await invoice_cycle(self._running, subscription, cycle, self._alerts[subscription.customer_id])
        return await adjust_ended(self._running, subscription, self._grace) if _is_over(subscription) else None

    def _due_cycle(self, subscription: Subscription) -> OpenedCycle | None:
        """The earliest cycle that is not closed, when the grace period has passed since its end and its recording."""
        cycle, now = subscription.earliest_unclosed(), self._running.now
        if cycle is None or cycle.end > now:
            return None
        return cycle if max(cycle.billable_at, subscription.created_on) + self._grace <= now else None

    async def _read_ahead(self, subscriptions: Sequence[Subscription]) -> None:
        """Bring the quantities to the position, and read what closing each of these asks for, in statements for all."""
        running = self._running
        due = [(one, cycle) for one in subscriptions if (cycle := self._due_cycle(one)) is not None]
        asking = [one for one, _ in due] + [one for one in subscriptions if _is_over(one)]
        if not asking:
            return
        await catch_up(running.database, running.tenant_id, running.position)
        await reach(FaultPoint.close_caught_up)
        await running.late_hours_ahead((one.customer_id, one.settled_position) for one in asking)
        meters = await running.meters()
        asked: list[Asked] = []
        for subscription, cycle in due:
            for line in meter_lines(await prices_of(running, cycle, running.position)):
                meter = meters[line.price.meter_id]
                asked.append(Asked(meter, subscription.customer_id, (cycle.start, cycle.end)))
        await running.measure_ahead(asked)
        customers = [subscription.customer_id for subscription, _ in due]
        self._alerts = await standing_alerts_of(running.database, running.tenant_id, customers)
        alerts = (alert.alert_id for standing in self._alerts.values() for alert in standing)
        await running.read_ahead(map(Alert.stream, alerts))


def _in_time(items: Iterable[AnyItem]) -> Iterator[AnyItem]:
    """The first one, and the others while there is time."""
    until: float | None = None
    for item in items:
        if until is not None and time.monotonic() > until:
            return
        until = until or time.monotonic() + GROUP_SECONDS
        yield item


def _is_over(subscription: Subscription) -> bool:
    """Whether every cycle is closed and none is to come: late usage then gets a document of its own."""
    return subscription.earliest_unclosed() is None and subscription.status not in (Status.active, Status.paused)


def _streams(group: Iterable[Due]) -> Iterator[str]:
    """What every close replays."""
    for due in group:
        yield Subscription.stream(due.subscription_id)
        yield Customer.stream(due.customer_id)
        yield Wallet.stream(Wallet.wallet_id(due.customer_id, due.currency))
