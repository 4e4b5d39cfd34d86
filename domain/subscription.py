"""The subscription: a customer's agreement to prices over time, and its cycles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from domain.aggregate import Root
from domain.cycle import Anchor, Interval, boundary
from domain.errors import Conflict
from domain.price import UNTIL_CANCELLED


class Status(StrEnum):
    """Where a subscription is in its life. A payment is never awaited here, so it starts active."""

    active = "active"
    cancelled = "cancelled"
    expired = "expired"


class Item(msgspec.Struct, frozen=True):
    """One product of a subscription. ``quantity`` multiplies its fixed price and nothing else."""

    product_id: str
    quantity: int


class OpenedCycle(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle as the log has it: boundary ``index`` to ``index + 1``, half-open.

    ``planned_end`` is where the calendar would have ended it; ``end`` lies before that when the cycle was cut.
    ``last`` says that the subscription's period ends with it.
    """

    index: int
    start: datetime
    end: datetime
    planned_end: datetime
    last: bool
    invoice_id: str | None = None


class Subscription(Root):
    """One customer, some products of one currency and interval, and cycles that tile from the anchor on."""

    TOPIC: ClassVar[str] = "subscription"

    class Created(Root.Created):
        """``billing`` is the billing address, sealed with the customer's key; ``metadata`` flat JSON as text."""

        TOPIC: ClassVar[str] = "subscription.created"
        customer_id: str
        items: tuple[Item, ...]
        currency: str
        interval: Interval
        period: Interval
        anchor: Anchor
        billing: str
        metadata: str

    class CycleOpened(Root.Event):
        """A cycle began. Its ends are read from here ever after, whatever becomes of the time zone."""

        TOPIC: ClassVar[str] = "cycle.opened"
        index: int
        start: datetime
        end: datetime
        planned_end: datetime
        last: bool

        def apply(self, aggregate: Subscription) -> None:
            """Add the cycle."""
            opened = OpenedCycle(
                index=self.index, start=self.start, end=self.end, planned_end=self.planned_end, last=self.last
            )
            aggregate.cycles.append(opened)

    class CycleClosed(Root.Event):
        """A cycle was rated and invoiced."""

        TOPIC: ClassVar[str] = "cycle.closed"
        start: datetime
        invoice_id: str

        def apply(self, aggregate: Subscription) -> None:
            """Name the invoice on the cycle."""
            aggregate.cycles = [
                msgspec.structs.replace(cycle, invoice_id=self.invoice_id) if cycle.start == self.start else cycle
                for cycle in aggregate.cycles
            ]

    class Changed(Root.Event):
        """The new billing address and metadata."""

        TOPIC: ClassVar[str] = "subscription.changed"
        billing: str
        metadata: str

        def apply(self, aggregate: Subscription) -> None:
            """Write both."""
            aggregate.billing = self.billing
            aggregate.metadata = self.metadata

    class CancellationScheduled(Root.Event):
        """It ends with the open cycle, or (``scheduled`` false) no longer does."""

        TOPIC: ClassVar[str] = "subscription.cancellation_scheduled"
        scheduled: bool

        def apply(self, aggregate: Subscription) -> None:
            """Mark it."""
            aggregate.cancel_at_next_billing_date = self.scheduled

    class Ended(Root.Event):
        """No cycle opens any more; one that is open at ``end`` is cut there."""

        TOPIC: ClassVar[str] = "subscription.ended"
        status: Status
        end: datetime

        def apply(self, aggregate: Subscription) -> None:
            """Write the status and cut."""
            aggregate.status = self.status
            aggregate.ended_at = self.end
            aggregate.cycles = [
                msgspec.structs.replace(cycle, end=min(cycle.end, self.end))
                for cycle in aggregate.cycles
                if cycle.start < self.end
            ]

    def __init__(
        self,
        customer_id: str,
        items: tuple[Item, ...],
        currency: str,
        interval: Interval,
        period: Interval,
        anchor: Anchor,
        billing: str,
        metadata: str,
    ) -> None:
        self.customer_id = customer_id
        self.items = items
        self.currency = currency
        self.interval = interval
        self.period = period
        self.anchor = anchor
        self.billing = billing
        self.metadata = metadata
        self.status = Status.active
        self.cancel_at_next_billing_date = False
        self.ended_at: datetime | None = None
        self.cycles: list[OpenedCycle] = []

    @classmethod
    def create(
        cls,
        subscription_id: str,
        *,
        customer_id: str,
        items: tuple[Item, ...],
        currency: str,
        interval: Interval,
        period: Interval,
        anchor: Anchor,
        billing: str,
        metadata: str,
        at: datetime,
    ) -> Self:
        """Subscribe. The products have been found to agree on currency, interval and period."""
        return cls._create(
            cls.Created,
            id=cls.stream(subscription_id),
            timestamp=at,
            customer_id=customer_id,
            items=items,
            currency=currency,
            interval=interval,
            period=period,
            anchor=anchor,
            billing=billing,
            metadata=metadata,
        )

    def advance(self, zone: str, at: datetime) -> None:
        """Open every cycle that has begun by ``at``, and end the subscription when its time has come.

        ``zone`` is the customer's time zone now. Safe to call at any time, any number of times.
        """
        if self.status is not Status.active:
            return
        life_end = self._life_end(zone)
        for index, start, planned_end in self._next_cycles(zone):
            if start > at or (life_end is not None and start >= life_end):
                break
            last = life_end is not None and planned_end >= life_end
            end = planned_end if life_end is None else min(planned_end, life_end)
            self.trigger_event(
                self.CycleOpened,
                timestamp=at,
                index=index,
                start=start,
                end=end,
                planned_end=planned_end,
                last=last,
            )
        if life_end is not None and life_end <= at:
            status = Status.cancelled if self.cancel_at_next_billing_date else Status.expired
            self._end(status, life_end, at)

    def schedule_cancellation(self, scheduled: bool, at: datetime) -> None:
        """End with the open cycle, or take that back. Raises ``Conflict`` when it has ended."""
        self._need_active()
        if scheduled != self.cancel_at_next_billing_date:
            self.trigger_event(self.CancellationScheduled, timestamp=at, scheduled=scheduled)

    def cancel(self, at: datetime) -> None:
        """End now; the open cycle is cut at this instant. Raises ``Conflict`` when it has ended."""
        self._need_active()
        self._end(Status.cancelled, at, at)

    def change(self, billing: str, metadata: str, at: datetime) -> None:
        """Replace the sealed billing address and the metadata. Nothing happens when nothing differs."""
        if (billing, metadata) != (self.billing, self.metadata):
            self.trigger_event(self.Changed, timestamp=at, billing=billing, metadata=metadata)

    def close_cycle(self, cycle: OpenedCycle, invoice_id: str, at: datetime) -> None:
        """Record that a cycle was invoiced. Raises ``Conflict`` while it has not ended, or when it is closed."""
        if cycle.end > at:
            raise Conflict("CYCLE_NOT_ENDED", f"the cycle ends at {cycle.end.isoformat()}")
        if cycle.invoice_id is not None:
            raise Conflict("CYCLE_CLOSED", f"the cycle is closed by invoice '{cycle.invoice_id}'")
        self.trigger_event(self.CycleClosed, timestamp=at, start=cycle.start, invoice_id=invoice_id)

    def earliest_unclosed(self) -> OpenedCycle | None:
        """The cycle to bill next, or ``None`` when every cycle that has begun is closed."""
        return next((cycle for cycle in self.cycles if cycle.invoice_id is None), None)

    def cycle_starting(self, start: datetime) -> OpenedCycle | None:
        """The opened cycle with this start."""
        return next((cycle for cycle in self.cycles if cycle.start == start), None)

    def _need_active(self) -> None:
        if self.status is not Status.active:
            raise Conflict("SUBSCRIPTION_ENDED", f"subscription '{self.object_id}' is {self.status}")

    def _end(self, status: Status, end: datetime, at: datetime) -> None:
        self.trigger_event(self.Ended, timestamp=at, status=status, end=end)

    def _life_end(self, zone: str) -> datetime | None:
        """Where the last cycle ends, or ``None`` while that is open.

        An opened cycle is never moved: a time zone that changes under the last one changes no end. Cancelled at the
        next billing date, that date is the end of the open cycle, or the start of a subscription yet to start.
        """
        newest = self.cycles[-1] if self.cycles else None
        if self.cancel_at_next_billing_date:
            return newest.end if newest else boundary(self.anchor, self.interval, 0, zone)
        if self.period == UNTIL_CANCELLED:
            return None
        if newest is None:
            return boundary(self.anchor, self.period, 1, zone)
        return newest.end if newest.last else max(newest.end, boundary(self.anchor, self.period, 1, zone))

    def _next_cycles(self, zone: str) -> Iterator[tuple[int, datetime, datetime]]:
        """The cycles after the last opened one, without end: boundary index, start, planned end.

        A start is the end of the cycle before it, so that cycles tile also when the time zone changed. Where that
        change would leave a cycle empty (a day can be shorter than the distance of two zones) it is passed over.
        """
        if self.cycles:
            index, start = self.cycles[-1].index + 1, self.cycles[-1].end
        else:
            index, start = 0, boundary(self.anchor, self.interval, 0, zone)
        while True:
            end = boundary(self.anchor, self.interval, index + 1, zone)
            if end > start:
                yield index, start, end
                start = end
            index += 1
