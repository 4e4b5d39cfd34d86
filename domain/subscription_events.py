"""What happens to a subscription, as the log has it. Each event writes what was decided, and decides nothing."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from domain.aggregate import Root
from domain.plan import Calendar, ChangeMode, Item, OpenedCycle, Plan, after_trial
from domain.price import FeeRule

if TYPE_CHECKING:
    from domain.subscription import Subscription


class Status(StrEnum):
    """Where a subscription is in its life. A payment is never awaited here, so it starts active."""

    active = "active"
    paused = "paused"
    cancelled = "cancelled"
    expired = "expired"


class CycleOpened(Root.Event):
    """A cycle began. Its ends and terms are read from here ever after, whatever becomes of zone and plan.

    One with the start of the newest cycle takes its place: no time had passed in it. A first one that is a trial
    moves the anchor behind it.
    """

    TOPIC: ClassVar[str] = "cycle.opened"
    class_version: ClassVar[int] = 2
    index: int
    start: datetime
    end: datetime
    planned_start: datetime
    planned_end: datetime
    last: bool
    items: tuple[Item, ...]
    fee: FeeRule
    trial: bool

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Every cycle had the subscription's products, was planned from its start, and shared its fee."""
        state |= {"planned_start": state["start"], "items": [], "fee": FeeRule.shared, "trial": False}

    def apply(self, aggregate: Subscription) -> None:
        """Add the cycle; the next one starts at its end."""
        opened = OpenedCycle(
            index=self.index,
            start=self.start,
            end=self.end,
            planned_start=self.planned_start,
            planned_end=self.planned_end,
            last=self.last,
            items=self.items or aggregate.items,
            fee=self.fee,
            trial=self.trial,
        )
        anchor = aggregate.anchor
        if self.trial and not aggregate.cycles:
            anchor = after_trial(anchor, aggregate.trial_days)
        if aggregate.cycles and aggregate.cycles[-1].start == self.start:
            aggregate.cycles.pop()
        aggregate.cycles.append(opened)
        aggregate.period_ends_at = self.end if self.last else aggregate.period_ends_at
        aggregate.calendar = msgspec.structs.replace(
            aggregate.calendar, anchor=anchor, index=self.index + 1, start=self.end
        )


class CycleCut(Root.Event):
    """The newest cycle ends at ``end``, before its time. One that began just then never was."""

    TOPIC: ClassVar[str] = "cycle.cut"
    end: datetime
    fee: FeeRule

    def apply(self, aggregate: Subscription) -> None:
        """Cut it; what comes next starts there."""
        newest = aggregate.cycles.pop()
        if newest.start < self.end:
            aggregate.cycles.append(newest.until(self.end, self.fee))
        aggregate.calendar = msgspec.structs.replace(aggregate.calendar, start=self.end)


class CycleClosed(Root.Event):
    """A cycle was rated and invoiced, together with late usage up to ``settled_position``."""

    TOPIC: ClassVar[str] = "cycle.closed"
    class_version: ClassVar[int] = 2
    start: datetime
    invoice_id: str
    settled_position: int

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Late usage was not looked at."""
        state["settled_position"] = 0

    def apply(self, aggregate: Subscription) -> None:
        """Name the invoice on the cycle."""
        aggregate.settled_position = max(aggregate.settled_position, self.settled_position)
        aggregate.reopened_at = aggregate.replaces = None
        aggregate.cycles = [
            msgspec.structs.replace(cycle, invoice_id=self.invoice_id) if cycle.start == self.start else cycle
            for cycle in aggregate.cycles
        ]


class LateUsageSettled(Root.Event):
    """Late usage up to ``position`` was settled without closing a cycle."""

    TOPIC: ClassVar[str] = "subscription.late_usage_settled"
    position: int

    def apply(self, aggregate: Subscription) -> None:
        """Write the position."""
        aggregate.settled_position = self.position
        aggregate.reopened_at = aggregate.replaces = None


class InvoiceReopened(Root.Event):
    """An invoice was voided: the cycle that it closed is to be invoiced again, and late usage to be settled anew."""

    TOPIC: ClassVar[str] = "cycle.reopened"
    invoice_id: str

    def apply(self, aggregate: Subscription) -> None:
        """Take the invoice off its cycle. One that only corrected closed cycles has none: the next such names it."""
        aggregate.settled_position = 0
        aggregate.reopened_at = self.timestamp
        if all(cycle.invoice_id != self.invoice_id for cycle in aggregate.cycles):
            aggregate.replaces = self.invoice_id
        aggregate.cycles = [
            msgspec.structs.replace(cycle, invoice_id=None, replaces=self.invoice_id, reopened_at=self.timestamp)
            if cycle.invoice_id == self.invoice_id
            else cycle
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


class PlanChanged(Root.Event):
    """Cycles that open from now on have this plan. ``mode`` is how the cut one is billed; none was at an opening."""

    TOPIC: ClassVar[str] = "subscription.plan_changed"
    plan: Plan
    mode: ChangeMode | None
    calendar: Calendar

    def apply(self, aggregate: Subscription) -> None:
        """Write plan and calendar. A plan that runs for another time ends at another time."""
        if self.plan.period != aggregate.period:
            aggregate.period_ends_at = None
        aggregate.plan = self.plan
        aggregate.calendar = self.calendar
        aggregate.scheduled = None


class PlanChangeScheduled(Root.Event):
    """The next cycle to open will have this plan."""

    TOPIC: ClassVar[str] = "subscription.plan_change_scheduled"
    plan: Plan

    def apply(self, aggregate: Subscription) -> None:
        """Note it."""
        aggregate.scheduled = self.plan
        aggregate.scheduled_at = self.timestamp


class PlanChangeUnscheduled(Root.Event):
    """The plan stays."""

    TOPIC: ClassVar[str] = "subscription.plan_change_unscheduled"

    def apply(self, aggregate: Subscription) -> None:
        """Forget it."""
        aggregate.scheduled = None


class Paused(Root.Event):
    """No cycle opens until it is resumed. The open one was cut."""

    TOPIC: ClassVar[str] = "subscription.paused"

    def apply(self, aggregate: Subscription) -> None:
        """Write the status."""
        aggregate.status = Status.paused
        aggregate.paused_at = self.timestamp


class Resumed(Root.Event):
    """Cycles open again, by this calendar."""

    TOPIC: ClassVar[str] = "subscription.resumed"
    calendar: Calendar

    def apply(self, aggregate: Subscription) -> None:
        """Write both."""
        aggregate.status = Status.active
        aggregate.paused_at = None
        aggregate.resumed_at = self.timestamp
        aggregate.calendar = self.calendar


class BillingDateMoved(Root.Event):
    """The open cycle ends at ``end``, planned so, with its fee in full; or the first one starts there."""

    TOPIC: ClassVar[str] = "subscription.billing_date_moved"
    end: datetime
    last: bool
    calendar: Calendar

    def apply(self, aggregate: Subscription) -> None:
        """Move the end."""
        if aggregate.cycles:
            newest = aggregate.cycles.pop().until(self.end, FeeRule.full)
            # The part of the fee that a cycle begun late has left to pay for stays a part of its old span.
            planned_end = self.end if newest.start == newest.planned_start else newest.planned_end
            aggregate.cycles.append(msgspec.structs.replace(newest, planned_end=planned_end, last=self.last))
        aggregate.calendar = self.calendar


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
        aggregate.paused_at = None
        aggregate.scheduled = None
        aggregate.cycles = [
            cycle.until(self.end, FeeRule.shared) if self.end < cycle.end else cycle
            for cycle in aggregate.cycles
            if cycle.start < self.end
        ]
