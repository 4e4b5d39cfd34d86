"""Subscriptions: cycles open, tile, are cut and closed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from domain.cycle import Anchor, Interval, Unit
from domain.errors import Conflict
from domain.price import FeeRule
from domain.subscription import Subscription
from domain.subscription_events import Status
from tests.domain.subscribed import MONTHLY, day, replayed, starts, subscribed


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


def test_the_stream_replays_to_the_same_subscription() -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 1)), at=day(1))
    subscription.advance("UTC", day(3))
    subscription.close_cycle(subscription.cycles[0], "inv_1", day(3))
    subscription.cancel(day(3, 5))
    again = replayed(subscription)
    assert (again.cycles, again.status) == (subscription.cycles, subscription.status)


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


def test_a_voided_invoice_makes_its_cycle_the_next_to_bill_and_late_usage_is_settled_anew() -> None:
    subscription = subscribed(at=day(1))
    subscription.advance("UTC", day(4))
    for number, cycle in enumerate(subscription.cycles[:3]):
        subscription.close_cycle(cycle, f"inv_{number}", day(4), settled_position=10 + number)
    assert subscription.settled_position == 12
    subscription.reopen("inv_1", day(4))
    reopened = subscription.earliest_unclosed()
    assert reopened is not None
    assert (reopened.start, reopened.invoice_id, reopened.replaces) == (day(2), None, "inv_1")
    assert subscription.settled_position == 0
    subscription.close_cycle(reopened, "inv_9", day(4), settled_position=20)
    assert (subscription.cycles[1].invoice_id, subscription.cycles[1].replaces) == ("inv_9", "inv_1")
    assert replayed(subscription).cycles == subscription.cycles


def test_an_invoice_of_corrections_alone_reopens_no_cycle() -> None:
    subscription = subscribed(at=day(1))
    subscription.advance("UTC", day(1))
    subscription.settle_late_usage(7, day(1))
    subscription.settle_late_usage(5, day(1))
    assert subscription.settled_position == 7
    before = list(subscription.cycles)
    subscription.reopen("inv_none", day(1))
    assert (subscription.cycles, subscription.settled_position) == (before, 0)
    assert (subscription.reopened_at, subscription.replaces) == (day(1), "inv_none")
    subscription.settle_late_usage(9, day(1))
    assert (subscription.reopened_at, subscription.replaces) == (None, None)


def test_an_event_of_the_first_form_means_what_it_meant() -> None:
    subscription = subscribed(at=day(1))
    subscription.advance("UTC", day(1))
    (created, opened) = subscription.collect_events()
    state: dict[str, object] = {"start": opened.start}
    Subscription.CycleOpened.upcast_v1_v2(state)
    assert (state["planned_start"], state["fee"], state["trial"]) == (day(1), FeeRule.shared, False)
    again = created.mutate(None)
    structless = vars(opened) | {"items": ()}
    again = Subscription.CycleOpened(**structless).mutate(again)
    assert again.cycles == subscription.cycles
