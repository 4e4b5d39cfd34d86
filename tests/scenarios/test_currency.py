"""Stories: money in currencies with any number of decimals, rounding, tax and wallets."""

from __future__ import annotations

from tests.scenarios.lines import fee, used
from tests.scenarios.story import Given, Then, When, story
from tests.scenarios.tariff import Tier, per_unit, volume


def sells(given: Given, fixed: str, each: str) -> None:
    """Units at ``each``, and a fixed price; ada subscribes from 1 March on."""
    given.meter("units", "used", "sum", "n")
    given.product("API", fixed, per_unit("units", each))
    given.customer("ada")
    given.subscription("ada", "API")


@story
def test_yen_have_no_decimals(given: Given, when: When, then: Then) -> None:
    """3 times ¥0.5 is ¥1.5, half away from zero: ¥2."""
    sells(given, "¥1,000", "¥0.5")
    when.usage("ada", "used", "2026-03-05", n=3)
    when.time_passes_to("2026-04-02")
    lines = [fee("API", "¥1000"), used("units", 3, paid=3, each="¥0.5", amount="¥2")]
    then.invoice(1, lines, total="¥1002")


@story
def test_dinars_have_three_decimals(given: Given, when: When, then: Then) -> None:
    """3 times 0.0005 is 0.0015 dinars, half away from zero: 0.002."""
    sells(given, "KWD 1.250", "KWD 0.0005")
    when.usage("ada", "used", "2026-03-05", n=3)
    when.time_passes_to("2026-04-02")
    lines = [fee("API", "KWD 1.250"), used("units", 3, paid=3, each="KWD 0.0005", amount="KWD 0.002")]
    then.invoice(1, lines, total="KWD 1.252")


@story
def test_a_unit_of_account_may_have_four(given: Given, when: When, then: Then) -> None:
    """7 times 0.00005 is 0.00035, half away from zero: 0.0004."""
    sells(given, "CLF 0.0000", "CLF 0.00005")
    when.usage("ada", "used", "2026-03-05", n=7)
    when.time_passes_to("2026-04-02")
    then.invoice(1, [used("units", 7, paid=7, each="CLF 0.00005", amount="CLF 0.0004")], total="CLF 0.0004")


@story
def test_just_below_half_a_cent_is_nothing(given: Given, when: When, then: Then) -> None:
    """49 times 0.01 cents is 0.49 cents; one more is half a cent, and that is a cent."""
    sells(given, "$0", "$0.0001")
    when.usage("ada", "used", "2026-03-05", n=49)
    then.estimate([used("units", 49, paid=49, each="$0.0001", amount="$0.00")], total="$0.00")
    when.usage("ada", "used", "2026-03-06", n=1)
    then.estimate([used("units", 50, paid=50, each="$0.0001", amount="$0.01")], total="$0.01")


@story
def test_the_smallest_price_and_the_largest_quantity_are_exact(given: Given, when: When, then: Then) -> None:
    """A trillionth of a cent times 12,345,678,901,234,567,890 is 12,345,678.90123456789 cents."""
    sells(given, "$0", "$0.00000000000001")
    when.usage("ada", "used", "2026-03-05", n="12345678901234567890")
    count, price = 12345678901234567890, "$0.00000000000001"
    then.estimate([used("units", count, paid=count, each=price, amount="$123456.79")], total="$123456.79")


@story
def test_a_price_may_be_zero_for_most_and_large_for_the_rest(given: Given, when: When, then: Then) -> None:
    """Up to 5 units cost nothing; the 6th makes all of them cost ¥200."""
    given.meter("units", "used", "sum", "n")
    given.product("API", "¥0", volume("units", Tier(5, "¥0.001"), Tier(None, "¥200")))
    given.customer("ada")
    given.subscription("ada", "API")
    when.usage("ada", "used", "2026-03-05", n=5)
    then.estimate([used("units", 5, paid=5, each="¥0.001", amount="¥0")], total="¥0")
    when.usage("ada", "used", "2026-03-06", n=1)
    then.estimate([used("units", 6, paid=6, each="¥200", amount="¥1200")], total="¥1200")


@story
def test_the_wallet_pays_first(given: Given, when: When, then: Then) -> None:
    """€12.00 in the wallet, €5.00 a month: two months are paid, and €2.00 of the third."""
    sells(given, "€5.00", "€1.00")
    when.wallet_filled("ada", "€12.00")
    when.time_passes_to("2026-06-02")
    nothing = used("units", 0, each="€1.00", amount="€0.00")
    then.invoice(1, [fee("API", "€5.00"), nothing], subtotal="€5.00", wallet="€5.00", total="€0.00")
    then.invoice(2, subtotal="€5.00", wallet="€5.00", total="€0.00")
    then.invoice(3, subtotal="€5.00", wallet="€2.00", total="€3.00")
    then.wallet("ada", "€0.00")


@story
def test_a_wallet_pays_in_its_own_currency_only(given: Given, when: When, then: Then) -> None:
    """Dollars do not pay euros."""
    sells(given, "€5.00", "€1.00")
    when.wallet_filled("ada", "$12.00")
    when.time_passes_to("2026-04-02")
    then.invoice(1, subtotal="€5.00", wallet="€0.00", total="€5.00")
    then.wallet("ada", "$12.00")


@story
def test_tax_is_added_once_to_the_sum_of_the_lines(given: Given, when: When, then: Then) -> None:
    """19 % of €10.05 is €1.9095, rounded to €1.91."""
    given.settings(tax_lines=[{"name": "VAT", "percent": "19"}])
    sells(given, "€10.00", "€0.05")
    when.usage("ada", "used", "2026-03-05", n=1)
    when.time_passes_to("2026-04-02")
    lines = [fee("API", "€10.00"), used("units", 1, paid=1, each="€0.05", amount="€0.05")]
    then.invoice(1, lines, subtotal="€10.05", total="€11.96", tax_amount=191)


@story
def test_a_contained_tax_adds_nothing(given: Given, when: When, then: Then) -> None:
    """Of ¥1100 a tenth of the rest is tax: ¥100 are shown, ¥1100 are to be paid."""
    given.settings(tax_lines=[{"name": "Consumption tax", "percent": "10", "included": True}])
    sells(given, "¥1100", "¥1")
    when.time_passes_to("2026-04-02")
    tax = [{"name": "Consumption tax", "percent": "10", "amount": 100, "included": True}]
    then.invoice(1, subtotal="¥1100", total="¥1100", tax_amount=0, tax_lines=tax)


@story
def test_a_subscription_has_one_currency(given: Given, when: When, then: Then) -> None:
    """A product in euros and one in dollars cannot be subscribed to together."""
    given.product("European", "€5.00")
    given.product("American", "$5.00")
    given.customer("ada")
    given.subscription("ada", "European", "American", refused="CURRENCY_MISMATCH")
    when.time_passes_to("2026-04-02")
    then.invoices(0)
