"""The ledger: entries a bookkeeper would write, and a check that finds what does not fit."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from domain.credit_ledger import Movement, check, movements
from domain.credit_postings import TransactionType
from domain.entitlement import OverageBehavior
from tests.domain.credit_shop import CreditShop, Meter, Subscription, day


def shop(behavior: OverageBehavior | None = None, included: int = 10, **terms: int | None) -> CreditShop:
    meters = (Meter("calls", behavior=behavior),)
    return CreditShop(Subscription("A", 0, 10, Decimal(included), meters, **terms))


def ledger(shop: CreditShop) -> list[Movement]:
    assert shop.problems() == []
    return movements(shop.account, shop.settled(), shop.now)


def told(shop: CreditShop) -> list[tuple[str, int, int, int]]:
    """Each entry's type, amount, and the balance and overage after it."""
    return [
        (one.transaction_type.value, int(one.amount), int(one.balance_after), int(one.overage_after))
        for one in ledger(shop)
    ]


def test_a_running_entry_keeps_its_id_when_the_close_makes_it_final() -> None:
    town = shop()
    town.use("calls", 4)
    town.move_to(1)
    (_, running) = ledger(town)
    assert (running.is_final, running.amount, running.at, running.grant_id) == (False, -4, day(1), "A-0")
    town.move_to(10)
    town.close("A", 0)
    final = next(one for one in ledger(town) if one.id == running.id)
    assert (final.is_final, final.amount, final.at, final.reference_id) == (True, -4, day(10), "inv_1")


def test_a_cycle_ends_before_the_next_begins() -> None:
    town = shop()
    town.use("calls", 4)
    town.move_to(10)
    story = [
        ("credit_added", 10, 10, 0),
        ("credit_deducted", -4, 6, 0),
        ("credit_expired", -6, 0, 0),
        ("credit_added", 10, 10, 0),
    ]
    assert told(town) == story
    assert [one.is_final for one in ledger(town)] == [True, False, False, True]
    town.close("A", 0)
    assert told(town) == story
    assert [one.is_final for one in ledger(town)] == [True, True, True, True]


def test_a_rollover_moves_what_lives_on_and_forfeits_the_rest() -> None:
    town = shop(percentage=50)
    town.use("calls", 4)
    town.move_to(10)
    rollover = [
        ("credit_rolled_over", -3, 3, 0),
        ("credit_rolled_over", 3, 6, 0),
        ("rollover_forfeited", -3, 3, 0),
        ("credit_added", 10, 13, 0),
    ]
    assert told(town)[2:] == rollover
    town.close("A", 0)
    assert told(town)[2:] == rollover


def test_debits_and_credits_by_hand_tell_their_reason() -> None:
    town = shop(included=0)
    town.account.credit("g", amount=Decimal(5), expires=day(3), reason="sorry", metadata='{"a":1}', at=day(1))
    town.move_to(1)
    town.account.debit("e", amount=Decimal(2), free={"g": Decimal(5)}, reason="misuse", at=day(1))
    town.move_to(5)
    added, debited, expired = ledger(town)
    assert (added.reason, added.metadata, added.id) == ("sorry", '{"a":1}', "g")
    assert (debited.reason, debited.id, debited.amount, debited.is_final) == ("misuse", "e", -2, True)
    assert (expired.amount, expired.at) == (-3, day(3))


@pytest.mark.parametrize(
    ("behavior", "ended", "closed"),
    [
        (OverageBehavior.forgive_at_reset, ("overage_reset", 3, 0), ("overage_reset", 3, 0)),
        (OverageBehavior.invoice_at_billing, (None, 0, 3), ("overage_charged", 3, 0)),
        (OverageBehavior.carry_deficit, (None, 0, 3), (None, 0, 3)),
    ],
)
def test_overage_leaves_by_its_behaviour(
    behavior: OverageBehavior,
    ended: tuple[str | None, int, int],
    closed: tuple[str | None, int, int],
) -> None:
    town = shop(behavior, included=2)
    town.use("calls", 5)
    town.move_to(1)
    assert told(town)[1] == ("credit_deducted", -5, 0, 3)
    town.move_to(11)
    for expected, is_open in ((ended, True), (closed, False)):
        settled = [one[:2] for one in told(town) if one[0].startswith("overage")]
        assert settled == ([] if expected[0] is None else [expected[:2]])
        assert told(town)[-1][3] == expected[2]
        if is_open:
            town.close("A", 0)


def test_a_repayment_takes_from_the_grant_and_from_the_overage() -> None:
    town = shop(OverageBehavior.carry_deficit_auto_repay, included=2)
    town.use("calls", 5)
    town.move_to(10)
    assert told(town)[2:] == [
        ("credit_added", 2, 2, 3),
        ("credit_deducted", -2, 0, 3),
        ("overage_reset", 2, 0, 1),
    ]
    taken, reset = ledger(town)[3:]
    assert [posting.account for posting in taken.postings] == ["available:A-1", "repaid"]
    assert [posting.account for posting in reset.postings] == ["repaid", "overage"]


def test_a_correction_stands_when_it_was_recorded_and_what_it_frees_lapses_at_once() -> None:
    town = shop()
    town.use("calls", 8)
    town.move_to(11)
    town.close("A", 0)
    town.move_to(13)
    town.use("calls", -3, at=day(1))
    town.correct("A", 0)
    last = ledger(town)[-2:]
    assert [(one.transaction_type, one.amount, one.at, one.is_final) for one in last] == [
        (TransactionType.credit_deducted, 3, day(13), True),
        (TransactionType.credit_expired, -3, day(13), True),
    ]


def test_late_usage_takes_back_from_what_had_lapsed() -> None:
    town = shop()
    town.use("calls", 4)
    town.move_to(11)
    town.close("A", 0)
    town.use("calls", 2, at=day(1))
    assert told(town) == [
        ("credit_added", 10, 10, 0),
        ("credit_deducted", -4, 6, 0),
        ("credit_expired", -4, 2, 0),
        ("credit_added", 10, 12, 0),
        ("credit_deducted", -2, 10, 0),
    ]


def test_what_later_corrections_need_and_give_back_lapses_when_they_are_recorded() -> None:
    town = shop()
    town.use("calls", 4)
    town.move_to(11)
    town.close("A", 0)
    for number, amount in ((13, 2), (14, -3)):
        town.move_to(number)
        town.use("calls", amount, at=day(1))
        town.correct("A", 0)
    lapses = [one for one in ledger(town) if one.transaction_type is TransactionType.credit_expired]
    assert [(one.amount, one.at, one.id) for one in lapses] == [
        (-4, day(10), "A-0:lapsed"),
        (-3, day(14), "A-0:lapsed:2"),
    ]


def test_an_expired_grant_repays_late_overage_when_that_is_recorded() -> None:
    town = shop(OverageBehavior.carry_deficit_auto_repay, included=4)
    town.use("calls", 1)
    town.move_to(10)
    town.use("calls", 2)
    town.move_to(20)
    town.close("A", 0)
    town.close("A", 1)
    for number, amount, index in ((22, 5, 0), (23, -2, 1)):
        town.move_to(number)
        town.use("calls", amount, at=day(index * 10))
        town.correct("A", index)
    repaid = [(one.id, one.amount, one.at) for one in ledger(town) if ":repaid" in one.id]
    assert repaid == [("A-1:repaid", -2, day(22)), ("A-1:repaid:overage", 2, day(22))]


def test_a_line_that_draws_what_a_void_invoice_gave_back_stands_after_it() -> None:
    town = CreditShop(Subscription("A", 0, 10, Decimal(6), (Meter("first"), Meter("second"))))
    town.use("second", 6)
    town.move_to(12)
    town.close("A", 0)
    town.use("first", 5, at=day(1))
    town.void("A", 0)
    story = [(one.transaction_type.value, int(one.amount), one.at) for one in ledger(town) if one.at != day(0)]
    assert story == [
        ("credit_deducted", -6, day(10)),
        ("credit_added", 6, day(10)),
        ("refund", 6, day(12)),
        ("credit_deducted", -5, day(12)),
        ("credit_deducted", -1, day(12)),
    ]
    town.close("A", 0)
    assert ledger(town)[-2].at == day(12)


def test_what_comes_back_before_a_rollover_is_recorded_is_rolled_over_when_it_comes() -> None:
    town = CreditShop(
        Subscription("A", 0, 10, Decimal(10), (Meter("a"),), percentage=100),
        Subscription("B", 0, 10, Decimal(0), (Meter("b"),)),
    )
    town.use("b", 5)
    town.move_to(11)
    town.close("B", 0)
    town.move_to(12)
    town.use("b", -2, at=day(1))
    town.correct("B", 0)
    rolled = [
        (one.id, int(one.amount), one.at)
        for one in ledger(town)
        if one.transaction_type is TransactionType.credit_rolled_over
    ]
    assert rolled == [
        ("A-0.1:out", -5, day(10)),
        ("A-0.1:in", 5, day(10)),
        ("A-0.1:out:2", -2, day(12)),
        ("A-0.1:in:2", 2, day(12)),
    ]


def test_entries_of_one_instant_stand_in_the_order_of_their_facts() -> None:
    town = shop()
    town.use("calls", 4)
    town.move_to(12)
    town.close("A", 0)
    town.void("A", 0)
    town.close("A", 0)
    town.void("A", 0)
    town.close("A", 0)
    kinds = [(one.transaction_type.value, int(one.amount)) for one in ledger(town) if one.at == day(12)]
    burned, returned = ("credit_deducted", -4), ("refund", 4)
    assert kinds == [returned, burned, returned, burned]


def test_a_void_invoice_gives_everything_back() -> None:
    town = shop(OverageBehavior.invoice_at_billing, included=2)
    town.use("calls", 5)
    town.move_to(10)
    town.close("A", 0)
    town.move_to(12)
    town.void("A", 0)
    entries = ledger(town)
    assert [(one.transaction_type, int(one.amount)) for one in entries[-3:]] == [
        (TransactionType.returned, 5),
        (TransactionType.returned, -3),
        (TransactionType.credit_deducted, -5),
    ]
    town.close("A", 0)
    assert told(town)[-1] == ("overage_charged", 3, 2, 0)
    assert len({one.id for one in ledger(town)}) == len(ledger(town))


def test_usage_with_a_time_ahead_waits_for_the_grant_it_draws_on() -> None:
    town = CreditShop(
        Subscription("A", 0, 10, Decimal(10), (Meter("calls"),), percentage=100),
        Subscription("B", 5, 10, Decimal(0), (Meter("b"),)),
    )
    town.move_to(9)
    town.use("b", 4, at=day(11))
    assert town.settled().by_key[town.key("B", 0)].by_grant() == {"A-0.1": 4}
    assert told(town) == [("credit_added", 10, 10, 0)]
    town.move_to(11)
    assert told(town)[-1] == ("credit_deducted", -4, 16, 0)


@pytest.mark.parametrize("change", ["remaining", "repayments", "standing"])
def test_the_check_finds_a_settlement_that_does_not_fit_the_facts(change: str) -> None:
    town = shop(OverageBehavior.carry_deficit_auto_repay, included=2)
    town.use("calls", 5)
    town.move_to(10)
    town.close("A", 0)
    town.use("calls", 1)
    town.move_to(11)
    settlement = town.settled()
    wrong = {
        "remaining": settlement.remaining | {"A-1": Decimal(1)},
        "repayments": settlement.repayments[:0],
        "standing": {},
    }
    assert check(town.account, settlement, town.now) == []
    tampered = msgspec.structs.replace(settlement, **{change: wrong[change]})
    assert check(town.account, tampered, town.now) != []


def test_the_check_names_the_grant_that_was_overdrawn() -> None:
    town = shop()
    town.account.debit("e", amount=Decimal(11), free={"A-0": Decimal(11)}, at=day(0))
    assert "available:A-0 falls below 0 with e" in check(town.account, town.settled(), town.now)


def test_a_correction_gives_back_before_another_line_of_it_takes() -> None:
    meters = (Meter("calls"), Meter("tokens"))
    town = CreditShop(Subscription("A", 0, 10, Decimal(10), meters))
    town.use("calls", 10)
    town.move_to(10)
    town.close("A", 0)
    town.move_to(12)
    town.use("calls", -4, day(5))
    town.use("tokens", 3, day(6))
    entries = [("credit_deducted", 4, 14, 0), ("credit_expired", -1, 13, 0), ("credit_deducted", -3, 10, 0)]
    assert told(town)[-3:] == entries
    town.correct("A", 0)
    assert told(town)[-3:] == entries
