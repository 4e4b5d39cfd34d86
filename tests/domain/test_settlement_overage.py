"""Overage of a settlement: what counts, to which limit, and what repays it."""

from __future__ import annotations

from decimal import Decimal

from domain.entitlement import OverageBehavior
from domain.settlement import balance
from tests.domain.credit_questions import credit, left, settled, with_overage
from tests.domain.credit_shop import CreditShop, Meter, Subscription, day


def test_overage_counts_to_its_limit_in_each_cycle_across_its_lines() -> None:
    meters = (
        Meter("a", behavior=OverageBehavior.forgive_at_reset, limit=Decimal(5)),
        Meter("b", behavior=OverageBehavior.forgive_at_reset, limit=Decimal(5)),
        Meter("priced"),
    )
    town = CreditShop(Subscription("A", 0, 10, Decimal(1), meters))
    for meter in ("a", "b", "priced"):
        town.use(meter, 4)
    assert [settled(town, "A", 0, place).overage for place in range(3)] == [3, 2, 0]
    assert [settled(town, "A", 0, place).uncovered for place in range(3)] == [3, 4, 4]
    assert balance(town.settled(), town.now).overage == 5
    town.move_to(10)
    assert balance(town.settled(), town.now).overage == 0
    town.use("b", 9)
    assert settled(town, "A", 1, 1).overage == 5


def test_a_correction_of_one_line_leaves_the_room_of_the_others() -> None:
    meters = tuple(Meter(name, behavior=OverageBehavior.invoice_at_billing, limit=Decimal(5)) for name in "ab")
    town = CreditShop(Subscription("A", 0, 10, Decimal(0), meters))
    town.use("a", 1)
    town.use("b", 3)
    town.move_to(10)
    town.close("A", 0)
    town.use("a", 9, at=day(1))
    assert (settled(town, "A", 0, 0).overage, settled(town, "A", 0, 1).overage) == (2, 3)


def overage(shop: CreditShop) -> Decimal:
    return balance(shop.settled(), shop.now).overage


def test_invoiced_overage_is_outstanding_until_the_close() -> None:
    town = with_overage(OverageBehavior.invoice_at_billing)
    town.use("calls", 5)
    town.move_to(11)
    assert overage(town) == 3
    town.close("A", 0)
    assert overage(town) == 0


def test_a_carried_deficit_stays_and_bounds_the_next_cycle() -> None:
    town = with_overage(OverageBehavior.carry_deficit, limit=5)
    town.use("calls", 5)
    town.move_to(11)
    town.close("A", 0)
    assert (overage(town), left(town)) == (3, 2)
    town.use("calls", 9)
    assert (settled(town, index=1).overage, overage(town)) == (2, 5)
    town.move_to(21)
    town.close("A", 1)
    town.use("calls", 3, at=day(1))
    assert (settled(town).uncovered, settled(town).overage, overage(town)) == (6, 3, 5)


def test_new_credits_repay_a_deficit_where_the_terms_say_so() -> None:
    town = with_overage(OverageBehavior.carry_deficit_auto_repay, limit=5)
    town.use("calls", 7)
    town.move_to(9)
    credit(town, "same cycle", 1)
    town.move_to(10)
    assert (overage(town), left(town)) == (3, 1)
    town.use("calls", 9)
    assert (settled(town, index=1).credits, settled(town, index=1).overage, overage(town)) == (1, 2, 5)
    town.move_to(11)
    credit(town, "gift", 4)
    assert [one.credits for one in town.settled().repayments] == [2, 3]
    # What the gift repaid makes room for the overage of the open cycle, which counts at its end.
    assert (overage(town), left(town)) == (5, 1)


def test_late_usage_of_a_repaid_cycle_is_repaid_as_far_as_final_draws_leave_room() -> None:
    town = with_overage(OverageBehavior.carry_deficit_auto_repay, limit=5)
    town.use("calls", 3)
    town.move_to(10)
    town.use("calls", 1)
    town.move_to(20)
    town.close("A", 0)
    town.close("A", 1)
    assert overage(town) == 0
    town.use("calls", 1, at=day(1))
    assert [(one.grant_id, one.credits) for one in town.settled().repayments] == [
        ("A-1", 1),
        ("A-2", 1),
    ]


def test_what_was_repaid_keeps_its_room_when_the_line_is_settled_anew() -> None:
    town = with_overage(OverageBehavior.carry_deficit_auto_repay, limit=5)
    town.use("calls", 7)
    town.move_to(10)
    town.close("A", 0)
    town.use("calls", 9)
    town.move_to(20)
    town.close("A", 1)
    assert list(town.overage().values()) == [5, 2]
    town.use("calls", 0, at=day(1))
    assert town.late == {("A", 0)}
    assert town.settled().burn_lines("A", day(0)) == ()
