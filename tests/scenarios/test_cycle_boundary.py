"""Stories: where cycles begin and end, and what interrupts them."""

from __future__ import annotations

from tests.scenarios.lines import Line, fee, part_of_fee, used
from tests.scenarios.story import Given, Then, When, story
from tests.scenarios.tariff import per_unit

MARCH, APRIL = ("2026-03-01", "2026-04-01"), ("2026-04-01", "2026-05-01")


def sells(given: Given, fixed: str = "$31.00", zone: str = "UTC", anchor: str | None = "2026-03-01") -> None:
    """Calls at $1.00 beyond two, and a fixed price; ada subscribes."""
    given.meter("calls", "call")
    given.product("API", fixed, per_unit("calls", "$1.00", free=2))
    given.customer("ada", zone)
    given.subscription("ada", "API", anchor=anchor)


def calls(count: int, amount: str = "$0.00") -> Line:
    """The line of so many calls."""
    return used("calls", count, free=min(count, 2), paid=max(count - 2, 0), each="$1.00", amount=amount)


@story
def test_a_cycle_is_half_open_to_the_microsecond(given: Given, when: When, then: Then) -> None:
    """The first instant of April is April's, the one before it March's."""
    sells(given, "$0")
    when.usage("ada", "call", "2026-03-01 00:00:00", times=3)
    when.usage("ada", "call", "2026-03-31 23:59:59.999999")
    when.usage("ada", "call", "2026-04-01 00:00:00", times=3)
    when.time_passes_to("2026-05-02")
    then.invoice(1, [calls(4, "$2.00")], total="$2.00", cycle=MARCH)
    then.invoice(2, [calls(3, "$1.00")], total="$1.00", cycle=APRIL)


@story
def test_the_31st_comes_back_after_a_short_month(given: Given, when: When, then: Then) -> None:
    """31 January, 28 February, 31 March, 30 April."""
    given.today("2026-01-31")
    sells(given, anchor="2026-01-31")
    when.time_passes_to("2026-05-01")
    then.invoice(1, total="$31.00", cycle=("2026-01-31", "2026-02-28"))
    then.invoice(2, total="$31.00", cycle=("2026-02-28", "2026-03-31"))
    then.invoice(3, total="$31.00", cycle=("2026-03-31", "2026-04-30"))
    then.invoices(3)


@story
def test_a_leap_day_comes_back_after_four_years(given: Given, when: When, then: Then) -> None:
    """A year from 29 February 2028 ends on 28 February, and the fourth one on the 29th again."""
    given.today("2028-02-29")
    given.meter("calls", "call")
    given.product("API", "$99.00", every="1 Year")
    given.customer("ada")
    given.subscription("ada", "API", anchor="2028-02-29")
    when.time_passes_to("2032-03-01")
    then.invoice(1, total="$99.00", cycle=("2028-02-29", "2029-02-28"))
    then.invoice(4, total="$99.00", cycle=("2031-02-28", "2032-02-29"))
    then.invoices(4)


@story
def test_a_date_begins_at_midnight_where_the_customer_lives(given: Given, when: When, then: Then) -> None:
    """In Berlin it is an hour ahead of UTC on 1 March and two on 1 April."""
    given.today("2026-02-28")
    sells(given, "$0", zone="Europe/Berlin")
    when.usage("ada", "call", "2026-02-28 22:59:59")
    when.usage("ada", "call", "2026-02-28 23:00:00", times=3)
    when.usage("ada", "call", "2026-03-31 21:59:59")
    when.usage("ada", "call", "2026-03-31 22:00:00")
    when.time_passes_to("2026-04-01")
    then.invoice(1, [calls(4, "$2.00")], total="$2.00", cycle=("2026-02-28 23:00", "2026-03-31 22:00"))
    then.invoices(1)


@story
def test_without_a_date_cycles_count_from_the_instant_of_subscribing(given: Given, when: When, then: Then) -> None:
    """Half past ten on the first, month after month."""
    given.today("2026-03-01 10:30")
    sells(given, anchor=None)
    when.time_passes_to("2026-04-01 11:30")
    then.invoice(1, total="$31.00", cycle=("2026-03-01 10:30", "2026-04-01 10:30"))


@story
def test_a_cycle_closes_by_itself_an_hour_after_its_end(given: Given, when: When, then: Then) -> None:
    """Not a second earlier."""
    sells(given)
    when.time_passes_to("2026-04-01 00:59:59")
    then.invoices(0)
    when.time_passes_to("2026-04-01 01:00:00")
    then.invoices(1)


@story
def test_a_cycle_closes_once(given: Given, when: When, then: Then) -> None:
    """Not before its end; by hand at its end, without the grace period; and then never again."""
    sells(given)
    when.time_passes_to("2026-03-31 23:59:59")
    when.cycle_closes(refused="CYCLE_NOT_ENDED")
    when.time_passes_to("2026-04-01")
    when.cycle_closes()
    when.cycle_closes(start="2026-03-01")
    when.time_passes_to("2026-04-02")
    then.invoice(1, [fee("API", "$31.00"), calls(0)], total="$31.00", cycle=MARCH)
    then.invoices(1)


@story
def test_after_a_long_time_exactly_what_is_due_is_closed(given: Given, when: When, then: Then) -> None:
    """Three months pass at once: three invoices, the earliest first, empty ones too."""
    sells(given, "$0")
    when.usage("ada", "call", "2026-03-05", times=3)
    when.time_passes_to("2026-06-15")
    then.invoice(1, [calls(3, "$1.00")], total="$1.00", cycle=MARCH)
    then.invoice(2, [calls(0)], total="$0.00", cycle=APRIL)
    then.invoice(3, [calls(0)], total="$0.00", cycle=("2026-05-01", "2026-06-01"))
    then.invoices(3)


@story
def test_usage_from_before_the_subscription_is_not_billed(given: Given, when: When, then: Then) -> None:
    """The anchor lies ahead; two calls come too early."""
    sells(given, anchor="2026-03-10")
    when.usage("ada", "call", "2026-03-09 23:59:59", times=2)
    when.usage("ada", "call", "2026-03-10")
    when.time_passes_to("2026-04-11")
    then.invoice(1, [fee("API", "$31.00"), calls(1)], total="$31.00", cycle=("2026-03-10", "2026-04-10"))


@story
def test_cancelling_now_cuts_the_cycle(given: Given, when: When, then: Then) -> None:
    """At noon on the 16th half of March is over: half the fixed price, all of the free calls, and nothing after it."""
    sells(given)
    when.usage("ada", "call", "2026-03-05", times=3)
    when.time_passes_to("2026-03-16 12:00")
    when.subscription_changes("ada", status="cancelled")
    when.usage("ada", "call", "2026-03-20")
    when.time_passes_to("2026-05-02")
    lines = [part_of_fee("API", "$31.00", "0.5", "$15.50"), calls(3, "$1.00")]
    then.invoice(1, lines, total="$16.50", cycle=("2026-03-01", "2026-03-16 12:00"))
    then.invoices(1)


@story
def test_cancelling_at_the_next_billing_date_lets_the_cycle_end(given: Given, when: When, then: Then) -> None:
    """March is billed whole, April never begins."""
    sells(given)
    when.subscription_changes("ada", cancel_at_next_billing_date=True)
    when.time_passes_to("2026-05-02")
    then.invoice(1, [fee("API", "$31.00"), calls(0)], total="$31.00", cycle=MARCH)
    then.invoices(1)


@story
def test_usage_during_a_pause_is_not_billed(given: Given, when: When, then: Then) -> None:
    """Paused at the middle of March, resumed on the 20th, which is where months are counted from now on."""
    sells(given)
    when.time_passes_to("2026-03-16 12:00")
    when.subscription_changes("ada", status="paused")
    when.usage("ada", "call", "2026-03-17", times=9)
    when.time_passes_to("2026-03-20")
    when.subscription_changes("ada", status="active")
    when.usage("ada", "call", "2026-03-21", times=3)
    when.time_passes_to("2026-04-21")
    paused = [part_of_fee("API", "$31.00", "0.5", "$15.50"), calls(0)]
    then.invoice(1, paused, total="$15.50", cycle=("2026-03-01", "2026-03-16 12:00"))
    resumed = [fee("API", "$31.00"), calls(3, "$1.00")]
    then.invoice(2, resumed, total="$32.00", cycle=("2026-03-20", "2026-04-20"))
    then.invoices(2)


@story
def test_a_plan_change_at_once_shares_the_fixed_price_and_begins_anew(given: Given, when: When, then: Then) -> None:
    """Half of March at $31.00, then a month of the larger plan from that instant on."""
    sells(given)
    given.product("Large", "$50.00")
    when.time_passes_to("2026-03-16 12:00")
    when.plan_changes("ada", "Large")
    when.time_passes_to("2026-04-16 13:00")
    small = [part_of_fee("API", "$31.00", "0.5", "$15.50"), calls(0)]
    then.invoice(1, small, total="$15.50", cycle=("2026-03-01", "2026-03-16 12:00"))
    then.invoice(2, [fee("Large", "$50.00")], total="$50.00", cycle=("2026-03-16 12:00", "2026-04-16 12:00"))


@story
def test_a_plan_change_may_keep_the_cycle(given: Given, when: When, then: Then) -> None:
    """Half of March of each plan; the month ends where it would have ended."""
    sells(given)
    given.product("Large", "$50.00")
    when.time_passes_to("2026-03-16 12:00")
    when.plan_changes("ada", "Large", "prorated_immediately_keep_cycle")
    when.time_passes_to("2026-04-02")
    small = [part_of_fee("API", "$31.00", "0.5", "$15.50"), calls(0)]
    then.invoice(1, small, total="$15.50", cycle=("2026-03-01", "2026-03-16 12:00"))
    large = [part_of_fee("Large", "$50.00", "0.5", "$25.00")]
    then.invoice(2, large, total="$25.00", cycle=("2026-03-16 12:00", "2026-04-01"))


@story
def test_a_plan_change_can_wait_for_the_next_cycle(given: Given, when: When, then: Then) -> None:
    """March is of the old plan and whole, April of the new one."""
    sells(given)
    given.product("Large", "$50.00")
    when.time_passes_to("2026-03-16 12:00")
    when.plan_changes("ada", "Large", at_next_billing_date=True)
    when.time_passes_to("2026-05-02")
    then.invoice(1, [fee("API", "$31.00"), calls(0)], total="$31.00", cycle=MARCH)
    then.invoice(2, [fee("Large", "$50.00")], total="$50.00", cycle=APRIL)


@story
def test_a_billing_date_moved_by_hand_ends_the_cycle_there(given: Given, when: When, then: Then) -> None:
    """The cycle ends on the 20th with its fixed price in full, and months are counted from there."""
    sells(given)
    when.subscription_changes("ada", next_billing_date="2026-03-20T00:00:00Z")
    when.usage("ada", "call", "2026-03-19", times=3)
    when.usage("ada", "call", "2026-03-20", times=2)
    when.time_passes_to("2026-04-21")
    first = [fee("API", "$31.00"), calls(3, "$1.00")]
    then.invoice(1, first, total="$32.00", cycle=("2026-03-01", "2026-03-20"))
    then.invoice(2, [fee("API", "$31.00"), calls(2)], total="$31.00", cycle=("2026-03-20", "2026-04-20"))


@story
def test_a_trial_costs_nothing_and_the_months_begin_after_it(given: Given, when: When, then: Then) -> None:
    """14 days of free usage; the first month begins on the 15th."""
    given.meter("calls", "call")
    given.product("API", "$31.00", per_unit("calls", "$1.00", free=2))
    given.customer("ada")
    given.subscription("ada", "API", trial_days=14)
    when.usage("ada", "call", "2026-03-05", times=9)
    when.usage("ada", "call", "2026-03-15", times=3)
    when.time_passes_to("2026-04-16")
    trial = [used("calls", 9, free=9, each="$1.00", amount="$0.00")]
    then.invoice(1, trial, total="$0.00", cycle=("2026-03-01", "2026-03-15"))
    month = [fee("API", "$31.00"), calls(3, "$1.00")]
    then.invoice(2, month, total="$32.00", cycle=("2026-03-15", "2026-04-15"))
