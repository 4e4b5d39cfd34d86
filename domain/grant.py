"""Grants of credits: when they are valid, in which order they are drawn on, and what a rollover makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from domain import number
from domain.cycle import Anchor, Interval, boundary
from domain.entitlement import PERCENT_MAX, BurnOrder

_NEVER = datetime.max.replace(tzinfo=UTC)
_CHILD = "."


class SourceType(StrEnum):
    """Where a grant comes from, as written on the wire."""

    subscription = "subscription"
    api = "api"
    rollover = "rollover"
    one_time = "one_time"


class GrantedCycle(msgspec.Struct, frozen=True, kw_only=True):
    """The cycle that a product granted credits for. A child of a rollover has the span of its own life instead."""

    subscription_id: str
    product_id: str
    start: datetime
    end: datetime

    def expiry(self, lasts_until: datetime | None, outlives: bool) -> datetime | None:
        """Where its grants expire: with it, or earlier; those that outlive it only at their own end.

        In a cycle that never was, nothing outlives anything.
        """
        if outlives and self.start < self.end:
            return lasts_until
        return self.end if lasts_until is None else min(self.end, lasts_until)


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cycles after a granting one end: boundary ``index`` is the granting cycle's own end."""

    anchor: Anchor
    interval: Interval
    zone: str
    index: int


class RolloverTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a grant's rest, as it was when the grant was made.

    ``percentage`` of it lives on for the ``timeframe``, or without one until the next boundary of the calendar; at most
    ``max_count`` times.
    """

    calendar: Calendar
    percentage: int = PERCENT_MAX
    timeframe: Interval | None = None
    max_count: int | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that are valid in ``[begins, expires)``; without ``expires`` for ever.

    ``order`` counts the grants of an account as they were recorded; a child of a rollover has its root's.
    ``lasts_until`` is where a cycle's grant would expire if its cycle were longer; ``None`` is nowhere. One that
    ``outlives`` its cycle does not end with it.
    """

    id: str
    amount: Decimal
    begins: datetime
    expires: datetime | None
    source_type: SourceType
    order: int
    recorded_at: datetime | None = None
    source_id: str | None = None
    parent_grant_id: str | None = None
    rollover_count: int = 0
    rollover: RolloverTerms | None = None
    cycle: GrantedCycle | None = None
    lasts_until: datetime | None = None
    outlives: bool = False
    reason: str | None = None
    metadata: str = "{}"

    def valid_at(self, at: datetime) -> bool:
        """Whether it can be used at that instant."""
        return self.begins <= at and not self.expired_by(at)

    def expired_by(self, at: datetime) -> bool:
        """Whether its last instant has passed."""
        return self.expires is not None and self.expires <= at

    @property
    def never_was(self) -> bool:
        """Whether it ends as it begins: another cycle took the place of the one that it was made for."""
        return not self.valid_at(self.begins)

    @property
    def place(self) -> tuple[int, str, str, int]:
        """Its place among the grants that begin with it: whichever of two cycles was opened first, it is the same.

        What was rolled over is the older part of them, so it comes first.
        """
        subscription_id, product_id = (self.cycle.subscription_id, self.cycle.product_id) if self.cycle else ("", "")
        return -self.rollover_count, subscription_id, product_id, self.order

    @property
    def made_for(self) -> tuple[str, str, datetime] | None:
        """The subscription, product and start of the cycle that included it; ``None`` for every other grant."""
        cycle = self.cycle
        if cycle is None or self.rollover_count:
            return None
        return cycle.subscription_id, cycle.product_id, cycle.start

    @property
    def root_id(self) -> str:
        """The id of the grant that was made first; a child's own id is derived from it."""
        return self.id if self.parent_grant_id is None else self.id.rpartition(_CHILD)[0]

    @property
    def rolls_at(self) -> datetime | None:
        """When its rest is rolled over, or ``None``: without terms, when it was often enough, or when it ends early."""
        terms, cycle = self.rollover, self.cycle
        if terms is None or cycle is None or self.expires != cycle.end or cycle.end <= self.begins:
            return None
        return None if terms.max_count is not None and self.rollover_count >= terms.max_count else cycle.end


def child_place(grant_id: str) -> tuple[str, int] | None:
    """The root and the rollover count of a child's id, or ``None`` for the id of a grant that is no child."""
    root, _, count = grant_id.rpartition(_CHILD)
    return (root, int(count)) if root and count.isdecimal() else None


def child_of(parent: Grant, amount: Decimal) -> Grant:
    """The grant that a rollover makes. Its id follows from the parent's: it is the same before it is recorded."""
    terms, cycle = parent.rollover, parent.cycle
    assert terms is not None, "only a grant with terms is rolled over"
    assert cycle is not None, "only a cycle's grant is rolled over"
    calendar, expires = _next_end(terms, cycle.end)
    return Grant(
        id=f"{parent.root_id}{_CHILD}{parent.rollover_count + 1}",
        amount=amount,
        begins=cycle.end,
        expires=expires,
        source_type=SourceType.rollover,
        order=parent.order,
        source_id=parent.source_id,
        parent_grant_id=parent.id,
        rollover_count=parent.rollover_count + 1,
        rollover=msgspec.structs.replace(terms, calendar=calendar),
        cycle=msgspec.structs.replace(cycle, start=cycle.end, end=expires),
    )


def _next_end(terms: RolloverTerms, begins: datetime) -> tuple[Calendar, datetime]:
    calendar = terms.calendar
    if terms.timeframe is not None:
        return calendar, boundary(Anchor(instant=begins), terms.timeframe, 1, calendar.zone)
    expires = begins
    # A zone that skips a date makes two boundaries one; a life is never empty.
    while expires <= begins:
        calendar = msgspec.structs.replace(calendar, index=calendar.index + 1)
        expires = boundary(calendar.anchor, calendar.interval, calendar.index, calendar.zone)
    return calendar, expires


def rolled_amount(grant: Grant, left: Decimal, precision: int) -> Decimal:
    """How much of what is left lives on."""
    assert grant.rollover is not None, "only a grant with terms is rolled over"
    share = number.quotient(number.times(left, Decimal(grant.rollover.percentage)), Decimal(PERCENT_MAX), precision)
    return min(left, share)


def burn_key(order: BurnOrder) -> Callable[[Grant], tuple[datetime, datetime, tuple[int, str, str, int]]]:
    """The sort key of a burn order. Grants that begin together go by their place, children first."""

    def key(grant: Grant) -> tuple[datetime, datetime, tuple[int, str, str, int]]:
        first = grant.begins if order is BurnOrder.oldest else grant.expires or _NEVER
        return first, grant.begins, grant.place

    return key


def turning_points(grants: Iterable[Grant], rolled: Iterable[str], start: datetime, end: datetime) -> list[datetime]:
    """The instants strictly between start and end at which a grant begins or expires, in order.

    Children that rollovers yet to be recorded may make count too; ``rolled`` names the grants that had theirs.
    """
    done = frozenset(rolled)
    points = {
        at
        for grant in grants
        for one in _with_children(grant, end, grant.id in done)
        for at in (one.begins, one.expires)
        if at is not None and start < at < end
    }
    return sorted(points)


def _with_children(grant: Grant, end: datetime, done: bool) -> Iterator[Grant]:
    yield grant
    while not done and grant.rolls_at is not None and grant.rolls_at < end:
        grant = child_of(grant, grant.amount)
        yield grant
