"""The credit account: what it refuses, what happens once, and that its facts make it again."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from domain.burn import BurnLine, Draw, Rolled, standing_lines
from domain.credit_account import CreditAccount
from domain.cycle import Anchor, Interval, Unit
from domain.entitlement import OverageBehavior
from domain.errors import Conflict, Insufficient, Invalid
from domain.grant import Calendar, GrantedCycle, RolloverTerms, SourceType, child_of
from projections.log_reader import fold
from projections.mapper import to_fact, to_stored
from tests.domain.credit_shop import day

CYCLE = GrantedCycle(subscription_id="sub_1", product_id="pdt_1", start=day(0), end=day(10))
CALENDAR = Calendar(anchor=Anchor(instant=day(0)), interval=Interval(10, Unit.Day), zone="UTC", index=1)
LINE = BurnLine(
    product_id="pdt_1",
    meter_id="mtr_1",
    draws=(Draw("g", "4"),),
    overage="1.5",
    overage_behavior=OverageBehavior.carry_deficit,
)


def opened() -> CreditAccount:
    return CreditAccount.open("cde_1", "cus_1", 2, day(0))


def granted(**changes: Any) -> CreditAccount:
    account = opened()
    terms = RolloverTerms(calendar=CALENDAR)
    account.grant_cycle("g", amount=Decimal(10), cycle=CYCLE, rollover=terms, at=day(0), **changes)
    return account


@pytest.mark.parametrize(
    ("amount", "expires", "field"),
    [("0", None, "amount"), ("-1", None, "amount"), ("0.001", None, "amount"), ("1", day(0), "expires_at")],
)
def test_a_wrong_credit_is_refused(amount: str, expires: datetime | None, field: str) -> None:
    account = opened()
    with pytest.raises(Invalid) as refused:
        account.credit("g", amount=Decimal(amount), expires=expires, at=day(0))
    assert refused.value.field == field
    assert account.grants == {}


def test_a_key_is_used_once_for_credits_and_debits_together() -> None:
    account = opened()
    account.credit("g", amount=Decimal(5), expires=None, idempotency_key="k", at=day(0))
    with pytest.raises(Conflict) as refused:
        account.credit("h", amount=Decimal(5), expires=None, idempotency_key="k", at=day(0))
    assert refused.value.code == "IDEMPOTENCY_KEY_USED"
    with pytest.raises(Conflict):
        account.debit("e", amount=Decimal(1), free={"g": Decimal(5)}, idempotency_key="k", at=day(0))
    account.debit("e", amount=Decimal(1), free={"g": Decimal(5)}, idempotency_key="l", at=day(0))
    account.debit("f", amount=Decimal(1), free={"g": Decimal(4)}, at=day(0))
    account.debit("h", amount=Decimal(1), free={"g": Decimal(3)}, at=day(0))
    assert (list(account.grants), len(account.debits)) == (["g"], 3)


def test_a_debit_above_what_is_free_is_refused_whole() -> None:
    account = granted()
    with pytest.raises(Insufficient) as refused:
        account.debit("e", amount=Decimal("7.01"), free={"g": Decimal(3), "h": Decimal(4)}, at=day(1))
    assert (refused.value.code, account.debits) == ("INSUFFICIENT_CREDITS", [])


def test_a_debit_takes_in_the_order_it_is_given() -> None:
    free = {"h": Decimal(4), "empty": Decimal(0), "g": Decimal(3), "last": Decimal(9)}
    assert granted().debit("e", amount=Decimal("5.5"), free=free, at=day(1)) == (Draw("h", "4"), Draw("g", "1.5"))


def test_included_credits_are_granted_once_per_cycle_and_product() -> None:
    account = granted()
    account.grant_cycle("again", amount=Decimal(99), cycle=CYCLE, at=day(5))
    account.grant_cycle("none", amount=Decimal(0), cycle=msgspec.structs.replace(CYCLE, product_id="x"), at=day(5))
    other = msgspec.structs.replace(CYCLE, product_id="pdt_2")
    account.grant_cycle("other", amount=Decimal(1), cycle=other, at=day(5))
    assert {one.id: one.amount for one in account.grants.values()} == {"g": Decimal(10), "other": Decimal(1)}
    assert account.grants["g"].source_type is SourceType.subscription


@pytest.mark.parametrize(
    ("changes", "expires", "after_cut", "after_move"),
    [
        ({}, day(10), day(4), day(20)),
        ({"lasts_until": day(6)}, day(6), day(4), day(6)),
        ({"lasts_until": day(15)}, day(10), day(4), day(15)),
        ({"lasts_until": day(15), "outlives": True}, day(15), day(15), day(15)),
        ({"outlives": True}, None, None, None),
    ],
)
def test_a_grant_ends_where_its_cycle_ends_now(
    changes: dict[str, object], expires: datetime | None, after_cut: datetime | None, after_move: datetime | None
) -> None:
    for end, expected in ((day(10), expires), (day(4), after_cut), (day(20), after_move)):
        account = granted(**changes)
        account.move_cycle_end("sub_1", day(0), end, CALENDAR, day(3))
        account.move_cycle_end("sub_1", day(0), end, CALENDAR, day(3))
        assert account.grants["g"].expires == expected
        assert account.version == (2 if end == day(10) else 3)


def test_the_grants_of_another_cycle_stay_where_they_are() -> None:
    account = granted()
    account.move_cycle_end("sub_1", day(10), day(4), CALENDAR, day(3))
    account.move_cycle_end("sub_2", day(0), day(4), CALENDAR, day(3))
    assert account.grants["g"].expires == day(10)


def test_what_another_takes_the_place_of_ends_as_it_begins_and_may_come_back() -> None:
    account = granted()
    other = msgspec.structs.replace(CYCLE, product_id="pdt_2")
    account.grant_cycle("other", amount=Decimal(1), cycle=other, at=day(0))
    assert (account.granted_cycles("sub_1"), account.granted_cycles("sub_2")) == ([CYCLE.start], [])
    for _ in range(2):
        account.move_cycle_end("sub_1", CYCLE.start, CYCLE.end, CALENDAR, day(0), products=["pdt_2"])
    assert [grant.never_was for grant in account.grants.values()] == [True, False]
    account.move_cycle_end("sub_1", CYCLE.start, CYCLE.start, None, day(0))
    assert [grant.never_was for grant in account.grants.values()] == [True, True]
    account.move_cycle_end("sub_1", CYCLE.start, CYCLE.end, CALENDAR, day(0), products=["pdt_1", "pdt_2"])
    assert [grant.expires for grant in account.grants.values()] == [CYCLE.end, CYCLE.end]


def burn(account: CreditAccount, invoice_id: str, *lines: BurnLine) -> None:
    account.burn(invoice_id, subscription_id="sub_1", cycle=(day(0), day(10)), lines=lines, at=day(11))


def test_burns_of_a_void_invoice_do_not_count() -> None:
    account = granted()
    burn(account, "inv_1", LINE)
    burn(account, "inv_2", msgspec.structs.replace(LINE, draws=(Draw("g", "-1"),), overage="-0.5"))
    (line,) = standing_lines(account.burns).values()
    assert (line.draws, line.overage) == ({"g": Decimal(3)}, Decimal(1))
    account.return_burns("inv_1", day(12))
    account.return_burns("inv_1", day(13))
    account.return_burns("inv_3", day(13))
    (line,) = standing_lines(account.burns).values()
    assert (line.draws, line.overage) == ({"g": Decimal(-1)}, Decimal("-0.5"))
    assert account.burns[0].returned_at == day(12)


def test_a_burn_without_change_is_no_fact() -> None:
    account = granted()
    burn(account, "inv_1")
    assert account.version == 2


def test_the_facts_make_the_account_again() -> None:
    account = granted()
    account.credit("h", amount=Decimal("2.50"), expires=day(40), reason="sorry", metadata='{"a":1}', at=day(1))
    account.debit("e", amount=Decimal(1), free={"h": Decimal(2)}, reason="oops", at=day(2))
    burn(account, "inv_1", LINE)
    child = child_of(account.grants["g"], Decimal(6))
    account.roll_over(
        [Rolled(parent_id="g", at=day(10), amount=Decimal(6), forfeited=Decimal(0), child=child)], "inv_1", day(11)
    )
    account.return_burns("inv_1", day(12))
    again = fold(CreditAccount, [to_fact(stored) for stored in to_stored(account.collect_events())])
    assert again is not None
    assert again.__dict__ == account.__dict__
    assert again.grants["g.1"].order == again.grants["g"].order == 0
    assert again.rolled == {"g": Decimal(6)}
