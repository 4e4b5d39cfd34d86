"""Stories: usage that arrives, or is retracted, after its cycle was closed."""

from __future__ import annotations

from tests.scenarios.lines import adjustment, fee, used
from tests.scenarios.story import Given, Then, When, story
from tests.scenarios.tariff import in_credits, included, per_unit


def sells(given: Given, how: str = "sum", free: int = 10) -> None:
    """Units at $1.00 beyond the free ones and $5.00 a month; ada subscribes from 1 March on."""
    given.meter("units", "used", how, "n")
    given.product("API", "$5.00", per_unit("units", "$1.00", free=free))
    given.customer("ada")
    given.subscription("ada", "API")


APRIL = [fee("API", "$5.00"), used("units", 0, each="$1.00", amount="$0.00")]
"""An April without usage."""


@story
def test_usage_that_comes_within_the_grace_period_is_in_time(given: Given, when: When, then: Then) -> None:
    """Half an hour after the end of March it still is March's."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=12)
    when.time_passes_to("2026-04-01 00:30")
    when.usage("ada", "used", "2026-03-31", n=1)
    when.time_passes_to("2026-04-02")
    line = used("units", 13, free=10, paid=3, each="$1.00", amount="$3.00")
    then.invoice(1, [fee("API", "$5.00"), line], total="$8.00")


@story
def test_late_usage_is_billed_on_the_next_invoice(given: Given, when: When, then: Then) -> None:
    """12 were billed as 2; 4 more make it 6. The invoice of March stays as it was."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=12)
    when.time_passes_to("2026-04-02")
    march = [fee("API", "$5.00"), used("units", 12, free=10, paid=2, each="$1.00", amount="$2.00")]
    then.invoice(1, march, total="$7.00")
    when.usage("ada", "used", "2026-03-31", n=4)
    late = adjustment(
        *("units", "2026-03-01"), consumed=4, paid=4, each="$1.00", was="$2.00", now="$6.00", amount="$4.00"
    )
    then.estimate([*APRIL, late], total="$9.00")
    when.time_passes_to("2026-05-02")
    then.invoice(2, [*APRIL, late], total="$9.00")
    then.invoice(1, march, total="$7.00")


@story
def test_late_usage_is_shown_also_where_it_is_free(given: Given, when: When, then: Then) -> None:
    """5 and 3 more are below the 10 free ones: a line without money."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=5)
    when.time_passes_to("2026-04-02")
    when.usage("ada", "used", "2026-03-06", n=3)
    when.time_passes_to("2026-05-02")
    late = adjustment(
        *("units", "2026-03-01"), consumed=3, free=3, each="$1.00", was="$0.00", now="$0.00", amount="$0.00"
    )
    then.invoice(2, [*APRIL, late], total="$5.00")


@story
def test_late_usage_is_corrected_again_when_more_comes(given: Given, when: When, then: Then) -> None:
    """Everything invoiced so far is taken into account: $2.00, then $4.00 more, then $1.00 more."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=12)
    when.time_passes_to("2026-04-02")
    when.usage("ada", "used", "2026-03-06", n=4)
    when.time_passes_to("2026-05-02")
    when.usage("ada", "used", "2026-03-30", n=1)
    when.time_passes_to("2026-06-02")
    first = adjustment(
        *("units", "2026-03-01"), consumed=4, paid=4, each="$1.00", was="$2.00", now="$6.00", amount="$4.00"
    )
    second = adjustment(
        *("units", "2026-03-01"), consumed=1, paid=1, each="$1.00", was="$6.00", now="$7.00", amount="$1.00"
    )
    then.invoice(2, [*APRIL, first], total="$9.00")
    then.invoice(3, [*APRIL, second], total="$6.00")


@story
def test_retracted_usage_is_given_back(given: Given, when: When, then: Then) -> None:
    """Of 12 and 3 the 3 are retracted after the close: $3.00 less in April."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=12)
    when.usage("ada", "used", "2026-03-06", event_id="wrong", n=3)
    when.time_passes_to("2026-04-02")
    when.usage_voided("wrong")
    when.time_passes_to("2026-05-02")
    back = adjustment(
        *("units", "2026-03-01"), consumed=-3, paid=-3, each="$1.00", was="$5.00", now="$2.00", amount="-$3.00"
    )
    then.invoice(1, total="$10.00")
    then.invoice(2, [*APRIL, back], total="$2.00")


@story
def test_more_given_back_than_is_due_goes_into_the_wallet(given: Given, when: When, then: Then) -> None:
    """$20.00 back, $5.00 due in April: nothing to pay, $15.00 in the wallet, which pay for May, June and July."""
    sells(given)
    when.usage("ada", "used", "2026-03-06", event_id="wrong", n=30)
    when.time_passes_to("2026-04-02")
    when.usage_voided("wrong")
    when.time_passes_to("2026-05-02")
    back = adjustment(
        *("units", "2026-03-01"),
        consumed=-30,
        free=-10,
        paid=-20,
        each="$1.00",
        was="$20.00",
        now="$0.00",
        amount="-$20.00",
    )
    then.invoice(2, [*APRIL, back], subtotal="-$15.00", wallet="-$15.00", total="$0.00")
    then.wallet("ada", "$15.00")
    when.time_passes_to("2026-06-02")
    then.invoice(3, APRIL, subtotal="$5.00", wallet="$5.00", total="$0.00")
    then.wallet("ada", "$10.00")


@story
def test_a_late_maximum_counts_only_what_is_above_it(given: Given, when: When, then: Then) -> None:
    """The maximum was 12: 11 changes nothing and has no line, 15 adds 3."""
    given.settings(event_age_max="90d")
    sells(given, "max")
    when.usage("ada", "used", "2026-03-05", n=12)
    when.time_passes_to("2026-04-02")
    when.usage("ada", "used", "2026-03-06", n=11)
    when.time_passes_to("2026-05-02")
    then.invoice(2, APRIL, total="$5.00")
    when.usage("ada", "used", "2026-03-07", n=15)
    when.time_passes_to("2026-06-02")
    late = adjustment(
        *("units", "2026-03-01"), consumed=3, paid=3, each="$1.00", was="$2.00", now="$5.00", amount="$3.00"
    )
    then.invoice(3, [*APRIL, late], total="$8.00")


@story
def test_a_late_last_value_may_lower_a_bill(given: Given, when: When, then: Then) -> None:
    """14 on the 5th was the last one known; in truth it was 11 on the 20th."""
    sells(given, "last")
    when.usage("ada", "used", "2026-03-05", n=14)
    when.time_passes_to("2026-04-02")
    when.usage("ada", "used", "2026-03-20", n=11)
    when.time_passes_to("2026-05-02")
    late = adjustment(
        *("units", "2026-03-01"), consumed=-3, paid=-3, each="$1.00", was="$4.00", now="$1.00", amount="-$3.00"
    )
    then.invoice(2, [*APRIL, late], total="$2.00")


@story
def test_late_usage_has_the_price_of_its_own_cycle(given: Given, when: When, then: Then) -> None:
    """From April on a unit costs $9.00; a late unit of March costs $1.00."""
    sells(given, free=0)
    when.time_passes_to("2026-03-20")
    when.price_changes("API", "$5.00", per_unit("units", "$9.00"))
    when.time_passes_to("2026-04-02")
    when.usage("ada", "used", "2026-03-31", n=1)
    when.usage("ada", "used", "2026-04-05", n=1)
    when.time_passes_to("2026-05-02")
    april = [fee("API", "$5.00"), used("units", 1, paid=1, each="$9.00", amount="$9.00")]
    late = adjustment(
        *("units", "2026-03-01"), consumed=1, paid=1, each="$1.00", was="$0.00", now="$1.00", amount="$1.00"
    )
    then.invoice(2, [*april, late], total="$15.00")


@story
def test_late_usage_after_the_last_cycle_has_an_invoice_of_its_own(given: Given, when: When, then: Then) -> None:
    """Cancelled at the end of March; 13 units are reported on 10 April, and billed when the grace period is over."""
    sells(given)
    when.subscription_changes("ada", cancel_at_next_billing_date=True)
    when.time_passes_to("2026-04-10")
    then.invoices(1)
    when.usage("ada", "used", "2026-03-31", n=13)
    when.time_passes_to("2026-04-10 00:59:59")
    then.invoices(1)
    when.time_passes_to("2026-04-10 01:00")
    late = adjustment(
        *("units", "2026-03-01"), consumed=13, free=10, paid=3, each="$1.00", was="$0.00", now="$3.00", amount="$3.00"
    )
    then.invoice(2, [late], total="$3.00", type="adjustment")


@story
def test_usage_retracted_after_the_last_cycle_is_a_credit_note(given: Given, when: When, then: Then) -> None:
    """3 of 13 units were billed and are retracted: the $3.00 go into the wallet."""
    sells(given)
    when.subscription_changes("ada", cancel_at_next_billing_date=True)
    when.usage("ada", "used", "2026-03-05", event_id="wrong", n=13)
    when.time_passes_to("2026-04-10")
    when.usage_voided("wrong")
    when.time_passes_to("2026-04-11")
    back = adjustment(
        *("units", "2026-03-01"),
        consumed=-13,
        free=-10,
        paid=-3,
        each="$1.00",
        was="$3.00",
        now="$0.00",
        amount="-$3.00",
    )
    then.invoice(2, [back], subtotal="-$3.00", wallet="-$3.00", total="$0.00", type="credit_note")
    then.wallet("ada", "$3.00")


@story
def test_late_usage_may_draw_on_credits_that_lapsed_unused(given: Given, when: When, then: Then) -> None:
    """March left 60 of its 100 credits over; 70 late messages take them, and 10 are paid. April's are not touched."""
    given.meter("sms", "sms")
    given.credits("texts")
    given.product("Text", "$0", in_credits("sms", "texts", each="$0.01"), credits=[included("texts", 100)])
    given.customer("ada")
    given.subscription("ada", "Text")
    when.usage("ada", "sms", "2026-03-05", times=40)
    when.time_passes_to("2026-04-02")
    when.usage("ada", "sms", "2026-03-06", times=70)
    when.time_passes_to("2026-05-02")
    april = used("sms", 0, each="$0.01", amount="$0.00")
    late = adjustment(
        *("sms", "2026-03-01"),
        consumed=70,
        credits=60,
        paid=10,
        each="$0.01",
        was="$0.00",
        now="$0.10",
        amount="$0.10",
    )
    then.invoice(2, [april, late], total="$0.10")


@story
def test_credits_of_retracted_usage_return_to_their_grant(given: Given, when: When, then: Then) -> None:
    """50 credits without an end paid for 30 messages; 10 of them are retracted after the close: 30 are left."""
    given.meter("sms", "sms")
    given.credits("texts")
    given.product("Text", "$0", in_credits("sms", "texts", each="$0.01"))
    given.customer("ada")
    given.subscription("ada", "Text")
    when.credits_granted("ada", "texts", 50)
    when.usage("ada", "sms", "2026-03-05", times=30)
    when.time_passes_to("2026-04-02")
    then.credits("ada", "texts", 20)
    when.usage_voided(*(f"e{number}" for number in range(1, 11)))
    when.time_passes_to("2026-05-02")
    april = used("sms", 0, each="$0.01", amount="$0.00")
    back = adjustment(
        *("sms", "2026-03-01"), consumed=-10, credits=-10, each="$0.01", was="$0.00", now="$0.00", amount="$0.00"
    )
    then.invoice(2, [april, back], total="$0.00")
    then.credits("ada", "texts", 30)


@story
def test_late_usage_that_is_taken_back_changes_nothing(given: Given, when: When, then: Then) -> None:
    """54 messages burned 5 of 100 credits, and 4 were paid. A late one comes and goes: April has no correction."""
    given.meter("sms", "sms")
    given.credits("texts")
    given.product("Text", "$0", in_credits("sms", "texts", 10, "$0.01"))
    given.customer("ada")
    given.subscription("ada", "Text")
    when.credits_granted("ada", "texts", 100)
    when.usage("ada", "sms", "2026-03-05", times=54)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("sms", 54, credits=50, paid=4, each="$0.01", amount="$0.04")], total="$0.04")
    when.usage("ada", "sms", "2026-03-06", event_id="wrong")
    when.usage_voided("wrong")
    when.time_passes_to("2026-05-02")
    then.invoice(2, [used("sms", 0, each="$0.01", amount="$0.00")], total="$0.00")
