"""Alerts: thresholds with rules, and one firing for each cycle of each subscription."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alert import Alert, AlertKind, Reached, Target, crossed, highest, percent_of
from domain.errors import Gone, Invalid

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MARCH, APRIL, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))
CALLS = Target(kind=AlertKind.quantity, meter_id="calls")


def alert(threshold: str = "10", subscription_id: str | None = None, target: Target = CALLS) -> Alert:
    return Alert.create(
        "alt_1",
        customer_id="ada",
        subscription_id=subscription_id,
        target=target,
        threshold=Decimal(threshold),
        at=NOW,
    )


def reached(value: str, subscription_id: str = "sub_1", **changes: Any) -> Reached:
    fields = {"cycle_start": MARCH, "cycle_end": APRIL, "position": 7, **changes}
    return Reached(subscription_id=subscription_id, value=Decimal(value), **fields)


def test_it_fires_at_its_threshold_and_not_below() -> None:
    made = alert()
    assert not made.fire(reached("9.999999999999"), NOW)
    assert made.fire(reached("10.000"), NOW)
    fired = made.collect_events()[-1]
    assert isinstance(fired, Alert.Fired)
    assert (fired.value, fired.position, fired.cycle_start, fired.cycle_end) == ("10", 7, MARCH, APRIL)


def test_it_fires_once_in_a_cycle_and_again_in_the_next() -> None:
    made = alert()
    assert made.fire(reached("10"), NOW)
    assert not made.fire(reached("500"), NOW)
    # A cycle is named by its start: one that was cut since is the same.
    assert not made.fire(reached("500", cycle_end=NOW), NOW)
    assert made.fire(reached("10", cycle_start=APRIL, cycle_end=MAY), NOW)


def test_a_customers_alert_holds_for_each_subscription_by_itself() -> None:
    made = alert()
    assert made.fire(reached("10", "sub_1"), NOW)
    assert made.fire(reached("10", "sub_2"), NOW)
    assert not made.fire(reached("10", "sub_2"), NOW)


def test_a_subscriptions_alert_holds_for_no_other() -> None:
    made = alert(subscription_id="sub_1")
    assert not made.fire(reached("10", "sub_2"), NOW)
    assert made.fire(reached("10", "sub_1"), NOW)


def test_a_deleted_alert_fires_no_more() -> None:
    made = alert()
    made.delete(NOW)
    assert not made.fire(reached("10"), NOW)
    with pytest.raises(Gone):
        made.delete(NOW)


@given(values=st.lists(st.integers(-5, 30).map(str), max_size=20))
def test_whatever_the_values_do_it_fires_once_at_the_first_that_reaches_it(values: list[str]) -> None:
    made = alert()
    firings = [value for value in values if made.fire(reached(value), NOW)]
    assert firings == [value for value in values if int(value) >= 10][:1]


@pytest.mark.parametrize(
    ("kind", "threshold", "rule"),
    [
        (AlertKind.quantity, "0", "above 0"),
        (AlertKind.amount, "-1", "above 0"),
        (AlertKind.amount, "0.5", "whole minor units"),
        (AlertKind.free_percent, "1000.1", "at most 1000"),
        (AlertKind.credit_percent, "100.1", "at most 100"),
    ],
)
def test_a_threshold_out_of_range_is_refused(kind: AlertKind, threshold: str, rule: str) -> None:
    target = Target(
        kind=kind,
        meter_id="calls" if kind.needs_meter else None,
        credit_entitlement_id="sms" if kind is AlertKind.credit_percent else None,
    )
    with pytest.raises(Invalid, match=rule) as refused:
        alert(threshold, target=target)
    assert refused.value.field == "threshold"


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (Target(kind=AlertKind.quantity), "meter_id"),
        (Target(kind=AlertKind.free_percent, credit_entitlement_id="sms"), "meter_id"),
        (Target(kind=AlertKind.credit_percent), "credit_entitlement_id"),
        (Target(kind=AlertKind.amount, meter_id="calls"), "meter_id"),
        (Target(kind=AlertKind.quantity, meter_id="calls", credit_entitlement_id="sms"), "credit_entitlement_id"),
    ],
)
def test_a_target_that_does_not_fit_its_kind_is_refused(target: Target, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        alert(target=target)
    assert refused.value.field == field


def test_a_threshold_is_kept_as_plain_text() -> None:
    assert alert("1E+3").threshold == "1000"
    assert alert("10.50").threshold == "10.5"


def test_the_share_of_nothing_is_no_number() -> None:
    assert percent_of(Decimal(3), Decimal(0)) is None
    assert percent_of(Decimal(3), Decimal(4)) == 75
    assert highest([None, Decimal(1), Decimal(2)]) == 2
    assert highest([None]) is None
    assert crossed(Decimal(2), Decimal(2))
