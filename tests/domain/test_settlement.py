"""Settlement, a story for each rule of decision 0011: who draws what, and what is left."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from domain.claim import Claim, Step
from domain.entitlement import BurnOrder, OverageBehavior
from domain.settlement import Settlement, instants, settle
from tests.domain.credit_questions import CALLS, credit, draws, left, settled, shop, with_overage
from tests.domain.credit_shop import CreditShop, Meter, Subscription, day


def test_included_credits_are_used_first_and_lapse_with_their_cycle() -> None:
    town = shop()
    town.move_to(4)
    town.use("calls", 7)
    assert (draws(town), left(town)) == ({"A-0": 7}, 3)
    town.move_to(10)
    assert left(town) == 10
    town.use("calls", 12)
    assert (draws(town), draws(town, index=1)) == ({"A-0": 7}, {"A-1": 10})
    assert settled(town, index=1).uncovered == 2


def test_credits_wanted_are_rounded_to_the_precision_half_away_from_zero() -> None:
    town = CreditShop(Subscription("A", 0, 10, Decimal(10), (Meter("calls", units_per_credit=Decimal(8)),)))
    town.use("calls", 1)
    assert settled(town).credits == Decimal("0.13")
    town.use("calls", 1)
    assert settled(town).credits == Decimal("0.25")


def test_usage_draws_on_the_grants_that_were_valid_when_it_happened() -> None:
    town = shop(included=0)
    credit(town, "early", 5, expires=4)
    town.move_to(3)
    town.use("calls", 3)
    town.move_to(4)
    credit(town, "late", 5)
    town.move_to(6)
    town.use("calls", 4)
    assert draws(town) == {"early": 3, "late": 4}
    town.move_to(300)
    assert draws(town) == {"early": 3, "late": 4}
    town.use("calls", 3, at=day(2))
    assert draws(town) == {"early": 5, "late": 4}
    assert settled(town).uncovered == 1


def test_a_grant_is_valid_from_its_first_instant_and_not_at_its_last() -> None:
    town = shop(included=0)
    town.move_to(3)
    credit(town, "g", 5, expires=4)
    town.move_to(5)
    for instant, drawn in ((Decimal("2.9"), {}), (Decimal(3), {"g": 1}), (Decimal("3.9"), {"g": 2}), (4, {"g": 2})):
        town.use("calls", 1, at=day(instant))
        assert draws(town) == drawn


@pytest.mark.parametrize(
    ("order", "drawn"), [(BurnOrder.oldest, {"long": 4}), (BurnOrder.earliest_expiry, {"short": 3, "long": 1})]
)
def test_the_burn_order_decides_between_valid_grants(order: BurnOrder, drawn: dict[str, int]) -> None:
    town = CreditShop(Subscription("A", 0, 10, Decimal(0), CALLS), order=order)
    credit(town, "long", 5)
    town.move_to(1)
    credit(town, "short", 3, expires=5)
    town.use("calls", 4)
    assert draws(town) == drawn


def test_a_fall_takes_back_the_latest_draws_first_and_uncovered_ones_among_them() -> None:
    town = shop(included=0)
    credit(town, "g", 3)
    town.use("calls", 5)
    town.move_to(1)
    credit(town, "h", 5)
    town.use("calls", 2)
    assert (draws(town), settled(town).uncovered) == ({"g": 3, "h": 2}, 2)
    town.move_to(2)
    credit(town, "i", 5)
    town.use("calls", -3)
    assert (draws(town), settled(town).uncovered) == ({"g": 3}, 1)
    town.use("calls", -2)
    assert (draws(town), settled(town).uncovered) == ({"g": 2}, 0)


def test_lines_and_cycles_take_turns_by_cycle_end_subscription_and_line() -> None:
    two = (Meter("first"), Meter("second"))
    town = CreditShop(
        Subscription("B", 0, 10, Decimal(0), CALLS),
        Subscription("A", 0, 10, Decimal(0), two),
        Subscription("C", 0, 5, Decimal(0), (Meter("short"),)),
    )
    credit(town, "g", 10)
    for meter in ("calls", "second", "first", "short"):
        town.use(meter, 4)
    assert draws(town, "C") == {"g": 4}
    assert settled(town, "A", 0, 0).credits == 4
    assert settled(town, "A", 0, 1).credits == 2
    assert draws(town, "B") == {}


def test_debits_and_final_burns_come_before_all_claims() -> None:
    town = CreditShop(Subscription("A", 0, 10, Decimal(0), CALLS), Subscription("B", 0, 20, Decimal(0), (Meter("b"),)))
    credit(town, "g", 10)
    town.use("b", 4)
    town.move_to(20)
    town.debit(Decimal(3))
    town.close("B", 0)
    town.use("calls", 9, at=day(1))
    assert (draws(town, "A"), draws(town, "B")) == ({"g": 3}, {"g": 4})


def test_a_debit_takes_only_what_claims_leave() -> None:
    town = shop()
    town.use("calls", 8)
    assert town.settled().free(town.now, BurnOrder.oldest) == {"A-0": 2}
    town.move_to(10)
    assert town.settled().free(town.now, BurnOrder.oldest) == {"A-1": 10}


def test_a_rest_is_rolled_over_after_the_claims_of_cycles_that_end_by_then() -> None:
    town = CreditShop(
        Subscription("A", 0, 10, Decimal(10), CALLS, percentage=50, max_count=1),
        Subscription("B", 5, 10, Decimal(0), (Meter("b"),)),
    )
    town.move_to(7)
    town.use("calls", 4)
    town.use("b", 1)
    town.move_to(12)
    settlement = town.settled()
    child = settlement.grants["A-0.1"]
    assert (child.amount, child.begins, child.expires) == (3, day(10), day(20))
    assert draws(town, "B") == {"A-0": 1}
    assert left(town) == 13
    town.close("A", 0)
    assert town.account.grants["A-0.1"].amount == 3
    assert town.settled().remaining == settlement.remaining
    town.move_to(20)
    assert left(town) == 15
    assert "A-0.2" not in town.settled().grants


def test_what_was_rolled_over_can_no_longer_be_drawn_and_what_was_forfeited_can() -> None:
    town = shop(percentage=50)
    town.use("calls", 4)
    town.move_to(11)
    town.close("A", 0)
    town.use("calls", 5, at=day(1))
    assert (draws(town), settled(town).uncovered) == ({"A-0": 7}, 2)
    town.correct("A", 0)
    assert (draws(town), town.settled().grants["A-0.1"].amount) == ({"A-0": 7}, 3)


def test_a_rollover_of_nothing_is_recorded_so_that_later_gifts_stay_where_they_are() -> None:
    town = shop(percentage=100)
    town.use("calls", 10)
    town.move_to(11)
    town.close("A", 0)
    town.use("calls", -4, at=day(1))
    town.correct("A", 0)
    assert (draws(town), left(town)) == ({"A-0": 6}, 10)
    assert "A-0.1" not in town.settled().grants


def test_a_child_may_be_drawn_before_its_rollover_is_recorded() -> None:
    town = CreditShop(
        Subscription("A", 0, 10, Decimal(10), CALLS, percentage=100),
        Subscription("B", 5, 10, Decimal(0), (Meter("b"),)),
    )
    town.move_to(12)
    town.use("b", 2)
    town.debit(Decimal(5))
    town.move_to(15)
    town.close("B", 0)
    assert draws(town, "B") == {"A-0.1": 2}
    town.use("calls", 9, at=day(1))
    assert (draws(town, "A"), settled(town, "A").uncovered) == ({"A-0": 3}, 6)
    town.close("A", 0)
    assert town.settled().remaining == {"A-0": 7, "A-0.1": 0, "A-1": 10, "A-1.1": 10}


def test_what_was_taken_from_a_child_bounds_what_the_parent_still_gives() -> None:
    town = shop(percentage=50)
    town.move_to(12)
    town.debit(Decimal(15))
    town.use("calls", 8, at=day(1))
    assert (draws(town), settled(town).uncovered) == ({"A-0": 5}, 3)
    assert town.settled().grants["A-0.1"].amount == 5
    town.close("A", 0)
    assert town.account.grants["A-0.1"].amount == 5


def test_a_cycle_closed_before_an_earlier_one_leaves_that_one_its_grants() -> None:
    town = shop(percentage=100)
    town.move_to(11)
    town.use("calls", 2)
    town.move_to(21)
    town.close("A", 1)
    assert set(town.account.rolled) == {"A-1"}
    town.use("calls", 5, at=day(1))
    assert draws(town) == {"A-0": 5}
    town.close("A", 0)
    assert set(town.account.rolled) == {"A-1", "A-0"}
    town.move_to(31)
    town.close("A", 2)
    assert set(town.account.rolled) == {"A-0", "A-0.1", "A-0.2", "A-1", "A-1.1", "A-2"}


def test_a_trial_costs_nothing_beyond_its_credits() -> None:
    town = with_overage(OverageBehavior.invoice_at_billing)
    town.use("calls", 5)
    (claim,) = town.claims()
    trial = msgspec.structs.replace(claim, waive_uncovered=True)
    outcome = settle(town.account, [trial], town.now).by_key[claim.key]
    assert (outcome.credits, outcome.uncovered, outcome.overage) == (2, 3, 0)


def test_a_closed_line_may_have_its_own_draws_and_what_lapsed_by_its_end() -> None:
    town = shop(included=0)
    credit(town, "lapses", 3, expires=8)
    credit(town, "lasts", 5)
    town.move_to(2)
    town.use("calls", 2)
    town.move_to(9)
    town.use("calls", 2)
    town.move_to(11)
    town.close("A", 0)
    assert draws(town) == {"lapses": 2, "lasts": 2}
    town.use("calls", 4, at=day(3))
    assert (draws(town), settled(town).uncovered) == ({"lapses": 3, "lasts": 2}, 3)
    town.correct("A", 0)
    town.use("calls", -5, at=day(3))
    assert draws(town) == {"lapses": 1, "lasts": 2}
    town.correct("A", 0)
    assert (left(town), town.settled().remaining) == (3, {"lapses": 2, "lasts": 3})


def test_a_voided_cycle_claims_again_what_it_had() -> None:
    town = shop(included=0)
    credit(town, "g", 10)
    town.use("calls", 6)
    town.move_to(11)
    town.close("A", 0)
    town.use("calls", -2, at=day(1))
    town.correct("A", 0)
    assert left(town) == 6
    town.void("A", 0)
    assert (draws(town), left(town)) == ({"g": 4}, 6)
    town.close("A", 0)
    assert (draws(town), left(town)) == ({"g": 4}, 6)


def test_a_correction_that_outlives_its_invoice_lends_nobody_credits() -> None:
    town = CreditShop(Subscription("A", 0, 10, Decimal(0), CALLS), Subscription("B", 0, 5, Decimal(0), (Meter("b"),)))
    credit(town, "g", 10)
    town.use("calls", 6)
    town.move_to(11)
    town.close("A", 0)
    town.use("calls", -2, at=day(1))
    town.correct("A", 0)
    town.void("A", 0)
    town.use("b", 12, at=day(1))
    assert (draws(town, "B"), draws(town, "A")) == ({"g": 10}, {})


def test_the_order_of_closing_does_not_matter_for_the_same_usage() -> None:
    outcomes: list[object] = []
    for order in ((0, 1, 2), (2, 1, 0)):
        town = shop(percentage=50)
        for index in range(3):
            town.move_to(index * 10 + 1)
            town.use("calls", 6)
        town.move_to(31)
        for index in order:
            town.close("A", index)
        outcomes.append((town.drawn(), town.settled().remaining))
    assert outcomes[0] == outcomes[1]


def test_a_cut_cycle_takes_its_credits_along() -> None:
    town = shop()
    town.move_to(4)
    terms = town.subscriptions["A"].terms
    assert terms(0) is None
    town.subscriptions["A"].percentage = 100
    cut = terms(0)
    assert cut is not None
    town.account.move_cycle_end("A", day(0), day(4), cut.calendar, day(4))
    assert left(town) == 0


def one_claim(shop: CreditShop, **changes: object) -> Settlement:
    return settle(shop.account, [msgspec.structs.replace(shop.claims()[0], **changes)], shop.now)


def test_a_claim_needs_a_step_wherever_a_grant_begins_or_expires() -> None:
    town = shop()
    town.move_to(3)
    credit(town, "g", 1, expires=5)
    assert instants(town.account, day(0), day(10)) == [day(3), day(5)]
    steps = (Step(day(3), Decimal(1)), Step(day(10), Decimal(2)))
    with pytest.raises(ValueError, match="lacks a step"):
        one_claim(town, steps=steps)
    for wrong in ((), steps[:1], steps[::-1], (*steps, steps[-1])):
        with pytest.raises(ValueError, match="do not rise"):
            one_claim(town, steps=wrong)


def test_a_line_claims_once() -> None:
    town = shop()
    claim: Claim = town.claims()[0]
    with pytest.raises(ValueError, match="one line"):
        settle(town.account, [claim, claim], town.now)
