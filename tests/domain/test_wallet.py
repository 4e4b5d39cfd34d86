"""Wallets: money in and out, never below 0, and every movement in two postings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Conflict, Insufficient, Refusal
from domain.wallet import WALLET_ACCOUNT, MovementType, Wallet, check, sums_of

AT = datetime(2026, 3, 10, tzinfo=UTC)


def wallet(balance: int = 0) -> Wallet:
    found = Wallet.open("ada:1", "USD", AT)
    if balance:
        found.move("wle_first", balance, None, None, AT)
    return found


def events(found: Wallet) -> int:
    return len(found.collect_events())


def test_a_new_wallet_is_empty_and_named_by_currency_and_customer() -> None:
    found = wallet()
    assert (found.balance, found.movements, check(found)) == (0, [], [])
    assert found.object_id == Wallet.wallet_id("ada:1", "USD") == "USD:ada:1"


def test_a_debit_over_the_balance_is_refused_and_records_nothing() -> None:
    found = wallet(100)
    events(found)
    with pytest.raises(Insufficient) as refused:
        found.move("wle_1", -101, None, None, AT)
    assert (refused.value.code, refused.value.message) == (
        "INSUFFICIENT_BALANCE",
        "amount: the wallet holds 1.00 USD",
    )
    assert (events(found), found.balance) == (0, 100)


def test_the_whole_balance_can_be_debited() -> None:
    found = wallet(100)
    found.move("wle_1", -100, "paid out", None, AT)
    assert found.balance == 0
    entry = found.movements[-1]
    assert (entry.before_balance, entry.amount, entry.after_balance, entry.reason) == (100, -100, 0, "paid out")


def test_a_repeated_key_with_the_same_content_moves_nothing() -> None:
    found = wallet(100)
    found.move("wle_1", -60, "r", "k", AT)
    events(found)
    # The balance would not allow it again: the earlier answer counts, not a new decision.
    found.move("wle_2", -60, "r", "k", AT)
    assert (events(found), found.balance) == (0, 40)


@pytest.mark.parametrize(("amount", "reason"), [(-61, "r"), (60, "r"), (-60, None)])
def test_a_repeated_key_with_other_content_is_a_conflict(amount: int, reason: str | None) -> None:
    found = wallet(100)
    found.move("wle_1", -60, "r", "k", AT)
    with pytest.raises(Conflict) as refused:
        found.move("wle_2", amount, reason, "k", AT)
    assert refused.value.code == "IDEMPOTENCY_KEY_USED"
    assert found.balance == 40


def test_without_a_key_the_same_movement_counts_twice() -> None:
    found = wallet()
    found.move("wle_1", 5, None, None, AT)
    found.move("wle_2", 5, None, None, AT)
    assert found.balance == 10


@pytest.mark.parametrize(("amount", "taken"), [(0, 0), (1, 1), (100, 100), (101, 100)])
def test_an_invoice_takes_no_more_than_there_is(amount: int, taken: int) -> None:
    found = wallet(100)
    assert found.apply_to_invoice(amount, "inv_1", AT) == taken
    assert (found.balance, check(found)) == (100 - taken, [])


def test_an_empty_wallet_pays_nothing_and_records_nothing() -> None:
    found = wallet()
    events(found)
    assert found.apply_to_invoice(50, "inv_1", AT) == 0
    assert events(found) == 0


def test_a_void_gives_back_exactly_what_was_taken_once() -> None:
    found = wallet(100)
    found.apply_to_invoice(70, "inv_1", AT)
    found.apply_to_invoice(20, "inv_2", AT)
    found.return_from_invoice("inv_1", AT)
    found.return_from_invoice("inv_1", AT)
    assert (found.balance, found.movements[-1].event_type) == (80, MovementType.payment_reversal)
    assert sums_of(found.movements)["payment"] == 20
    assert check(found) == []


def test_a_void_takes_back_what_was_credited() -> None:
    found = wallet()
    found.credit_from_invoice(30, "inv_1", AT)
    assert (found.balance, found.movements[-1].event_type.value) == (30, "refund")
    found.return_from_invoice("inv_1", AT)
    assert (found.balance, found.movements[-1].event_type.value) == (0, "refund_reversal")
    assert sums_of(found.movements) == {WALLET_ACCOUNT: 0, "refund": 0}


def test_a_void_is_refused_when_the_credited_money_is_gone() -> None:
    found = wallet()
    found.credit_from_invoice(30, "inv_1", AT)
    found.move("wle_1", -1, None, None, AT)
    with pytest.raises(Conflict) as refused:
        found.return_from_invoice("inv_1", AT)
    assert refused.value.code == "WALLET_SPENT"
    assert "inv_1" in refused.value.message
    assert found.balance == 29


def test_a_void_of_an_invoice_that_moved_nothing_does_nothing() -> None:
    found = wallet(5)
    events(found)
    found.return_from_invoice("inv_1", AT)
    assert events(found) == 0


def test_the_check_finds_a_balance_that_is_not_the_sum() -> None:
    found = wallet(100)
    found.balance = 101
    assert check(found) == ["the balance 101 is not the sum of the entries"]


def test_the_check_finds_a_chain_that_is_broken_and_a_balance_below_nothing() -> None:
    found = wallet(100)
    found.move("wle_1", -40, None, None, AT)
    found.movements[1] = msgspec.structs.replace(found.movements[1], before_balance=30)
    assert check(found) == ["wle_1 begins at 30, not at 100", "wle_1 leaves -10"]


def test_a_forged_event_is_found() -> None:
    found = wallet(10)
    (_, first) = found.collect_events()
    assert isinstance(first, Wallet.Moved)
    replace(first, originator_version=3, entry_id="wle_bad", amount=-50).mutate(found)
    assert check(found) == ["wle_bad leaves -40"]


MOVES = st.one_of(
    st.tuples(st.just("move"), st.integers(-50, 50).filter(bool), st.sampled_from([None, "a", "b"])),
    st.tuples(st.just("apply"), st.integers(0, 60), st.integers(1, 3)),
    st.tuples(st.just("credit"), st.integers(1, 60), st.integers(1, 3)),
    st.tuples(st.just("return"), st.just(0), st.integers(1, 3)),
)


@given(st.lists(MOVES, max_size=30))
def test_whatever_happens_the_ledger_is_right(moves: list[tuple[str, int, object]]) -> None:
    found = wallet()
    for number, (what, amount, which) in enumerate(moves):
        before = found.balance
        try:
            if what == "move":
                found.move(f"wle_{number}", amount, None, which if isinstance(which, str) else None, AT)
            elif what == "apply":
                taken = found.apply_to_invoice(amount, f"inv_{which}", AT)
                assert taken == min(before, amount) == before - found.balance
            elif what == "credit":
                found.credit_from_invoice(amount, f"inv_{which}", AT)
            else:
                found.return_from_invoice(f"inv_{which}", AT)
        except Refusal:
            assert found.balance == before
        assert found.balance >= 0
    assert check(found) == []
    assert sum(sums_of(found.movements).values()) == 0
