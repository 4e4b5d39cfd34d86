"""Stories: what units cost."""

from __future__ import annotations

from tests.scenarios.lines import fee, used
from tests.scenarios.story import Given, Then, When, story
from tests.scenarios.tariff import MeterTariff, Tier, graduated, per_package, per_unit, volume


def sells(given: Given, *prices: MeterTariff, fixed: str = "$0", quantity: int = 1) -> None:
    """A product priced by ``units``, which sums what events say, and ada, who subscribes to it from 1 March on."""
    given.meter("units", "used", "sum", "n")
    given.product("API", fixed, *prices)
    given.customer("ada")
    given.subscription("ada", "API", quantity=quantity)


TIERS = (Tier(100, "$0.10"), Tier(1000, "$0.05"), Tier(None, "$0.01"))
"""10 cents for each of the first 100, 5 for each up to 1,000, 1 for each beyond."""


@story
def test_units_up_to_the_threshold_are_free(given: Given, when: When, then: Then) -> None:
    """10,000 of 10,000 free units cost nothing, the next 2,345 cost 0.1 cent each: 234.5 cents, half away from zero."""
    sells(given, per_unit("units", "$0.001", free=10_000))
    when.usage("ada", "used", "2026-03-05", n=10_000)
    then.estimate([used("units", 10_000, free=10_000, each="$0.001", amount="$0.00")], total="$0.00")
    when.usage("ada", "used", "2026-03-06", n=2_345)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", 12_345, free=10_000, paid=2_345, each="$0.001", amount="$2.35")], total="$2.35")


@story
def test_each_line_is_rounded_once(given: Given, when: When, then: Then) -> None:
    """Half a cent on each of two lines is a cent on each, and two in all."""
    given.meter("calls", "call")
    given.meter("jobs", "job")
    given.product("API", "$0", per_unit("calls", "$0.005"), per_unit("jobs", "$0.005"))
    given.customer("ada")
    given.subscription("ada", "API")
    when.usage("ada", "call", "2026-03-05")
    when.usage("ada", "job", "2026-03-05")
    when.time_passes_to("2026-04-02")
    lines = [
        used("calls", 1, paid=1, each="$0.005", amount="$0.01"),
        used("jobs", 1, paid=1, each="$0.005", amount="$0.01"),
    ]
    then.invoice(1, lines, total="$0.02")


@story
def test_a_fraction_of_a_unit_costs_a_fraction(given: Given, when: When, then: Then) -> None:
    """2.5 GB beyond 10 at $5.00: $12.50."""
    sells(given, per_unit("units", "$5.00", free=10))
    when.usage("ada", "used", "2026-03-05", n="12.5")
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", "12.5", free=10, paid="2.5", each="$5.00", amount="$12.50")], total="$12.50")


@story
def test_graduated_tiers_price_the_units_inside_them(given: Given, when: When, then: Then) -> None:
    """100 at $0.10 are exactly the first tier; 1,500 are $10.00 + 900 times $0.05 + 500 times $0.01 = $60.00."""
    sells(given, graduated("units", *TIERS))
    when.usage("ada", "used", "2026-03-05", n=100)
    then.estimate([used("units", 100, paid=100, each="$0.10", amount="$10.00")], total="$10.00")
    when.usage("ada", "used", "2026-03-06", n=1_400)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", 1_500, paid=1_500, each="$0.01", amount="$60.00")], total="$60.00")


@story
def test_a_volume_tier_prices_every_unit(given: Given, when: When, then: Then) -> None:
    """1,000 are all at $0.05; one more and all 1,001 are at $0.01, so that using more costs less."""
    sells(given, volume("units", *TIERS))
    when.usage("ada", "used", "2026-03-05", n=1_000)
    then.estimate([used("units", 1_000, paid=1_000, each="$0.05", amount="$50.00")], total="$50.00")
    when.usage("ada", "used", "2026-03-06", n=1)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", 1_001, paid=1_001, each="$0.01", amount="$10.01")], total="$10.01")


@story
def test_a_started_package_is_paid_whole(given: Given, when: When, then: Then) -> None:
    """$5.00 for each started 1,000: one for 1 and for 1,000 units, two for 1,000.5."""
    sells(given, per_package("units", "$5.00", of=1_000))
    when.usage("ada", "used", "2026-03-05", n=1)
    then.estimate([used("units", 1, paid=1, each="$5.00", amount="$5.00")], total="$5.00")
    when.usage("ada", "used", "2026-03-06", n=999)
    then.estimate([used("units", 1_000, paid=1_000, each="$5.00", amount="$5.00")], total="$5.00")
    when.usage("ada", "used", "2026-03-07", n="0.5")
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", "1000.5", paid="1000.5", each="$5.00", amount="$10.00")], total="$10.00")


@story
def test_tiers_count_what_is_paid(given: Given, when: When, then: Then) -> None:
    """Of 150 units 50 are free, so that 100 are in the first tier and none in the second."""
    sells(given, graduated("units", *TIERS, free=50))
    when.usage("ada", "used", "2026-03-05", n=150)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", 150, free=50, paid=100, each="$0.10", amount="$10.00")], total="$10.00")


@story
def test_the_fixed_price_of_a_tier_is_paid_once_it_is_reached(given: Given, when: When, then: Then) -> None:
    """100 units cost $10.00; the 101st costs $0.05 and opens a tier for $2.00."""
    tiers = (Tier(100, "$0.10"), Tier(None, "$0.05", flat="$2.00"))
    sells(given, graduated("units", *tiers))
    when.usage("ada", "used", "2026-03-05", n=100)
    then.estimate([used("units", 100, paid=100, each="$0.10", amount="$10.00")], total="$10.00")
    when.usage("ada", "used", "2026-03-06", n=1)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", 101, paid=101, each="$0.05", amount="$12.05")], total="$12.05")


@story
def test_nothing_is_paid_for_no_units(given: Given, when: When, then: Then) -> None:
    """Not even the fixed price of the first tier."""
    sells(given, graduated("units", Tier(None, "$0.10", flat="$2.00")))
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", 0, each="$0.10", amount="$0.00")], total="$0.00")


@story
def test_the_quantity_multiplies_the_fixed_price_and_nothing_else(given: Given, when: When, then: Then) -> None:
    """Three times $20.00; the free units are there once, and usage is billed once."""
    sells(given, per_unit("units", "$1.00", free=2), fixed="$20.00", quantity=3)
    when.usage("ada", "used", "2026-03-05", n=5)
    when.time_passes_to("2026-04-02")
    lines = [
        fee("API", "$20.00", quantity=3, total="$60.00"),
        used("units", 5, free=2, paid=3, each="$1.00", amount="$3.00"),
    ]
    then.invoice(1, lines, total="$63.00")


@story
def test_each_product_of_a_subscription_has_its_own_threshold(given: Given, when: When, then: Then) -> None:
    """Two products price the same meter, and each gives its own units free."""
    given.meter("units", "used", "sum", "n")
    given.product("API", "$0", per_unit("units", "$1.00", free=2))
    given.product("Support", "$9.00", per_unit("units", "$0.10", free=4))
    given.customer("ada")
    given.subscription("ada", "API", "Support")
    when.usage("ada", "used", "2026-03-05", n=5)
    when.time_passes_to("2026-04-02")
    lines = [
        used("units", 5, free=2, paid=3, each="$1.00", amount="$3.00"),
        fee("Support", "$9.00"),
        used("units", 5, free=4, paid=1, each="$0.10", amount="$0.10"),
    ]
    then.invoice(1, lines, total="$12.10")


@story
def test_a_new_price_holds_from_the_next_cycle_on(given: Given, when: When, then: Then) -> None:
    """Changed on 10 March: March is billed at the old price, April at the new one."""
    sells(given, per_unit("units", "$1.00"), fixed="$5.00")
    when.usage("ada", "used", "2026-03-05", n=1)
    when.time_passes_to("2026-03-10")
    when.price_changes("API", "$7.00", per_unit("units", "$2.00"))
    when.usage("ada", "used", "2026-04-05", n=1)
    when.time_passes_to("2026-05-02")
    march = [fee("API", "$5.00"), used("units", 1, paid=1, each="$1.00", amount="$1.00")]
    april = [fee("API", "$7.00"), used("units", 1, paid=1, each="$2.00", amount="$2.00")]
    then.invoice(1, march, total="$6.00")
    then.invoice(2, april, total="$9.00")


@story
def test_a_cycle_that_began_this_instant_keeps_its_price(given: Given, when: When, then: Then) -> None:
    """The price changes at midnight of 1 April, when April has just begun: it holds from May on."""
    sells(given, per_unit("units", "$1.00"), fixed="$5.00")
    when.time_passes_to("2026-04-01")
    when.price_changes("API", "$7.00", per_unit("units", "$1.00"))
    when.time_passes_to("2026-06-02")
    then.invoice(2, total="$5.00", cycle=("2026-04-01", "2026-05-01"))
    then.invoice(3, total="$7.00", cycle=("2026-05-01", "2026-06-01"))


@story
def test_a_price_in_force_since_the_past_reaches_unclosed_cycles_only(given: Given, when: When, then: Then) -> None:
    """On 10 April the price is corrected from 1 March on: March is closed, April is not."""
    sells(given, per_unit("units", "$1.00"), fixed="$5.00")
    when.time_passes_to("2026-04-10")
    when.price_changes("API", "$6.00", per_unit("units", "$1.00"), effective="2026-03-01")
    when.time_passes_to("2026-05-02")
    nothing = used("units", 0, each="$1.00", amount="$0.00")
    then.invoice(1, [fee("API", "$5.00"), nothing], total="$5.00")
    then.invoice(2, [fee("API", "$6.00"), nothing], total="$6.00")
