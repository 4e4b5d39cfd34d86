"""Changes of plan: what is cut, what opens, whose fee is charged how."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from domain.cycle import Anchor, Interval, Unit
from domain.errors import Conflict, NotFound
from domain.plan import ChangeMode, OpenedCycle
from domain.price import UNTIL_CANCELLED, FeeRule
from domain.subscription import Subscription
from domain.subscription_events import Status
from tests.domain.subscribed import MONTHLY, YEARLY, day, plan, replayed, spans, subscribed

NOW = day(1, 11)
TWO_MONTHS = Interval(count=2, unit=Unit.Month)
KEEPING = (ChangeMode.prorated_immediately_keep_cycle, ChangeMode.do_not_bill)
BEGINNING = tuple(mode for mode in ChangeMode if mode not in KEEPING)


def products(cycle: OpenedCycle) -> list[tuple[str, int]]:
    return [(item.product_id, item.quantity) for item in cycle.items]


def changed(mode: ChangeMode, subscription: Subscription | None = None) -> Subscription:
    subscription = subscription or subscribed(at=day(1))
    subscription.change_plan(plan(), mode, "UTC", NOW)
    return subscription


def test_what_has_ended_or_is_about_to_keeps_its_plan() -> None:
    ended, ending = subscribed(at=day(1)), subscribed(at=day(1))
    ended.cancel(day(1, 5))
    ending.advance("UTC", day(1))
    ending.schedule_cancellation(True, day(1))
    for subscription, code in ((ended, "SUBSCRIPTION_ENDED"), (ending, "CANCELLATION_SCHEDULED")):
        with pytest.raises(Conflict) as now:
            subscription.change_plan(plan(), ChangeMode.do_not_bill, "UTC", NOW)
        with pytest.raises(Conflict) as later:
            subscription.schedule_plan_change(plan(), "UTC", NOW)
        assert (now.value.code, later.value.code) == (code, code)
        assert subscription.plan.items[0].product_id == "pdt_1"
        assert subscription.scheduled is None


@pytest.mark.parametrize("mode", list(ChangeMode))
def test_the_same_plan_again_changes_nothing(mode: ChangeMode) -> None:
    subscription = changed(mode)
    version = subscription.version
    subscription.change_plan(plan(), mode, "UTC", NOW + timedelta(days=1))
    assert subscription.version == version


@pytest.mark.parametrize(
    ("mode", "fee"),
    [
        (ChangeMode.prorated_immediately, FeeRule.shared),
        (ChangeMode.full_immediately, FeeRule.full),
        (ChangeMode.difference_immediately, FeeRule.waived),
    ],
)
def test_a_new_cycle_begins_now_and_now_is_the_anchor(mode: ChangeMode, fee: FeeRule) -> None:
    subscription = changed(mode)
    before, after = subscription.cycles
    assert (before.start, before.end, before.planned_end, before.fee) == (day(1), NOW, day(2), fee)
    assert (after.start, after.end, after.planned_start) == (NOW, day(2, 11), NOW)
    assert (after.fee, products(before), products(after)) == (FeeRule.shared, [("pdt_1", 1)], [("pdt_2", 1)])
    subscription.advance("UTC", day(3))
    assert spans(subscription)[2] == (day(2, 11), day(3, 11))
    assert replayed(subscription).cycles == subscription.cycles


@pytest.mark.parametrize(
    ("mode", "before_fee", "after_fee"),
    [
        (ChangeMode.prorated_immediately_keep_cycle, FeeRule.shared, FeeRule.shared),
        (ChangeMode.do_not_bill, FeeRule.full, FeeRule.waived),
    ],
)
def test_the_rest_of_the_cycle_goes_on_and_the_anchor_stays(
    mode: ChangeMode, before_fee: FeeRule, after_fee: FeeRule
) -> None:
    subscription = changed(mode)
    before, after = subscription.cycles
    assert (before.end, before.planned_end, before.fee) == (NOW, day(2), before_fee)
    assert (after.start, after.end, after.planned_start, after.planned_end) == (NOW, day(2), day(1), day(2))
    assert (after.fee, products(after), after.index) == (after_fee, [("pdt_2", 1)], before.index)
    subscription.advance("UTC", day(3))
    assert spans(subscription)[2:] == [(day(2), day(3)), (day(3), day(4))]
    assert subscription.cycles[2].fee is FeeRule.shared


def test_what_was_not_to_be_billed_stays_so_through_another_change() -> None:
    subscription = changed(ChangeMode.do_not_bill)
    subscription.change_plan(plan("pdt_3"), ChangeMode.full_immediately, "UTC", day(1, 20))
    assert [cycle.fee for cycle in subscription.cycles] == [FeeRule.full, FeeRule.waived, FeeRule.shared]


@pytest.mark.parametrize("mode", KEEPING)
def test_another_interval_counts_from_where_the_kept_cycle_ends(mode: ChangeMode) -> None:
    subscription = subscribed(Anchor(date=date(2026, 1, 31)), at=day(1))
    subscription.advance("Europe/Berlin", day(2, 10))
    subscription.change_plan(plan(interval=YEARLY), mode, "Europe/Berlin", day(2, 10))
    subscription.advance("Europe/Berlin", day(3, year=2027))
    assert spans(subscription)[-2:] == [
        (day(2, 27, 23), day(2, 27, 23, year=2027)),
        (day(2, 27, 23, year=2027), day(2, 27, 23, year=2028)),
    ]


@pytest.mark.parametrize("mode", BEGINNING)
def test_another_interval_counts_from_now(mode: ChangeMode) -> None:
    subscription = subscribed(at=day(1))
    subscription.change_plan(plan(interval=YEARLY), mode, "UTC", NOW)
    assert spans(subscription)[1:] == [(NOW, day(1, 11, year=2027))]


@pytest.mark.parametrize("mode", list(ChangeMode))
def test_the_end_of_the_period_stays(mode: ChangeMode) -> None:
    subscription = subscribed(period=TWO_MONTHS, at=day(1))
    subscription.change_plan(plan(period=TWO_MONTHS), mode, "UTC", day(2, 11))
    assert subscription.cycles[-1].last
    assert not subscription.cycles[-2].last
    subscription.advance("UTC", day(6))
    assert (subscription.status, subscription.ended_at) == (Status.expired, day(3))


@pytest.mark.parametrize(("mode", "end"), [(ChangeMode.full_immediately, day(3, 11)), (KEEPING[0], day(3, 11))])
def test_another_period_counts_from_the_change(mode: ChangeMode, end: object) -> None:
    subscription = subscribed(at=day(1))
    subscription.change_plan(plan(period=TWO_MONTHS), mode, "UTC", NOW)
    subscription.advance("UTC", day(6))
    assert subscription.ended_at == end
    assert subscription.cycles[-1].end == end


@pytest.mark.parametrize("mode", KEEPING)
def test_a_longer_period_lets_the_last_cycle_last(mode: ChangeMode) -> None:
    month_and_a_half = Interval(count=6, unit=Unit.Week)
    subscription = subscribed(period=month_and_a_half, at=day(1))
    subscription.advance("UTC", day(2, 5))
    assert subscription.cycles[-1].end == day(2, 12)
    subscription.change_plan(plan(period=UNTIL_CANCELLED), mode, "UTC", day(2, 5))
    assert (subscription.cycles[-1].end, subscription.cycles[-1].last) == (day(3), False)


@pytest.mark.parametrize("mode", KEEPING)
def test_a_shorter_period_ends_inside_the_kept_cycle(mode: ChangeMode) -> None:
    subscription = subscribed(at=day(1))
    subscription.change_plan(plan(period=Interval(count=1, unit=Unit.Week)), mode, "UTC", NOW)
    after = subscription.cycles[-1]
    assert (after.end, after.planned_end, after.last) == (day(1, 18), day(2), True)


@pytest.mark.parametrize("mode", list(ChangeMode))
def test_at_the_instant_at_which_a_cycle_began_it_gets_the_new_plan(mode: ChangeMode) -> None:
    subscription = subscribed(at=day(1))
    subscription.advance("UTC", day(2))
    subscription.change_plan(plan(), mode, "UTC", day(2))
    assert spans(subscription) == [(day(1), day(2)), (day(2), day(3))]
    january, february = subscription.cycles
    assert (january.fee, january.planned_end, products(january)) == (FeeRule.shared, day(2), [("pdt_1", 1)])
    assert (february.fee, products(february)) == (FeeRule.shared, [("pdt_2", 1)])
    subscription.change_plan(plan("pdt_3"), mode, "UTC", day(2))
    assert (products(subscription.cycles[-1]), len(subscription.cycles)) == ([("pdt_3", 1)], 2)
    assert replayed(subscription).cycles == subscription.cycles


def test_two_changes_in_one_instant_cut_once() -> None:
    subscription = changed(ChangeMode.do_not_bill)
    subscription.change_plan(plan("pdt_3"), ChangeMode.prorated_immediately, "UTC", NOW)
    assert spans(subscription) == [(day(1), NOW), (NOW, day(2, 11))]
    assert [cycle.fee for cycle in subscription.cycles] == [FeeRule.full, FeeRule.shared]


@pytest.mark.parametrize("mode", list(ChangeMode))
def test_in_a_trial_a_kept_cycle_is_still_the_trial_and_another_ends_it(mode: ChangeMode) -> None:
    subscription = changed(mode, subscribed(trial_days=14, period=TWO_MONTHS, at=day(1)))
    subscription.change_plan(plan(period=TWO_MONTHS), mode, "UTC", NOW)
    trial, after = subscription.cycles[0], subscription.cycles[1]
    assert (trial.trial, trial.fee, trial.end) == (True, FeeRule.waived, NOW)
    end = day(1, 15) if mode in KEEPING else day(2, 11)
    assert (after.trial, after.end) == (mode in KEEPING, end)
    assert after.fee is (FeeRule.waived if mode in KEEPING else FeeRule.shared)
    subscription.advance("UTC", day(3))
    assert subscription.cycles[2].start == end
    assert not subscription.cycles[2].trial


@pytest.mark.parametrize("mode", list(ChangeMode))
def test_before_the_start_and_in_a_pause_there_is_nothing_to_cut(mode: ChangeMode) -> None:
    early = changed(mode, subscribed(Anchor(date=date(2026, 5, 1)), at=day(1)))
    assert early.cycles == []
    early.advance("UTC", day(5))
    assert (spans(early), products(early.cycles[0])) == ([(day(5), day(6))], [("pdt_2", 1)])
    paused = subscribed(at=day(1))
    paused.pause("UTC", day(1, 5))
    changed(mode, paused)
    assert (spans(paused), paused.status) == ([(day(1), day(1, 5))], Status.paused)
    paused.resume("UTC", day(1, 20))
    assert products(paused.cycles[-1]) == [("pdt_2", 1)]


def test_scheduled_it_takes_effect_with_the_next_cycle() -> None:
    subscription = subscribed(at=day(1))
    subscription.schedule_plan_change(plan(interval=YEARLY), "UTC", NOW)
    assert (subscription.scheduled, subscription.scheduled_at) == (plan(interval=YEARLY), NOW)
    assert spans(subscription) == [(day(1), day(2))]
    subscription.advance("UTC", day(4))
    assert spans(subscription) == [(day(1), day(2)), (day(2), day(2, year=2027))]
    assert subscription.cycles[0].fee is FeeRule.shared
    assert (products(subscription.cycles[1]), subscription.scheduled) == ([("pdt_2", 1)], None)
    assert replayed(subscription).cycles == subscription.cycles


def test_a_scheduled_period_counts_from_the_cycle_that_it_begins_with() -> None:
    subscription = subscribed(at=day(1))
    subscription.schedule_plan_change(plan(period=MONTHLY), "UTC", NOW)
    subscription.advance("UTC", day(6))
    assert (subscription.ended_at, len(subscription.cycles)) == (day(3), 2)


def test_a_scheduled_change_never_comes_when_the_period_ends_before() -> None:
    subscription = subscribed(period=MONTHLY, at=day(1))
    subscription.schedule_plan_change(plan(), "UTC", NOW)
    subscription.advance("UTC", day(6))
    assert (subscription.status, len(subscription.cycles), subscription.scheduled) == (Status.expired, 1, None)


def test_a_scheduled_change_is_replaced_dropped_and_taken_back() -> None:
    subscription = subscribed(at=day(1))
    with pytest.raises(NotFound):
        subscription.unschedule_plan_change("UTC", NOW)
    subscription.schedule_plan_change(plan(), "UTC", NOW)
    version = subscription.version
    subscription.schedule_plan_change(plan(), "UTC", NOW)
    assert subscription.version == version
    subscription.schedule_plan_change(plan("pdt_3"), "UTC", NOW)
    assert subscription.scheduled == plan("pdt_3")
    subscription.schedule_plan_change(subscription.plan, "UTC", NOW)
    assert subscription.scheduled is None
    subscription.schedule_plan_change(plan(), "UTC", NOW)
    subscription.change_plan(subscription.plan, ChangeMode.full_immediately, "UTC", NOW)
    assert (subscription.scheduled, len(subscription.cycles)) == (None, 1)
    subscription.schedule_plan_change(plan(), "UTC", NOW)
    subscription.change_plan(plan("pdt_3"), ChangeMode.full_immediately, "UTC", NOW)
    assert subscription.scheduled is None
    subscription.schedule_plan_change(plan(), "UTC", NOW)
    subscription.unschedule_plan_change("UTC", NOW)
    subscription.advance("UTC", day(4))
    assert products(subscription.cycles[-1]) == [("pdt_3", 1)]
    with pytest.raises(NotFound):
        subscription.unschedule_plan_change("UTC", day(4))
