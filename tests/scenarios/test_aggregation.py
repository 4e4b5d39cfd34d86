"""Stories: what the meters make of usage events."""

from __future__ import annotations

from tests.scenarios.lines import used
from tests.scenarios.story import Given, Then, When, story
from tests.scenarios.tariff import MeterTariff, per_unit


def sells(given: Given, *prices: MeterTariff) -> None:
    """A product without a fixed price, and ada, who subscribes to it from 1 March on."""
    given.product("API", "$0", *prices)
    given.customer("ada")
    given.subscription("ada", "API")


@story
def test_an_event_counts_once_however_often_it_is_sent(given: Given, when: When, then: Then) -> None:
    """Three calls, one of them sent again: 3 times $0.50."""
    given.meter("calls", "call")
    sells(given, per_unit("calls", "$0.50"))
    when.usage("ada", "call", "2026-03-05", event_id="a")
    when.usage("ada", "call", "2026-03-06", event_id="b")
    when.usage("ada", "call", "2026-03-05", event_id="a")
    when.usage("ada", "call", "2026-03-07", event_id="c")
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("calls", 3, paid=3, each="$0.50", amount="$1.50")], total="$1.50")


@story
def test_another_event_under_a_used_id_never_counts(given: Given, when: When, then: Then) -> None:
    """The first one wins: 5, not 500."""
    given.meter("tokens", "completion", "sum", "tokens")
    sells(given, per_unit("tokens", "$1.00"))
    when.usage("ada", "completion", "2026-03-05", event_id="a", tokens=5)
    when.usage("ada", "completion", "2026-03-05", event_id="a", tokens=500)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("tokens", 5, paid=5, each="$1.00", amount="$5.00")], total="$5.00")


@story
def test_a_sum_is_exact(given: Given, when: When, then: Then) -> None:
    """0.1 + 0.2 + 0.000000000001 is 0.300000000001, to the last digit."""
    given.meter("litres", "poured", "sum", "litres")
    sells(given, per_unit("litres", "$999.00"))
    when.usage("ada", "poured", "2026-03-05", litres="0.1")
    when.usage("ada", "poured", "2026-03-06", litres="0.2")
    when.usage("ada", "poured", "2026-03-07", litres="0.000000000001")
    # 0.300000000001 times 99,900 cents = 29,970.0000000999 cents.
    line = used("litres", "0.300000000001", paid="0.300000000001", each="$999.00", amount="$299.70")
    then.estimate([line], total="$299.70")


@story
def test_a_negative_value_corrects_a_sum(given: Given, when: When, then: Then) -> None:
    """10 less 4 is 6."""
    given.meter("seats", "seats.changed", "sum", "by")
    sells(given, per_unit("seats", "$2.00"))
    when.usage("ada", "seats.changed", "2026-03-05", by=10)
    when.usage("ada", "seats.changed", "2026-03-06", by=-4)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("seats", 6, paid=6, each="$2.00", amount="$12.00")], total="$12.00")


@story
def test_a_sum_below_zero_costs_nothing(given: Given, when: When, then: Then) -> None:
    """3 less 5 is shown as it is, and nobody is paid for it."""
    given.meter("seats", "seats.changed", "sum", "by")
    sells(given, per_unit("seats", "$2.00"))
    when.usage("ada", "seats.changed", "2026-03-05", by=3)
    when.usage("ada", "seats.changed", "2026-03-06", by=-5)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("seats", -2, each="$2.00", amount="$0.00")], total="$0.00")


@story
def test_a_maximum_bills_the_greatest_value(given: Given, when: When, then: Then) -> None:
    """3, 9 and 4 machines: 9 times $2.00."""
    given.meter("machines", "machines.running", "max", "count")
    sells(given, per_unit("machines", "$2.00"))
    for day, count in ((5, 3), (6, 9), (7, 4)):
        when.usage("ada", "machines.running", f"2026-03-0{day}", count=count)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("machines", 9, paid=9, each="$2.00", amount="$18.00")], total="$18.00")


@story
def test_the_last_value_is_that_of_the_latest_time(given: Given, when: When, then: Then) -> None:
    """7 is reported later, but it happened before 5."""
    given.meter("stored", "storage", "last", "gb")
    sells(given, per_unit("stored", "$1.00"))
    when.usage("ada", "storage", "2026-03-10", gb=5)
    when.usage("ada", "storage", "2026-03-05", gb=7)
    then.estimate([used("stored", 5, paid=5, each="$1.00", amount="$5.00")], total="$5.00")


@story
def test_of_two_last_values_at_one_time_the_later_recorded_counts(given: Given, when: When, then: Then) -> None:
    """5, then 7 for the same instant."""
    given.meter("stored", "storage", "last", "gb")
    sells(given, per_unit("stored", "$1.00"))
    when.usage("ada", "storage", "2026-03-10", gb=5)
    when.usage("ada", "storage", "2026-03-10", gb=7)
    then.estimate([used("stored", 7, paid=7, each="$1.00", amount="$7.00")], total="$7.00")


@story
def test_minimum_and_average(given: Given, when: When, then: Then) -> None:
    """Of 1, 2 and 2 the least is 1 and the average 5/3, to 12 places."""
    given.meter("least", "load", "min", "percent")
    given.meter("average", "load", "avg", "percent")
    sells(given, per_unit("least", "$3.00"), per_unit("average", "$3.00"))
    for day, percent in ((5, 1), (6, 2), (7, 2)):
        when.usage("ada", "load", f"2026-03-0{day}", percent=percent)
    when.time_passes_to("2026-04-02")
    lines = [
        used("least", 1, paid=1, each="$3.00", amount="$3.00"),
        # 1.666666666667 times 300 cents = 500.0000000001 cents.
        used("average", "1.666666666667", paid="1.666666666667", each="$3.00", amount="$5.00"),
    ]
    then.invoice(1, lines, total="$8.00")


@story
def test_unique_counts_different_values(given: Given, when: When, then: Then) -> None:
    """bob twice, eve once; 7 and "7.0" are one number: three users."""
    given.meter("users", "seen", "unique", "user")
    sells(given, per_unit("users", "$1.00"))
    for user in ("bob", "eve", "bob", 7, "7.0"):
        when.usage("ada", "seen", "2026-03-05", user=user)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("users", 3, paid=3, each="$1.00", amount="$3.00")], total="$3.00")


@story
def test_a_filter_lets_each_meter_see_its_own(given: Given, when: When, then: Then) -> None:
    """Three standard images at $0.04 and two in HD at $0.08."""
    for name, quality in (("standard", "standard"), ("hd", "hd")):
        clause = {"key": "quality", "operator": "equals", "value": quality}
        given.meter(name, "image", where={"conjunction": "and", "clauses": [clause]})
    sells(given, per_unit("standard", "$0.04"), per_unit("hd", "$0.08"))
    when.usage("ada", "image", "2026-03-05", times=3, quality="standard")
    when.usage("ada", "image", "2026-03-06", times=2, quality="hd")
    when.usage("ada", "image", "2026-03-07")
    when.time_passes_to("2026-04-02")
    lines = [
        used("standard", 3, paid=3, each="$0.04", amount="$0.12"),
        used("hd", 2, paid=2, each="$0.08", amount="$0.16"),
    ]
    then.invoice(1, lines, total="$0.28")


@story
def test_an_event_without_a_usable_value_adds_nothing(given: Given, when: When, then: Then) -> None:
    """12 counts, "many" and nothing at all do not."""
    given.meter("tokens", "completion", "sum", "tokens")
    sells(given, per_unit("tokens", "$1.00"))
    when.usage("ada", "completion", "2026-03-05", tokens=12)
    when.usage("ada", "completion", "2026-03-06", tokens="many")
    when.usage("ada", "completion", "2026-03-07")
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("tokens", 12, paid=12, each="$1.00", amount="$12.00")], total="$12.00")


@story
def test_nothing_carries_over_into_an_empty_cycle(given: Given, when: When, then: Then) -> None:
    """What was stored in March says nothing of April; the empty cycle gets its invoice."""
    given.meter("stored", "storage", "last", "gb")
    sells(given, per_unit("stored", "$1.00"))
    when.usage("ada", "storage", "2026-03-10", gb=5)
    when.time_passes_to("2026-05-02")
    then.invoice(1, [used("stored", 5, paid=5, each="$1.00", amount="$5.00")], total="$5.00")
    then.invoice(2, [used("stored", 0, each="$1.00", amount="$0.00")], total="$0.00")
    then.invoices(2)


@story
def test_usage_from_before_the_meter_and_the_customer_counts(given: Given, when: When, then: Then) -> None:
    """Two calls are recorded before anything is declared."""
    when.usage("ada", "call", "2026-03-02", times=2)
    given.meter("calls", "call")
    sells(given, per_unit("calls", "$0.50"))
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("calls", 2, paid=2, each="$0.50", amount="$1.00")], total="$1.00")
