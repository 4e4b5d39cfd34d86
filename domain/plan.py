"""What a subscription is subscribed to, what a cycle of it states, and what a change of plan does to both."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from domain.cycle import Anchor, Interval, Unit, moved
from domain.price import FeeRule


class Item(msgspec.Struct, frozen=True):
    """One product of a subscription. ``quantity`` multiplies its fixed price and nothing else."""

    product_id: str
    quantity: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Products, how long their cycle is, and how long the subscription runs. The products agree on both."""

    items: tuple[Item, ...]
    interval: Interval
    period: Interval


class OpenedCycle(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle as the log has it, half-open, with everything that billing it depends on.

    The planned span is what the fixed fee pays for: ``planned_start`` lies before ``start`` when the cycle goes on
    where another was cut, and ``planned_end`` after ``end`` when it was cut itself. ``index`` counts from the anchor
    of its time; the one before a first boundary, such as a trial, is -1. ``last`` says that the subscription's period
    ends with it. ``replaces`` is the voided invoice that the next one stands for, ``reopened_at`` when it was voided.
    """

    index: int
    start: datetime
    end: datetime
    planned_start: datetime
    planned_end: datetime
    last: bool
    items: tuple[Item, ...]
    fee: FeeRule
    trial: bool
    invoice_id: str | None = None
    replaces: str | None = None
    reopened_at: datetime | None = None

    @property
    def billable_at(self) -> datetime:
        """From when on the grace period counts: the cycle's end, or when its invoice was voided."""
        return self.end if self.reopened_at is None else max(self.end, self.reopened_at)

    def contains(self, at: datetime) -> bool:
        """Whether the instant lies in the cycle: its start does, its end does not."""
        return self.start <= at < self.end

    def opening(self) -> dict[str, Any]:
        """What is stated of it when it opens: all but what becomes of it later."""
        later = ("invoice_id", "replaces", "reopened_at")
        return {field: value for field, value in msgspec.structs.asdict(self).items() if field not in later}

    def until(self, end: datetime, fee: FeeRule) -> OpenedCycle:
        """The cycle when it is cut at ``end``. A fee that is waived stays so, whatever the cut would charge."""
        kept = FeeRule.waived if self.fee is FeeRule.waived else fee
        return msgspec.structs.replace(self, end=end, fee=kept, last=False)


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """Where cycles that have not opened will lie.

    Boundaries are counted from ``anchor``; the next cycle ends at boundary ``index + 1``. It starts at ``start``, or
    at boundary ``index`` while no cycle has opened. The subscription's period is counted from ``period_anchor``.
    """

    anchor: Anchor
    index: int
    start: datetime | None
    period_anchor: Anchor

    def replanned(self, old: Plan, new: Plan, newest: OpenedCycle | None, at: datetime) -> Calendar:
        """The calendar when the plan changes at ``at``; the next boundary stays.

        Another interval counts from that boundary on. Another period counts from ``at``, unless the first regular
        cycle is yet to come.
        """
        anchor, index = self.anchor, self.index
        if new.interval != old.interval:
            anchor, index = moved(anchor, old.interval, index), 0
        period_anchor = self.period_anchor
        if new.period != old.period and newest is not None and not newest.trial:
            period_anchor = Anchor(instant=at)
        return Calendar(anchor=anchor, index=index, start=self.start, period_anchor=period_anchor)

    def anew(self, anchor: Anchor, start: datetime | None, newest: OpenedCycle | None, trial_days: int) -> Calendar:
        """The calendar of cycles that are counted from a new anchor.

        The period goes on counting from the first regular cycle, unless that is yet to come.
        """
        period_anchor = self.period_anchor
        if newest is None:
            period_anchor = after_trial(anchor, trial_days)
        elif newest.trial:
            period_anchor = anchor
        return Calendar(anchor=anchor, index=0, start=start, period_anchor=period_anchor)


def bounded(planned_end: datetime, life_end: datetime | None) -> tuple[datetime, bool]:
    """Where a cycle ends when the subscription's life ends at ``life_end``, and whether it is the last."""
    if life_end is None or planned_end < life_end:
        return planned_end, False
    return life_end, True


def after_trial(anchor: Anchor, days: int) -> Anchor:
    """The anchor of the regular cycles when a trial of so many days, or of none, comes before them."""
    return moved(anchor, Interval(count=days, unit=Unit.Day), 1) if days else anchor


class ChangeMode(StrEnum):
    """How a change of plan inside a cycle is billed, as written on the wire."""

    prorated_immediately = "prorated_immediately"
    full_immediately = "full_immediately"
    difference_immediately = "difference_immediately"
    prorated_immediately_keep_cycle = "prorated_immediately_keep_cycle"
    do_not_bill = "do_not_bill"


class ChangeRule(msgspec.Struct, frozen=True):
    """The fees of the cycle that is cut and of the one after it, and whether that ends where the old would have.

    Otherwise the instant of the change is the new anchor.
    """

    before: FeeRule
    after: FeeRule
    keeps_cycle: bool


CHANGE_RULES = {
    ChangeMode.prorated_immediately: ChangeRule(FeeRule.shared, FeeRule.shared, keeps_cycle=False),
    ChangeMode.full_immediately: ChangeRule(FeeRule.full, FeeRule.shared, keeps_cycle=False),
    ChangeMode.difference_immediately: ChangeRule(FeeRule.waived, FeeRule.shared, keeps_cycle=False),
    ChangeMode.prorated_immediately_keep_cycle: ChangeRule(FeeRule.shared, FeeRule.shared, keeps_cycle=True),
    ChangeMode.do_not_bill: ChangeRule(FeeRule.full, FeeRule.waived, keeps_cycle=True),
}
