"""Cycles tile: open time and paused time lie end to end, in every zone, whatever is done to the subscription."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cycle import Anchor, Interval, Unit
from domain.errors import Refusal
from domain.plan import ChangeMode
from domain.price import UNTIL_CANCELLED
from domain.subscription import Subscription
from domain.subscription_events import Status
from tests.domain.subscribed import MONTHLY, day, plan, replayed, subscribed

TEN_YEARS = timedelta(days=3_653)
SKIPPED_A_DATE = {"Pacific/Apia", "Pacific/Fakaofo"}
"""Both moved across the date line at the end of 2011: one date has no instant there."""


@cache
def zones() -> list[str]:
    """Every zone of the time zone database."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return sorted(set(names) - {"Factory"})


ZONES = st.deferred(lambda: st.sampled_from(zones()))
DATES = st.dates(date(2000, 1, 1), date(2035, 12, 31))
INTERVALS = st.builds(
    Interval,
    count=st.integers(1, 6),
    unit=st.sampled_from([Unit.Week, Unit.Month, Unit.Year]),
) | st.builds(Interval, count=st.integers(7, 90), unit=st.just(Unit.Day))


def assert_tiled(subscription: Subscription) -> None:
    """No cycle is empty, none overlaps, each start is one cycle's, and a gap is there only where it was paused."""
    assert all(cycle.start < cycle.end <= max(cycle.end, cycle.planned_end) for cycle in subscription.cycles)
    assert all(cycle.planned_start <= cycle.start for cycle in subscription.cycles)
    for before, after in pairwise(subscription.cycles):
        assert before.end <= after.start


@settings(max_examples=60)
@given(ZONES, DATES, INTERVALS)
def test_ten_years_of_cycles_tile_in_any_zone(zone: str, anchor: date, interval: Interval) -> None:
    begun = datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC)
    subscription = subscribed(Anchor(date=anchor), interval=interval, at=begun)
    subscription.advance(zone, begun + TEN_YEARS)
    assert_tiled(subscription)
    assert all(before.end == after.start for before, after in pairwise(subscription.cycles))
    assert subscription.cycles[-1].end > begun + TEN_YEARS - timedelta(days=1)
    for cycle in subscription.cycles:
        local = cycle.start.astimezone(ZoneInfo(zone)).date()
        earlier = (cycle.start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()
        assert earlier < local


@pytest.mark.parametrize("anchor", [date(2011, 1, 31), date(2025, 12, 1)])
def test_monthly_cycles_tile_in_every_zone(anchor: date) -> None:
    """Fourteen months, through each of a year's changes of clocks."""
    begun = datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC)
    assert len(zones()) > 500
    for zone in zones():
        subscription = subscribed(Anchor(date=anchor), at=begun)
        subscription.advance(zone, begun + timedelta(days=420))
        assert len(subscription.cycles) == 14, zone
        assert_tiled(subscription)
        assert all(before.end == after.start for before, after in pairwise(subscription.cycles))
        days = [cycle.start.astimezone(ZoneInfo(zone)).day for cycle in subscription.cycles]
        assert {*days} <= ({1} if anchor.day == 1 else {28, 29, 30, 31}), zone


@pytest.mark.parametrize("zone", sorted(SKIPPED_A_DATE))
def test_daily_cycles_pass_over_a_date_that_has_no_instant(zone: str) -> None:
    subscription = subscribed(
        Anchor(date=date(2011, 12, 28)), interval=Interval(count=1, unit=Unit.Day), at=day(12, 27, year=2011)
    )
    subscription.advance(zone, day(1, 2, year=2012))
    assert_tiled(subscription)
    assert {cycle.end - cycle.start for cycle in subscription.cycles} == {timedelta(days=1)}


@given(
    DATES,
    st.sampled_from(list(Unit)),
    st.integers(1, 5),
    st.lists(ZONES, min_size=1, max_size=6),
)
def test_cycles_tile_whatever_becomes_of_the_time_zone(anchor: date, unit: Unit, count: int, moves: list[str]) -> None:
    begun = datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC)
    subscription = subscribed(Anchor(date=anchor), interval=Interval(count=count, unit=unit), at=begun)
    for months, zone in enumerate(moves, start=1):
        subscription.advance(zone, begun + months * timedelta(days=31))
    assert_tiled(subscription)
    assert all(before.end == after.start for before, after in pairwise(subscription.cycles))


PLANS = st.builds(
    plan,
    st.sampled_from(["pdt_1", "pdt_2", "pdt_3"]),
    st.integers(1, 2),
    INTERVALS,
    st.sampled_from([UNTIL_CANCELLED, Interval(count=7, unit=Unit.Month), Interval(count=3, unit=Unit.Year)]),
)
STEPS = st.lists(
    st.tuples(
        # Some steps fall on one instant, some on the microsecond of a boundary, most a while later.
        st.sampled_from(["now", "boundary", "later"]),
        st.integers(1, 100 * 24 * 3_600),
        st.one_of(
            st.tuples(st.just("advance")),
            st.tuples(st.just("pause")),
            st.tuples(st.just("resume")),
            st.tuples(st.just("change"), PLANS, st.sampled_from(list(ChangeMode))),
            st.tuples(st.just("schedule"), PLANS),
            st.tuples(st.just("unschedule")),
            st.tuples(st.just("move"), st.integers(1, 90 * 24 * 3_600)),
            st.tuples(st.just("cancel_later"), st.booleans()),
        ),
        ZONES,
    ),
    max_size=25,
)


class History:
    """A subscription and the spans in which it was paused."""

    def __init__(self, anchor: date, trial_days: int, period: Interval, zone: str) -> None:
        self.at = datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC)
        self.subscription = subscribed(Anchor(date=anchor), trial_days=trial_days, period=period, at=self.at)
        self.zone = zone
        self.paused: list[tuple[datetime, datetime]] = []

    def wait(self, how: str, seconds: int) -> None:
        if how == "later":
            self.at += timedelta(seconds=seconds)
        elif how == "boundary":
            self.at = max(self.at, self.subscription.next_start(self.zone))

    def step(self, name: str, *values: object) -> None:
        subscription, zone, at = self.subscription, self.zone, self.at
        paused_at = subscription.paused_at
        with suppress(Refusal):
            match name, values:
                case "change", (new, mode):
                    subscription.change_plan(new, mode, zone, at)  # type: ignore[arg-type]
                case "schedule", (new,):
                    subscription.schedule_plan_change(new, zone, at)  # type: ignore[arg-type]
                case "unschedule", ():
                    subscription.unschedule_plan_change(zone, at)
                case "move", (int(seconds),):
                    subscription.move_billing_date(at + timedelta(seconds=seconds), zone, at)
                case "cancel_later", (bool(scheduled),):
                    subscription.advance(zone, at)
                    subscription.schedule_cancellation(scheduled, at)
                case _:
                    getattr(subscription, name)(zone, at)
        if paused_at is not None and subscription.paused_at is None:
            self.paused.append((paused_at, subscription.ended_at or at))


@settings(max_examples=300)
@given(
    DATES,
    st.sampled_from([0, 1, 14]),
    st.sampled_from([UNTIL_CANCELLED, Interval(count=2, unit=Unit.Year)]),
    ZONES,
    STEPS,
)
def test_open_and_paused_time_tile_through_any_history(
    anchor: date, trial_days: int, period: Interval, zone: str, steps: list[tuple[str, int, tuple[object, ...], str]]
) -> None:
    history = History(anchor, trial_days, period, zone)
    for how, seconds, (name, *values), other_zone in steps:
        history.wait(how, seconds)
        if seconds % 5 == 0:
            history.zone = other_zone
        history.step(str(name), *values)
        assert_tiled(history.subscription)
    subscription = history.subscription
    subscription.advance(history.zone, history.at)
    paused = [*history.paused]
    if subscription.paused_at is not None:
        paused.append((subscription.paused_at, history.at))
    cycles = [(cycle.start, cycle.end) for cycle in subscription.cycles]
    if cycles:
        start = cycles[0][0]
        lasting = sorted([*cycles, *(span for span in paused if span[0] >= start and span[0] < span[1])])
        for before, after in pairwise(lasting):
            assert before[1] == after[0]
        until = subscription.ended_at or history.at
        assert subscription.ended_at is None or lasting[-1][1] == until
        assert lasting[-1][1] >= until
    assert len({start for start, _ in cycles}) == len(cycles)
    again = replayed(subscription)
    assert (again.cycles, again.status, again.calendar) == (
        subscription.cycles,
        subscription.status,
        subscription.calendar,
    )


def test_a_history_can_fail_to_tile() -> None:
    """The laws above see a cycle that starts too early."""
    subscription = subscribed(at=day(1))
    subscription.advance("UTC", day(3))
    subscription.cycles[1] = subscription.cycles[0]
    with pytest.raises(AssertionError):
        assert_tiled(subscription)
    assert (subscription.status, subscription.interval) == (Status.active, MONTHLY)
