"""Stories: credits that come with a product or are given by hand, and what happens when there are none."""

from __future__ import annotations

from typing import Any

from tests.scenarios.lines import overage, used
from tests.scenarios.story import Given, Then, When, story
from tests.scenarios.tariff import in_credits, included

PREPAID: dict[str, Any] = {
    "overage_enabled": True,
    "overage_behavior": "invoice_at_billing",
    "price_per_unit": "2",
    "currency": "USD",
}
"""Credits of which more than there are may be used, at 2 cents each."""


def sells(
    given: Given, each: str | None = "$0.01", amount: int | None = 100, free: int = 0, units: int = 1, **terms: Any
) -> None:
    """Messages at one credit each (or for so many), then ``each``; ``amount`` credits come with each month."""
    given.meter("sms", "sms")
    given.credits("texts", **terms)
    credits = [] if amount is None else [included("texts", amount)]
    given.product("Text", "$0", in_credits("sms", "texts", units, each, free), credits=credits)
    given.customer("ada")
    given.subscription("ada", "Text")


@story
def test_included_credits_are_used_before_anything_is_paid(given: Given, when: When, then: Then) -> None:
    """130 messages: 100 in credits, 30 at $0.01."""
    sells(given)
    when.usage("ada", "sms", "2026-03-05", times=60)
    then.credits("ada", "texts", 40)
    when.usage("ada", "sms", "2026-03-06", times=70)
    then.credits("ada", "texts", 0)
    when.time_passes_to("2026-04-01 00:30")
    when.cycle_closes()
    then.invoice(1, [used("sms", 130, credits=100, paid=30, each="$0.01", amount="$0.30")], total="$0.30")
    then.credits("ada", "texts", 100)


@story
def test_free_units_come_before_credits(given: Given, when: When, then: Then) -> None:
    """Of 160 messages 50 are free, 100 are in credits, 10 are paid."""
    sells(given, free=50)
    when.usage("ada", "sms", "2026-03-05", times=160)
    when.time_passes_to("2026-04-02")
    line = used("sms", 160, free=50, credits=100, paid=10, each="$0.01", amount="$0.10")
    then.invoice(1, [line], total="$0.10")


@story
def test_unused_credits_lapse_at_the_end_of_their_cycle(given: Given, when: When, then: Then) -> None:
    """60 of March's 100 are left over; April has 100 all the same."""
    sells(given)
    when.usage("ada", "sms", "2026-03-05", times=40)
    when.usage("ada", "sms", "2026-04-05", times=130)
    when.time_passes_to("2026-05-02")
    then.invoice(1, [used("sms", 40, credits=40, each="$0.01", amount="$0.00")], total="$0.00")
    then.invoice(2, [used("sms", 130, credits=100, paid=30, each="$0.01", amount="$0.30")], total="$0.30")


@story
def test_the_oldest_credits_go_first(given: Given, when: When, then: Then) -> None:
    """March's 100 began before the 50 of 2 March, so 120 messages leave 30 of the 50 for April."""
    sells(given)
    when.time_passes_to("2026-03-02")
    when.credits_granted("ada", "texts", 50)
    when.usage("ada", "sms", "2026-03-05", times=120)
    then.credits("ada", "texts", 30)
    when.usage("ada", "sms", "2026-04-05", times=140)
    when.time_passes_to("2026-05-02")
    then.invoice(1, [used("sms", 120, credits=120, each="$0.01", amount="$0.00")], total="$0.00")
    # 30 that are left and 100 of April.
    then.invoice(2, [used("sms", 140, credits=130, paid=10, each="$0.01", amount="$0.10")], total="$0.10")


@story
def test_oldest_first_may_let_younger_credits_lapse(given: Given, when: When, then: Then) -> None:
    """60 messages on the 5th draw on March's 100; the 50 that last until the 10th lapse."""
    sells(given)
    when.time_passes_to("2026-03-02")
    when.credits_granted("ada", "texts", 50, expires="2026-03-10")
    when.usage("ada", "sms", "2026-03-05", times=60)
    then.credits("ada", "texts", 90)
    when.time_passes_to("2026-03-10")
    then.credits("ada", "texts", 40)


@story
def test_a_kind_of_credits_may_burn_the_earliest_to_expire(given: Given, when: When, then: Then) -> None:
    """The same story with the other order: the 50 go first, then 10 of March's 100."""
    sells(given, burn_order="earliest_expiry")
    when.time_passes_to("2026-03-02")
    when.credits_granted("ada", "texts", 50, expires="2026-03-10")
    when.usage("ada", "sms", "2026-03-05", times=60)
    then.credits("ada", "texts", 90)
    when.time_passes_to("2026-03-10")
    then.credits("ada", "texts", 90)


@story
def test_expiry_is_judged_when_the_usage_happens(given: Given, when: When, then: Then) -> None:
    """50 credits last until the 10th: 30 messages before it are covered, 30 after it are not, whenever the close is."""
    sells(given, amount=None)
    when.credits_granted("ada", "texts", 50, expires="2026-03-10")
    when.usage("ada", "sms", "2026-03-05", times=30)
    when.usage("ada", "sms", "2026-03-12", times=30)
    then.credits("ada", "texts", 0)
    when.time_passes_to("2026-07-02")
    then.invoice(1, [used("sms", 60, credits=30, paid=30, each="$0.01", amount="$0.30")], total="$0.30")


@story
def test_credits_pay_for_nothing_before_they_begin(given: Given, when: When, then: Then) -> None:
    """30 messages on the 5th are paid, though 50 credits come on the 10th."""
    sells(given, amount=None)
    when.usage("ada", "sms", "2026-03-05", times=30)
    when.time_passes_to("2026-03-10")
    when.credits_granted("ada", "texts", 50)
    when.usage("ada", "sms", "2026-03-12", times=5)
    then.credits("ada", "texts", 45)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("sms", 35, credits=5, paid=30, each="$0.01", amount="$0.30")], total="$0.30")


@story
def test_nobody_can_be_debited_more_than_is_left(given: Given, when: When, then: Then) -> None:
    """100, less 70 used, less 20 taken by hand: 11 are too many, 10 are not."""
    sells(given)
    when.usage("ada", "sms", "2026-03-05", times=70)
    when.credits_debited("ada", "texts", 20)
    when.credits_debited("ada", "texts", 11, refused="INSUFFICIENT_CREDITS")
    when.credits_debited("ada", "texts", 10)
    then.credits("ada", "texts", 0)
    when.usage("ada", "sms", "2026-03-06", times=1)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("sms", 71, credits=70, paid=1, each="$0.01", amount="$0.01")], total="$0.01")


@story
def test_a_credit_may_be_worth_several_units(given: Given, when: When, then: Then) -> None:
    """Ten messages a credit. 54 want 5.4, rounded to 5: 4 are paid. 57 want 5.7, rounded to 6: all are in credits."""
    sells(given, units=10)
    when.usage("ada", "sms", "2026-03-05", times=54)
    then.estimate([used("sms", 54, credits=50, paid=4, each="$0.01", amount="$0.04")], total="$0.04")
    then.credits("ada", "texts", 95)
    when.usage("ada", "sms", "2026-03-06", times=3)
    then.estimate([used("sms", 57, credits=57, each="$0.01", amount="$0.00")], total="$0.00")
    then.credits("ada", "texts", 94)


@story
def test_too_few_credits_cover_as_many_units_as_they_are_worth(given: Given, when: When, then: Then) -> None:
    """58 messages want 5.8 credits, rounded to 6, and there are 5: 50 in credits, 8 paid."""
    sells(given, units=10, amount=5)
    when.usage("ada", "sms", "2026-03-05", times=58)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("sms", 58, credits=50, paid=8, each="$0.01", amount="$0.08")], total="$0.08")


@story
def test_overage_is_forgiven_unless_somebody_asks_for_it(given: Given, when: When, then: Then) -> None:
    """30 messages beyond 100 cost nothing: the meter has no price of its own."""
    sells(given, each=None)
    when.usage("ada", "sms", "2026-03-05", times=130)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("sms", 130, credits=100, paid=30, amount="$0.00")], total="$0.00")


@story
def test_overage_is_invoiced_where_the_credits_say_so(given: Given, when: When, then: Then) -> None:
    """30 credits beyond 100 at $0.02."""
    sells(given, each=None, **PREPAID)
    when.usage("ada", "sms", "2026-03-05", times=130)
    then.credits("ada", "texts", 0, overage=30)
    when.time_passes_to("2026-04-02")
    lines = [
        used("sms", 130, credits=100, paid=30, amount="$0.00"),
        overage("sms", 30, each="$0.02", amount="$0.60"),
    ]
    then.invoice(1, lines, total="$0.60")
    then.credits("ada", "texts", 100)


@story
def test_overage_is_counted_up_to_its_limit(given: Given, when: When, then: Then) -> None:
    """Of 30 credits beyond 100 only 20 may be counted."""
    sells(given, each=None, **PREPAID, overage_limit=20)
    when.usage("ada", "sms", "2026-03-05", times=130)
    when.time_passes_to("2026-04-02")
    lines = [
        used("sms", 130, credits=100, paid=30, amount="$0.00"),
        overage("sms", 20, each="$0.02", amount="$0.40"),
    ]
    then.invoice(1, lines, total="$0.40")


@story
def test_a_carried_deficit_is_repaid_by_the_next_credits(given: Given, when: When, then: Then) -> None:
    """30 too many in March; April's 100 repay them, which leaves 70 for April's 80 messages, and 10 outstanding."""
    sells(given, each=None, overage_enabled=True, overage_behavior="carry_deficit_auto_repay")
    when.usage("ada", "sms", "2026-03-05", times=130)
    then.credits("ada", "texts", 0, overage=30)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("sms", 130, credits=100, paid=30, amount="$0.00")], total="$0.00")
    then.credits("ada", "texts", 70, overage=0)
    when.usage("ada", "sms", "2026-04-05", times=80)
    then.credits("ada", "texts", 0, overage=10)
    when.time_passes_to("2026-05-02")
    then.invoice(2, [used("sms", 80, credits=70, paid=10, amount="$0.00")], total="$0.00")


@story
def test_unused_credits_may_roll_over(given: Given, when: When, then: Then) -> None:
    """Half of the 60 that March leaves over: April has 130, and they are not rolled over again."""
    terms: dict[str, Any] = {"rollover_enabled": True, "rollover_percentage": 50, "max_rollover_count": 1}
    sells(given, **terms)
    when.usage("ada", "sms", "2026-03-05", times=40)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("sms", 40, credits=40, each="$0.01", amount="$0.00")], total="$0.00")
    then.credits("ada", "texts", 130)
    when.usage("ada", "sms", "2026-04-05", times=131)
    when.time_passes_to("2026-05-02")
    then.invoice(2, [used("sms", 131, credits=130, paid=1, each="$0.01", amount="$0.01")], total="$0.01")
    then.credits("ada", "texts", 100)


@story
def test_subscriptions_of_a_customer_share_their_credits(given: Given, when: When, then: Then) -> None:
    """100 credits, two subscriptions to the same messages: the one whose cycle ends first draws first."""
    sells(given, amount=None)
    given.subscription("ada", "Text", anchor="2026-03-15", named="second")
    when.credits_granted("ada", "texts", 100)
    when.usage("ada", "sms", "2026-03-20", times=70)
    then.credits("ada", "texts", 0)
    when.time_passes_to("2026-04-16")
    then.invoice(1, [used("sms", 70, credits=70, each="$0.01", amount="$0.00")], total="$0.00")
    then.invoice(2, [used("sms", 70, credits=30, paid=40, each="$0.01", amount="$0.40")], total="$0.40")
