"""The subscription: a customer's agreement to prices over time, and its cycles.

Methods that depend on how far the cycles have come take the customer's time zone of now and open what has begun first.
Two decisions can fall on one instant (a test clock stands still). No cycle is ever empty: what interrupts a cycle at
the very instant at which it began takes that cycle's place, so that a start names one cycle.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Self

from msgspec import structs

from domain import subscription_events as events
from domain.aggregate import Root
from domain.cycle import Anchor, Interval, boundary
from domain.errors import Conflict, Invalid, NotFound
from domain.plan import CHANGE_RULES, Calendar, ChangeMode, Item, OpenedCycle, Plan, after_trial, bounded
from domain.price import UNTIL_CANCELLED, FeeRule
from domain.subscription_events import Status


class Subscription(Root):
    """One customer, some products of one currency and interval, and cycles that tile the time it is not paused."""

    TOPIC: ClassVar[str] = "subscription"

    class Created(Root.Created):
        """``billing`` is the billing address, sealed with the customer's key; ``metadata`` flat JSON as text."""

        TOPIC: ClassVar[str] = "subscription.created"
        class_version: ClassVar[int] = 2
        customer_id: str
        items: tuple[Item, ...]
        currency: str
        interval: Interval
        period: Interval
        anchor: Anchor
        billing: str
        metadata: str
        trial_days: int

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            """There were no trials."""
            state["trial_days"] = 0

    Changed = events.Changed
    PlanChanged = events.PlanChanged
    PlanChangeScheduled = events.PlanChangeScheduled
    PlanChangeUnscheduled = events.PlanChangeUnscheduled
    Paused = events.Paused
    Resumed = events.Resumed
    BillingDateMoved = events.BillingDateMoved
    CancellationScheduled = events.CancellationScheduled
    Ended = events.Ended
    CycleOpened = events.CycleOpened
    CycleCut = events.CycleCut
    CycleClosed = events.CycleClosed
    InvoiceReopened = events.InvoiceReopened
    LateUsageSettled = events.LateUsageSettled

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
        trial_days: int,
    ) -> None:
        self.customer_id = customer_id
        self.plan = Plan(items=items, interval=interval, period=period)
        self.currency = currency
        self.billing = billing
        self.metadata = metadata
        self.trial_days = trial_days
        self.calendar = Calendar(anchor=anchor, index=0, start=None, period_anchor=after_trial(anchor, trial_days))
        self.scheduled: Plan | None = None
        self.scheduled_at: datetime | None = None
        self.status = Status.active
        self.cancel_at_next_billing_date = False
        self.paused_at: datetime | None = None
        self.resumed_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.period_ends_at: datetime | None = None
        self.settled_position = 0
        self.reopened_at: datetime | None = None
        self.replaces: str | None = None
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
        trial_days: int = 0,
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
            trial_days=trial_days,
        )

    @property
    def items(self) -> tuple[Item, ...]:
        """The products of cycles that open from now on."""
        return self.plan.items

    @property
    def interval(self) -> Interval:
        """How long a cycle is planned to last."""
        return self.plan.interval

    @property
    def period(self) -> Interval:
        """How long the subscription runs, counted from its first regular cycle."""
        return self.plan.period

    @property
    def anchor(self) -> Anchor:
        """What the boundaries of cycles that have not opened are counted from."""
        return self.calendar.anchor

    def advance(self, zone: str, at: datetime) -> None:
        """Open every cycle that has begun by ``at``, and end the subscription when its time has come.

        ``zone`` is the customer's time zone now. Safe to call at any time, any number of times.
        """
        while self.status is Status.active and (start := self.next_start(zone)) <= at:
            life_end = self.life_end(zone)
            if life_end is not None and start >= life_end:
                break
            if self.scheduled is not None:
                self._replan(self.scheduled, None, self.calendar, start, at)
            else:
                self._open_next(zone, start, life_end, at)
        life_end = self.life_end(zone) if self.status in (Status.active, Status.paused) else None
        if life_end is not None and life_end <= at:
            self._end(Status.cancelled if self.cancel_at_next_billing_date else Status.expired, life_end, at)

    def next_start(self, zone: str) -> datetime:
        """Where the next cycle to open will start: the end of the newest one, or the first boundary.

        A zone that moves the first boundary back does not move it into a pause.
        """
        if self.calendar.start is not None:
            return self.calendar.start
        first = boundary(self.anchor, self.interval, self.calendar.index, zone)
        return first if self.resumed_at is None else max(first, self.resumed_at)

    def life_end(self, zone: str) -> datetime | None:
        """Where the last cycle ends, or ``None`` while that is open.

        An opened cycle is never moved: a time zone that changes under the last one changes no end. Cancelled at the
        next billing date, that date is the end of the open cycle, or the start of a subscription yet to start.
        """
        return self.next_start(zone) if self.cancel_at_next_billing_date else self._period_end(zone)

    def change_plan(self, plan: Plan, mode: ChangeMode, zone: str, at: datetime) -> None:
        """Change the plan now: the open cycle is cut and another opens, with the fees of ``mode``.

        A cycle that began at this very instant is not cut: it gets the new plan. In a mode that keeps the cycle, a
        trial goes on under the new plan; in another it ends. Before the first cycle and in a pause there is nothing to
        cut, and the plan is simply another. Nothing happens when it is the plan already, but a scheduled change is
        dropped. Raises ``Conflict`` when it has ended or is about to.
        """
        self._need_staying(zone, at)
        if plan == self.plan:
            if self.scheduled is not None:
                self.trigger_event(self.PlanChangeUnscheduled, timestamp=at)
            return
        cycle, rule, old_period = self.open_cycle(at), CHANGE_RULES[mode], self.period
        if cycle is not None and cycle.start < at:
            self.trigger_event(self.CycleCut, timestamp=at, end=at, fee=rule.before)
        anew = cycle is not None and not rule.keeps_cycle
        self._replan(plan, mode, self._anew(Anchor(instant=at), at) if anew else self.calendar, at, at)
        if cycle is not None and not anew:
            end, last = cycle.end, cycle.last
            if plan.period != old_period and not cycle.trial:
                end, last = bounded(cycle.planned_end, self._period_end(zone))
            fee = cycle.fee if cycle.trial or cycle.start == at else rule.after
            index = self.calendar.index - 1
            rest = structs.replace(cycle, index=index, start=at, end=end, last=last, items=self.items, fee=fee)
            self._open(rest, at)
        self.advance(zone, at)

    def schedule_plan_change(self, plan: Plan, zone: str, at: datetime) -> None:
        """Change the plan when the next cycle opens; a change that was scheduled before is dropped.

        Raises ``Conflict`` when the subscription has ended or is about to.
        """
        self._need_staying(zone, at)
        if plan == self.plan and self.scheduled is not None:
            self.trigger_event(self.PlanChangeUnscheduled, timestamp=at)
        elif plan not in (self.plan, self.scheduled):
            self.trigger_event(self.PlanChangeScheduled, timestamp=at, plan=plan)

    def unschedule_plan_change(self, zone: str, at: datetime) -> None:
        """Keep the plan. Raises ``NotFound`` when no change is scheduled, or when it has taken effect."""
        self.advance(zone, at)
        if self.scheduled is None:
            raise NotFound("scheduled_plan_change", self.object_id)
        self.trigger_event(self.PlanChangeUnscheduled, timestamp=at)

    def pause(self, zone: str, at: datetime) -> None:
        """Cut the open cycle, its fee shared, and open no other until it is resumed. A trial is over with that.

        Nothing happens when it is paused. Raises ``Conflict`` when it has ended or is about to.
        """
        self._need_staying(zone, at)
        if self.status is Status.paused:
            return
        if self.open_cycle(at) is not None:
            self.trigger_event(self.CycleCut, timestamp=at, end=at, fee=FeeRule.shared)
        self.trigger_event(self.Paused, timestamp=at)

    def resume(self, zone: str, at: datetime) -> None:
        """Open cycles again, the first one now. One whose first cycle still lies ahead keeps its start.

        Nothing happens when it is not paused. Raises ``Conflict`` when it has ended.
        """
        self.advance(zone, at)
        self._need_lasting()
        if self.status is not Status.paused:
            return
        ahead = not self.cycles and self.next_start(zone) > at
        calendar = self.calendar if ahead else self._anew(Anchor(instant=at), at)
        self.trigger_event(self.Resumed, timestamp=at, calendar=calendar)
        self.advance(zone, at)

    def move_billing_date(self, to: datetime, zone: str, at: datetime) -> None:
        """End the open cycle at ``to``, its fee in full, and count the next ones from there; or start there.

        Nothing happens when that is the date already. Raises ``Invalid`` when it does not lie ahead or lies after the
        end of the subscription's period, and ``Conflict`` when the subscription is paused or has ended.
        """
        self.advance(zone, at)
        self._need_lasting()
        if self.status is Status.paused:
            raise Conflict("SUBSCRIPTION_PAUSED", f"subscription '{self.object_id}' is paused and has no billing date")
        if to <= at:
            raise Invalid("next_billing_date", "must lie ahead")
        if to == self.next_start(zone):
            return
        period_end = self._period_end(zone) if self.cycles else None
        if period_end is not None and to > period_end:
            raise Invalid("next_billing_date", f"must not lie after {period_end.isoformat()}, the end of its period")
        calendar = self._anew(Anchor(instant=to), to if self.cycles else None)
        self.trigger_event(self.BillingDateMoved, timestamp=at, end=to, last=to == period_end, calendar=calendar)

    def schedule_cancellation(self, scheduled: bool, at: datetime) -> None:
        """End with the open cycle, or take that back; in a pause there is none, so it ends now.

        Raises ``Conflict`` when it has ended.
        """
        self._need_lasting()
        if scheduled and self.status is Status.paused:
            self._end(Status.cancelled, at, at)
        elif scheduled != self.cancel_at_next_billing_date:
            self.trigger_event(self.CancellationScheduled, timestamp=at, scheduled=scheduled)

    def cancel(self, at: datetime) -> None:
        """End now; the open cycle is cut at this instant. Raises ``Conflict`` when it has ended."""
        self._need_lasting()
        self._end(Status.cancelled, at, at)

    def change(self, billing: str, metadata: str, at: datetime) -> None:
        """Replace the sealed billing address and the metadata. Nothing happens when nothing differs."""
        if (billing, metadata) != (self.billing, self.metadata):
            self.trigger_event(self.Changed, timestamp=at, billing=billing, metadata=metadata)

    def close_cycle(self, cycle: OpenedCycle, invoice_id: str, at: datetime, *, settled_position: int = 0) -> None:
        """Record that a cycle was invoiced, and with it late usage of closed cycles up to a position of the log.

        Raises ``Conflict`` while it has not ended, or when it is closed.
        """
        if cycle.end > at:
            raise Conflict("CYCLE_NOT_ENDED", f"the cycle ends at {cycle.end.isoformat()}")
        if cycle.invoice_id is not None:
            raise Conflict("CYCLE_CLOSED", f"the cycle is closed by invoice '{cycle.invoice_id}'")
        self.trigger_event(
            self.CycleClosed, timestamp=at, start=cycle.start, invoice_id=invoice_id, settled_position=settled_position
        )

    def reopen(self, invoice_id: str, at: datetime) -> None:
        """Take back what a voided invoice settled: its cycle, and late usage of closed ones.

        ``reopened_at`` tells so until something is settled again, and ``replaces`` if it was a document of corrections.
        """
        self.trigger_event(self.InvoiceReopened, timestamp=at, invoice_id=invoice_id)

    def settle_late_usage(self, position: int, at: datetime) -> None:
        """Record that late usage of closed cycles was settled up to a position, without closing a cycle."""
        if position > self.settled_position:
            self.trigger_event(self.LateUsageSettled, timestamp=at, position=position)

    def earliest_unclosed(self) -> OpenedCycle | None:
        """The cycle to bill next, or ``None`` when every cycle that has begun is closed."""
        return next((cycle for cycle in self.cycles if cycle.invoice_id is None), None)

    def cycle_starting(self, start: datetime) -> OpenedCycle | None:
        """The opened cycle with this start. There is at most one."""
        return next((cycle for cycle in self.cycles if cycle.start == start), None)

    def open_cycle(self, at: datetime) -> OpenedCycle | None:
        """The newest cycle, when it is running at this instant."""
        newest = self._newest()
        return newest if newest is not None and newest.contains(at) else None

    def _newest(self) -> OpenedCycle | None:
        return self.cycles[-1] if self.cycles else None

    def _open_next(self, zone: str, start: datetime, life_end: datetime | None, at: datetime) -> None:
        """Open the cycle that begins at ``start``, the end of the one before it, so that cycles tile.

        A boundary where it would be empty (a change of zone may skip a day) is passed over, and so is such a trial.
        """
        index, planned_end, trial = -1, start, self.trial_days > 0 and not self.cycles
        if trial:
            planned_end = boundary(after_trial(self.anchor, self.trial_days), self.interval, 0, zone)
        if planned_end <= start:
            index, trial = self.calendar.index, False
            while (planned_end := boundary(self.anchor, self.interval, index + 1, zone)) <= start:
                index += 1
        end, last = bounded(planned_end, life_end)
        opened = OpenedCycle(
            index=index,
            start=start,
            end=end,
            planned_start=start,
            planned_end=planned_end,
            last=last,
            items=self.items,
            fee=FeeRule.waived if trial else FeeRule.shared,
            trial=trial,
        )
        self._open(opened, at)

    def _open(self, cycle: OpenedCycle, at: datetime) -> None:
        self.trigger_event(self.CycleOpened, timestamp=at, **cycle.opening())

    def _end(self, status: Status, end: datetime, at: datetime) -> None:
        self.trigger_event(self.Ended, timestamp=at, status=status, end=end)

    def _need_lasting(self) -> None:
        if self.status in (Status.cancelled, Status.expired):
            raise Conflict("SUBSCRIPTION_ENDED", f"subscription '{self.object_id}' is {self.status}")

    def _need_staying(self, zone: str, at: datetime) -> None:
        """Bring it to ``at``. Raises ``Conflict`` when it has ended, or is to end with the open cycle."""
        self.advance(zone, at)
        self._need_lasting()
        if self.cancel_at_next_billing_date:
            raise Conflict(
                "CANCELLATION_SCHEDULED",
                f"subscription '{self.object_id}' is cancelled at its next billing date; take that back first",
            )

    def _period_end(self, zone: str) -> datetime | None:
        """Where the subscription's period ends, never inside an opened cycle; ``None`` when it has no end."""
        if self.period == UNTIL_CANCELLED:
            return None
        if self.period_ends_at is not None:
            return self.period_ends_at
        end = boundary(self.calendar.period_anchor, self.period, 1, zone)
        return max(end, self.calendar.start) if self.calendar.start else end

    def _anew(self, anchor: Anchor, start: datetime | None) -> Calendar:
        return self.calendar.anew(anchor, start, self._newest(), self.trial_days)

    def _replan(
        self, plan: Plan, mode: ChangeMode | None, calendar: Calendar, effective_at: datetime, at: datetime
    ) -> None:
        calendar = calendar.replanned(self.plan, plan, self._newest(), effective_at)
        self.trigger_event(self.PlanChanged, timestamp=at, plan=plan, mode=mode, calendar=calendar)
