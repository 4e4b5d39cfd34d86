"""Subscriptions that are paused, resumed, on trial, or billed at another date."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from domain.cycle import Anchor, Interval, Unit
from domain.errors import Conflict, Invalid
from domain.price import FeeRule
from domain.subscription_events import Status
from tests.domain.subscribed import MONTHLY, day, plan, replayed, spans, starts, subscribed

MICROSECOND = timedelta(microseconds=1)
TWO_MONTHS = Interval(count=2, unit=Unit.Month)


@pytest.mark.parametrize("status", [Status.cancelled, Status.expired])
def test_what_has_ended_is_neither_paused_nor_resumed_nor_moved(status: Status) -> None:
    subscription = subscribed(period=MONTHLY, at=day(1))
    if status is Status.cancelled:
        subscription.cancel(day(1))
    for attempt in (
        lambda: subscription.pause("UTC", day(3)),
        lambda: subscription.resume("UTC", day(3)),
        lambda: subscription.move_billing_date(day(4), "UTC", day(3)),
    ):
        with pytest.raises(Conflict) as refused:
            attempt()
        assert refused.value.code == "SUBSCRIPTION_ENDED"
    assert subscription.status is status


def test_what_ends_with_the_open_cycle_is_not_paused() -> None:
    subscription = subscribed(at=day(1))
    subscription.advance("UTC", day(1, 5))
    subscription.schedule_cancellation(True, day(1, 5))
    with pytest.raises(Conflict) as refused:
        subscription.pause("UTC", day(1, 6))
    assert refused.value.code == "CANCELLATION_SCHEDULED"
    assert subscription.cycles[0].end == day(2)


def test_a_pause_cuts_the_cycle_and_the_next_begins_where_it_is_resumed() -> None:
    subscription = subscribed(at=day(1))
    subscription.pause("UTC", day(1, 11))
    (cut,) = subscription.cycles
    assert (cut.end, cut.planned_end, cut.fee, cut.last) == (day(1, 11), day(2), FeeRule.shared, False)
    assert (subscription.status, subscription.paused_at) == (Status.paused, day(1, 11))
    subscription.advance("UTC", day(5))
    assert len(subscription.cycles) == 1
    subscription.resume("UTC", day(5, 20, 6))
    subscription.advance("UTC", day(7))
    assert spans(subscription)[1:] == [(day(5, 20, 6), day(6, 20, 6)), (day(6, 20, 6), day(7, 20, 6))]
    assert (subscription.status, subscription.paused_at) == (Status.active, None)
    assert replayed(subscription).cycles == subscription.cycles


def test_pausing_and_resuming_twice_changes_nothing() -> None:
    subscription = subscribed(at=day(1))
    subscription.pause("UTC", day(1, 11))
    version = subscription.version
    subscription.pause("UTC", day(1, 12))
    assert subscription.version == version
    subscription.resume("UTC", day(1, 13))
    version = subscription.version
    subscription.resume("UTC", day(1, 14))
    assert subscription.version == version


def test_paused_and_resumed_in_one_instant_loses_nothing() -> None:
    subscription = subscribed(at=day(1))
    subscription.pause("UTC", day(1, 11))
    subscription.resume("UTC", day(1, 11))
    assert spans(subscription) == [(day(1), day(1, 11)), (day(1, 11), day(2, 11))]


def test_a_cycle_that_began_as_it_was_paused_never_was() -> None:
    subscription = subscribed(at=day(1))
    subscription.pause("UTC", day(2))
    assert spans(subscription) == [(day(1), day(2))]
    assert subscription.cycles[0].planned_end == day(2)
    subscription.resume("UTC", day(2))
    assert spans(subscription) == [(day(1), day(2)), (day(2), day(3))]


def test_a_pause_before_the_start_moves_the_start_only_when_it_is_passed() -> None:
    for resumed, start in ((day(4), day(5)), (day(6, 3), day(6, 3))):
        subscription = subscribed(Anchor(date=date(2026, 5, 1)), at=day(3))
        subscription.pause("UTC", day(3))
        subscription.resume("UTC", resumed)
        subscription.advance("UTC", day(6, 4))
        assert starts(subscription)[0] == start


def test_cancelled_in_a_pause_it_ends_at_once() -> None:
    for scheduled in (False, True):
        subscription = subscribed(at=day(1))
        subscription.pause("UTC", day(1, 11))
        if scheduled:
            subscription.schedule_cancellation(True, day(1, 20))
        else:
            subscription.cancel(day(1, 20))
        assert (subscription.status, subscription.ended_at) == (Status.cancelled, day(1, 20))
        assert (spans(subscription), subscription.paused_at) == ([(day(1), day(1, 11))], None)


def test_the_period_goes_on_in_a_pause() -> None:
    subscription = subscribed(period=TWO_MONTHS, at=day(1))
    subscription.pause("UTC", day(1, 11))
    subscription.resume("UTC", day(2, 20))
    subscription.advance("UTC", day(6))
    assert spans(subscription) == [(day(1), day(1, 11)), (day(2, 20), day(3))]
    assert (subscription.cycles[-1].last, subscription.cycles[-1].planned_end) == (True, day(3, 20))
    paused = subscribed(period=TWO_MONTHS, at=day(1))
    paused.pause("UTC", day(1, 11))
    paused.advance("UTC", day(3) - MICROSECOND)
    assert paused.status is Status.paused
    paused.advance("UTC", day(3))
    assert (paused.status, paused.ended_at) == (Status.expired, day(3))


@pytest.mark.parametrize("to", [day(1, 10), day(1, 11)])
def test_a_billing_date_has_to_lie_ahead(to: object) -> None:
    subscription = subscribed(at=day(1))
    with pytest.raises(Invalid, match="next_billing_date: must lie ahead"):
        subscription.move_billing_date(to, "UTC", day(1, 11))  # type: ignore[arg-type]


def test_a_billing_date_lies_inside_the_period_and_outside_of_a_pause() -> None:
    subscription = subscribed(period=TWO_MONTHS, at=day(1))
    with pytest.raises(Invalid, match="must not lie after 2026-03-01"):
        subscription.move_billing_date(day(3) + MICROSECOND, "UTC", day(1, 11))
    subscription.pause("UTC", day(1, 12))
    with pytest.raises(Conflict) as refused:
        subscription.move_billing_date(day(1, 20), "UTC", day(1, 12))
    assert refused.value.code == "SUBSCRIPTION_PAUSED"


@pytest.mark.parametrize("to", [day(1, 20, 7), day(2, 20, 7)])
def test_moved_by_hand_the_cycle_ends_there_with_its_fee_in_full(to: object) -> None:
    subscription = subscribed(at=day(1))
    subscription.move_billing_date(to, "UTC", day(1, 11))  # type: ignore[arg-type]
    (cycle,) = subscription.cycles
    assert (cycle.end, cycle.planned_end, cycle.fee) == (to, to, FeeRule.full)
    subscription.advance("UTC", day(3, 1))
    assert subscription.cycles[1].start == to
    assert subscription.cycles[1].end.day == 20
    assert subscription.cycles[1].fee is FeeRule.shared


def test_moving_to_the_same_date_changes_nothing() -> None:
    subscription = subscribed(at=day(1))
    subscription.advance("UTC", day(1, 11))
    version = subscription.version
    subscription.move_billing_date(day(2), "UTC", day(1, 11))
    assert subscription.version == version


def test_moved_to_the_end_of_the_period_it_is_the_last_cycle() -> None:
    subscription = subscribed(period=TWO_MONTHS, at=day(1))
    subscription.move_billing_date(day(3), "UTC", day(1, 11))
    assert subscription.cycles[0].last
    subscription.advance("UTC", day(3))
    assert (len(subscription.cycles), subscription.status) == (1, Status.expired)


def test_moved_before_the_start_it_starts_then() -> None:
    subscription = subscribed(Anchor(date=date(2026, 5, 1)), period=TWO_MONTHS, at=day(3))
    subscription.move_billing_date(day(4, 10), "UTC", day(3))
    subscription.advance("UTC", day(8))
    assert starts(subscription) == [day(4, 10), day(5, 10)]
    assert subscription.ended_at == day(6, 10)


def test_a_trial_comes_first_and_the_regular_cycles_are_anchored_at_its_end() -> None:
    subscription = subscribed(trial_days=14, period=MONTHLY, at=day(1))
    subscription.advance("UTC", day(1))
    (trial,) = subscription.cycles
    assert (trial.start, trial.end, trial.planned_end) == (day(1), day(1, 15), day(1, 15))
    assert (trial.trial, trial.fee, trial.last) == (True, FeeRule.waived, False)
    subscription.advance("UTC", day(6))
    assert spans(subscription)[1:] == [(day(1, 15), day(2, 15))]
    assert (subscription.cycles[1].trial, subscription.cycles[1].fee) == (False, FeeRule.shared)
    assert (subscription.status, subscription.ended_at) == (Status.expired, day(2, 15))
    assert replayed(subscription).cycles == subscription.cycles


def test_a_trial_with_an_anchor_date_ends_at_a_local_midnight() -> None:
    subscription = subscribed(Anchor(date=date(2026, 3, 20)), trial_days=14, at=day(3))
    subscription.advance("Europe/Berlin", day(5, 1))
    assert starts(subscription) == [day(3, 19, 23), day(4, 2, 22)]
    assert subscription.cycles[1].end == day(5, 2, 22)


def test_a_trial_of_an_instant_lasts_whole_days() -> None:
    at = day(1, 10, 5)
    subscription = subscribed(Anchor(instant=at), trial_days=3, at=at)
    subscription.advance("Asia/Tokyo", day(1, 14))
    assert spans(subscription) == [(at, day(1, 13, 5)), (day(1, 13, 5), day(2, 13, 5))]


def test_cancelled_in_a_trial_its_fee_stays_waived() -> None:
    subscription = subscribed(trial_days=14, at=day(1))
    subscription.advance("UTC", day(1, 5))
    subscription.cancel(day(1, 5))
    (cycle,) = subscription.cycles
    assert (cycle.end, cycle.fee, cycle.trial) == (day(1, 5), FeeRule.waived, True)


def test_a_pause_ends_a_trial_and_the_period_is_counted_from_the_first_regular_cycle() -> None:
    subscription = subscribed(trial_days=14, period=TWO_MONTHS, at=day(1))
    subscription.pause("UTC", day(1, 5))
    subscription.resume("UTC", day(1, 20))
    subscription.advance("UTC", day(6))
    assert spans(subscription)[1:] == [(day(1, 20), day(2, 20)), (day(2, 20), day(3, 20))]
    assert [cycle.trial for cycle in subscription.cycles] == [True, False, False]


def test_a_trial_paused_before_it_began_is_still_to_come() -> None:
    subscription = subscribed(trial_days=14, at=day(1))
    subscription.pause("UTC", day(1))
    assert subscription.cycles == []
    subscription.resume("UTC", day(1, 20))
    assert (subscription.cycles[0].trial, subscription.cycles[0].end) == (True, day(2, 3))
    subscription.advance("UTC", day(2, 3))
    assert spans(subscription)[1:] == [(day(2, 3), day(3, 3))]


def test_a_trial_can_be_made_longer_by_hand() -> None:
    subscription = subscribed(trial_days=14, period=TWO_MONTHS, at=day(1))
    subscription.move_billing_date(day(1, 20), "UTC", day(1, 5))
    subscription.advance("UTC", day(6))
    assert spans(subscription)[:2] == [(day(1), day(1, 20)), (day(1, 20), day(2, 20))]
    assert (subscription.cycles[0].trial, subscription.cycles[0].fee) == (True, FeeRule.waived)
    assert subscription.ended_at == day(3, 20)


def test_a_trial_on_a_day_that_the_zone_skipped_is_passed_over() -> None:
    subscription = subscribed(Anchor(date=date(2011, 12, 30)), trial_days=1, at=day(1, year=2012))
    subscription.advance("Pacific/Apia", day(1, year=2012))
    (cycle,) = subscription.cycles
    assert (cycle.trial, cycle.start) == (False, day(12, 30, 10, year=2011))


def test_a_change_of_plan_waits_through_a_pause() -> None:
    subscription = subscribed(at=day(1))
    subscription.schedule_plan_change(plan(), "UTC", day(1, 5))
    subscription.pause("UTC", day(1, 11))
    subscription.resume("UTC", day(1, 20))
    assert [cycle.items[0].product_id for cycle in subscription.cycles] == ["pdt_1", "pdt_2"]
    assert subscription.scheduled is None
