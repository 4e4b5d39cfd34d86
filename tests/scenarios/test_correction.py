"""Stories: mistakes, and what puts them right."""

from __future__ import annotations

from tests.scenarios.lines import Line, adjustment, fee, used
from tests.scenarios.story import Given, Then, When, story
from tests.scenarios.tariff import in_credits, included, per_unit


def sells(given: Given) -> None:
    """Units at $1.00 and $5.00 a month; ada subscribes from 1 March on."""
    given.meter("units", "used", "sum", "n")
    given.product("API", "$5.00", per_unit("units", "$1.00"))
    given.customer("ada")
    given.subscription("ada", "API")


def month(units: int) -> list[Line]:
    """The lines of a month with so many units."""
    return [fee("API", "$5.00"), used("units", units, paid=units, each="$1.00", amount=f"${units}.00")]


@story
def test_usage_retracted_before_the_close_is_not_billed(given: Given, when: When, then: Then) -> None:
    """12 and a wrong 30."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=12)
    when.usage("ada", "used", "2026-03-06", event_id="wrong", n=30)
    then.estimate(month(42), total="$47.00")
    when.usage_voided("wrong")
    then.estimate(month(12), total="$17.00")
    when.time_passes_to("2026-04-02")
    then.invoice(1, month(12), total="$17.00")


@story
def test_a_retracted_id_stays_used(given: Given, when: When, then: Then) -> None:
    """The wrong event is sent again, as it was and with another number: neither counts. A new id does."""
    sells(given)
    when.usage("ada", "used", "2026-03-06", event_id="wrong", n=30)
    when.usage_voided("wrong")
    when.usage("ada", "used", "2026-03-06", event_id="wrong", n=30)
    when.usage("ada", "used", "2026-03-06", event_id="wrong", n=3)
    then.estimate(month(0), total="$5.00")
    when.usage("ada", "used", "2026-03-06", event_id="right", n=3)
    when.time_passes_to("2026-04-02")
    then.invoice(1, month(3), total="$8.00")


@story
def test_retracting_twice_retracts_once(given: Given, when: When, then: Then) -> None:
    """12 and 30, the 30 retracted twice."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=12)
    when.usage("ada", "used", "2026-03-06", event_id="wrong", n=30)
    when.usage_voided("wrong")
    when.usage_voided("wrong")
    then.estimate(month(12), total="$17.00")


@story
def test_a_voided_invoice_is_issued_again(given: Given, when: When, then: Then) -> None:
    """The next run issues March again, under a number of its own, with all that is known by then."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=12)
    when.time_passes_to("2026-04-02")
    when.usage("ada", "used", "2026-03-06", n=3)
    when.invoice_voided(1)
    when.time_passes_to("2026-04-03")
    then.invoice(1, month(12), total="$17.00", status="void")
    then.invoice(2, month(15), total="$20.00", status="open", cycle=("2026-03-01", "2026-04-01"))
    when.time_passes_to("2026-05-02")
    then.invoice(3, month(0), total="$5.00")
    then.invoices(3)


@story
def test_a_voided_invoice_gives_the_wallet_back_its_money(given: Given, when: When, then: Then) -> None:
    """$10.00 of $17.00 were paid from the wallet; back they go, and the new invoice takes them again."""
    sells(given)
    when.wallet_filled("ada", "$10.00")
    when.usage("ada", "used", "2026-03-05", event_id="wrong", n=12)
    when.time_passes_to("2026-04-02")
    then.invoice(1, month(12), subtotal="$17.00", wallet="$10.00", total="$7.00")
    then.wallet("ada", "$0.00")
    when.usage_voided("wrong")
    when.invoice_voided(1)
    then.wallet("ada", "$10.00")
    when.time_passes_to("2026-04-03")
    then.invoice(2, month(0), subtotal="$5.00", wallet="$5.00", total="$0.00")
    then.wallet("ada", "$5.00")


@story
def test_a_voided_invoice_gives_back_its_credits(given: Given, when: When, then: Then) -> None:
    """30 of 50 credits were burned; voided, 50 are there again until the cycle is issued anew."""
    given.meter("sms", "sms")
    given.credits("texts")
    given.product("Text", "$0", in_credits("sms", "texts", each="$0.01"))
    given.customer("ada")
    given.subscription("ada", "Text")
    when.credits_granted("ada", "texts", 50)
    when.usage("ada", "sms", "2026-03-05", times=30)
    when.time_passes_to("2026-04-02")
    then.credits("ada", "texts", 20)
    when.usage_voided(*(f"e{number}" for number in range(1, 31)))
    when.invoice_voided(1)
    then.credits("ada", "texts", 50)
    when.time_passes_to("2026-04-03")
    then.invoice(2, [used("sms", 0, each="$0.01", amount="$0.00")], total="$0.00")
    then.credits("ada", "texts", 50)


@story
def test_a_voided_adjustment_is_made_again(given: Given, when: When, then: Then) -> None:
    """The invoice of April carried 3 late units of March; voided, its re-issue carries them again."""
    sells(given)
    when.time_passes_to("2026-04-02")
    when.usage("ada", "used", "2026-03-06", n=3)
    when.time_passes_to("2026-05-02")
    late = adjustment(
        *("units", "2026-03-01"), consumed=3, paid=3, each="$1.00", was="$0.00", now="$3.00", amount="$3.00"
    )
    then.invoice(2, [*month(0), late], total="$8.00")
    when.invoice_voided(2)
    when.time_passes_to("2026-05-03")
    then.invoice(3, [*month(0), late], total="$8.00", cycle=("2026-04-01", "2026-05-01"))


@story
def test_a_wrong_price_is_corrected_for_what_is_not_closed(given: Given, when: When, then: Then) -> None:
    """A price of $10.00 since 1 March is recorded on the 10th, before March is closed."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=2)
    when.time_passes_to("2026-03-10")
    when.price_changes("API", "$5.00", per_unit("units", "$10.00"), effective="2026-03-01")
    when.time_passes_to("2026-04-02")
    lines = [fee("API", "$5.00"), used("units", 2, paid=2, each="$10.00", amount="$20.00")]
    then.invoice(1, lines, total="$25.00")


@story
def test_a_late_event_does_not_bring_a_new_price_into_a_closed_cycle(given: Given, when: When, then: Then) -> None:
    """The price since 1 March is changed after March was closed: March's late unit costs what March's units cost."""
    sells(given)
    when.usage("ada", "used", "2026-03-05", n=2)
    when.time_passes_to("2026-04-10")
    when.price_changes("API", "$5.00", per_unit("units", "$10.00"), effective="2026-03-01")
    when.usage("ada", "used", "2026-03-06", n=1)
    when.time_passes_to("2026-05-02")
    april = [fee("API", "$5.00"), used("units", 0, each="$10.00", amount="$0.00")]
    late = adjustment(
        *("units", "2026-03-01"), consumed=1, paid=1, each="$1.00", was="$2.00", now="$3.00", amount="$1.00"
    )
    then.invoice(2, [*april, late], total="$6.00")


@story
def test_credits_that_a_reissue_frees_are_there_for_the_next_cycle(given: Given, when: When, then: Then) -> None:
    """March's 100 credits, issued anew, cover the same messages, and April's are whole."""
    given.meter("sms", "sms")
    given.credits("texts")
    given.product("Text", "$0", in_credits("sms", "texts", each="$0.01"), credits=[included("texts", 100)])
    given.customer("ada")
    given.subscription("ada", "Text")
    when.usage("ada", "sms", "2026-03-05", times=130)
    when.time_passes_to("2026-04-02")
    when.invoice_voided(1)
    when.time_passes_to("2026-04-03")
    line = used("sms", 130, credits=100, paid=30, each="$0.01", amount="$0.30")
    then.invoice(1, [line], total="$0.30", status="void")
    then.invoice(2, [line], total="$0.30", status="open")
    then.credits("ada", "texts", 100)
