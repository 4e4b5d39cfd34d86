"""Subscriptions: cycles open, tile, are cut and closed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cycle import Anchor, Interval, Unit
from domain.errors import Conflict
from domain.price import UNTIL_CANCELLED
from domain.subscription import Item, Status, Subscription

MONTHLY = Interval(count=1, unit=Unit.Month)


def subscribed(
    anchor: Anchor, *, interval: Interval = MONTHLY, period: Interval = UNTIL_CANCELLED, at: datetime
) -> Subscription:
    return Subscription.create(
        "sub_1",
        customer_id="ada",
        items=(Item("pdt_1", 1),),
        currency="USD",
        interval=interval,
        period=period,
        anchor=anchor,
        billing="",
        metadata="{}",
        at=at,
    )


def day(month: int, of: int = 1, hour: int = 0) -> datetime:
    return datetime(2026, month, of, hour, tzinfo=UTC)


def starts(subscription: Subscription) -> list[datetime]:
    return [cycle.start for cycle in subscription.cycles]


def test_an_anchor_in_the_past_opens_every_cycle_since() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(3, 10))
    subscription.advance("UTC", day(3, 10))
    assert starts(subscription) == [day(1), day(2), day(3)]
    assert subscription.cycles[-1].end == day(4)


def test_an_anchor_in_the_future_opens_nothing_and_there_is_no_stub_before_it() -> None:
    subscription = subscribed(Anchor(date=date(2026, 4, 1)), at=day(3, 10))
    subscription.advance("UTC", day(3, 31))
    assert subscription.cycles == []
    subscription.advance("UTC", day(4))
    assert starts(subscription) == [day(4)]


def test_without_an_anchor_date_the_cycle_starts_at_the_instant_of_creation() -> None:
    at = datetime(2026, 1, 31, 13, 14, 15, 161718, tzinfo=UTC)
    subscription = subscribed(Anchor(instant=at), at=at)
    subscription.advance("Asia/Tokyo", at + timedelta(days=60))
    assert starts(subscription) == [at, at.replace(month=2, day=28), at.replace(month=3)]


def test_advancing_again_changes_nothing() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(3))
    subscription.advance("UTC", day(3))
    version = subscription.version
    subscription.advance("UTC", day(3))
    assert subscription.version == version


def test_a_changed_time_zone_moves_only_cycles_that_have_not_opened() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(1, 5))
    subscription.advance("UTC", day(1, 5))
    subscription.advance("America/New_York", day(2, 5))
    assert subscription.cycles[0].end == subscription.cycles[1].start == day(2)
    assert subscription.cycles[1].end == day(3, 1, 5)


def test_a_subscription_that_runs_for_its_period_expires() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), period=Interval(count=2, unit=Unit.Month), at=day(1))
    subscription.advance("UTC", day(6))
    assert starts(subscription) == [day(1), day(2)]
    assert (subscription.status, subscription.ended_at) == (Status.expired, day(3))


def test_the_last_cycle_ends_with_the_period() -> None:
    subscription = subscribed(
        Anchor(date=date(2026, 1, 1)),
        interval=Interval(count=3, unit=Unit.Week),
        period=Interval(count=1, unit=Unit.Month),
        at=day(1),
    )
    subscription.advance("UTC", day(6))
    last = subscription.cycles[-1]
    assert (last.start, last.end, last.planned_end) == (day(1, 22), day(2), day(2, 12))


def test_cancelled_now_the_open_cycle_is_cut() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(1))
    subscription.advance("UTC", day(1, 11))
    subscription.cancel(day(1, 11))
    (cycle,) = subscription.cycles
    assert (cycle.end, cycle.planned_end, subscription.status) == (day(1, 11), day(2), Status.cancelled)
    subscription.advance("UTC", day(6))
    assert len(subscription.cycles) == 1
    with pytest.raises(Conflict, match="cancelled"):
        subscription.cancel(day(6))


def test_cancelled_at_the_next_billing_date_the_open_cycle_is_the_last() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(1))
    subscription.advance("UTC", day(1, 11))
    subscription.schedule_cancellation(True, day(1, 11))
    subscription.advance("UTC", day(6))
    assert starts(subscription) == [day(1)]
    assert (subscription.status, subscription.ended_at) == (Status.cancelled, day(2))


def test_a_scheduled_cancellation_can_be_taken_back() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(1))
    subscription.advance("UTC", day(1, 11))
    subscription.schedule_cancellation(True, day(1, 11))
    subscription.schedule_cancellation(False, day(1, 12))
    subscription.advance("UTC", day(2, 2))
    assert starts(subscription) == [day(1), day(2)]


def test_a_cycle_closes_once_and_only_after_its_end() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(1))
    subscription.advance("UTC", day(1))
    with pytest.raises(Conflict) as early:
        subscription.close_cycle(subscription.cycles[0], "inv_1", day(2) - timedelta(microseconds=1))
    assert early.value.code == "CYCLE_NOT_ENDED"
    subscription.close_cycle(subscription.cycles[0], "inv_1", day(2))
    with pytest.raises(Conflict) as twice:
        subscription.close_cycle(subscription.cycles[0], "inv_2", day(2))
    assert twice.value.code == "CYCLE_CLOSED"
    subscription.advance("UTC", day(2))
    assert subscription.earliest_unclosed() == subscription.cycles[1]


@given(
    st.dates(date(2020, 1, 1), date(2026, 1, 1)),
    st.sampled_from(list(Unit)),
    st.integers(1, 5),
    st.lists(st.sampled_from(["UTC", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]), min_size=1, max_size=6),
)
def test_cycles_tile_whatever_becomes_of_the_time_zone(anchor: date, unit: Unit, count: int, zones: list[str]) -> None:
    subscription = subscribed(Anchor(date=anchor), interval=Interval(count=count, unit=unit), at=day(1))
    for month, zone in enumerate(zones, start=1):
        subscription.advance(zone, day(month, 15))
    for before, after in pairwise(subscription.cycles):
        assert before.end == after.start
    assert all(cycle.start < cycle.end for cycle in subscription.cycles)


def test_the_stream_replays_to_the_same_subscription() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(1))
    subscription.advance("UTC", day(3))
    subscription.close_cycle(subscription.cycles[0], "inv_1", day(3))
    subscription.cancel(day(3, 5))
    replayed = None
    for event in subscription.collect_events():
        replayed = event.mutate(replayed)
    assert isinstance(replayed, Subscription)
    assert (replayed.cycles, replayed.status) == (subscription.cycles, subscription.status)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_a_changed_time_zone_moves_no_opened_cycle_at_the_end_of_the_period(zone: str) -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), period=MONTHLY, at=day(1))
    subscription.advance("UTC", day(1, 10))
    subscription.advance(zone, day(3))
    (cycle,) = subscription.cycles
    assert (cycle.start, cycle.end, cycle.planned_end) == (day(1), day(2), day(2))
    assert (subscription.status, subscription.ended_at) == (Status.expired, day(2))


def test_a_period_that_ends_inside_an_opened_cycle_of_another_zone_cuts_nothing() -> None:
    subscription = subscribed(
        Anchor(date=date(2026, 1, 1)),
        interval=Interval(count=31, unit=Unit.Day),
        period=Interval(count=2, unit=Unit.Month),
        at=day(1),
    )
    subscription.advance("America/Los_Angeles", day(1, 10))
    subscription.advance("Asia/Tokyo", day(6))
    first, second = subscription.cycles
    assert first.end == second.start == day(2, 1, 8)
    assert second.end == subscription.ended_at == day(2, 28, 15)


def test_cancelled_before_it_starts_nothing_is_billed() -> None:
    subscription = subscribed(Anchor(date=date(2026, 5, 1)), at=day(3))
    subscription.schedule_cancellation(True, day(3))
    subscription.advance("UTC", day(6))
    assert subscription.cycles == []
    assert (subscription.status, subscription.ended_at) == (Status.cancelled, day(5))
