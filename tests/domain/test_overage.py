"""Overage at one place in the order: how much room there is, looking at what was counted later already."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from domain.burn import LineKey, StandingLine
from domain.claim import Claim, ClaimKey, OverageTerms, Step
from domain.entitlement import OverageBehavior
from domain.overage import Outstanding, Repayer
from tests.domain.credit_shop import day

KEEP, REPAY = OverageBehavior.carry_deficit, OverageBehavior.carry_deficit_auto_repay


def key(index: int) -> LineKey:
    """The line of the cycle that lasts from day 10 x index on."""
    return LineKey("A", day(10 * index), "pdt", "mtr")


def invoiced(behavior: OverageBehavior, *amounts: int) -> Outstanding:
    """Overage that invoices counted for the cycles from the second on."""
    return Outstanding(
        {
            key(index): StandingLine(
                cycle_end=day(10 * index + 10), draws={}, overage=Decimal(amount), overage_behavior=behavior
            )
            for index, amount in enumerate(amounts, 1)
        }
    )


def claim(behavior: OverageBehavior, limit: int | None, index: int = 0) -> Claim:
    end = day(10 * index + 10)
    return Claim(
        key=ClaimKey(end, "A", 0, day(10 * index), "pdt", "mtr"),
        units_per_credit=Decimal(1),
        steps=(Step(end, Decimal(0)),),
        overage=OverageTerms(behavior=behavior, limit=None if limit is None else Decimal(limit)),
    )


def repayer(start: int, free: int) -> Repayer:
    return Repayer(day(start), Decimal(free))


@pytest.mark.parametrize(
    ("behavior", "later", "repayers", "counted"),
    [
        (KEEP, [], [], 10),
        (KEEP, [4], [], 6),
        (KEEP, [4, 5], [], 1),
        (KEEP, [4, 9], [], 0),
        (KEEP, [4], [repayer(10, 50)], 6),
        (REPAY, [4], [], 6),
        (REPAY, [4], [repayer(10, 3)], 9),
        (REPAY, [10], [repayer(10, 10)], 10),
        (REPAY, [10], [repayer(20, 10)], 0),
        (REPAY, [10, 10], [repayer(10, 10), repayer(20, 10)], 10),
        (REPAY, [10, 10], [repayer(10, 8), repayer(20, 10)], 8),
        (REPAY, [20], [repayer(10, 7)], 7),
        (REPAY, [4], [repayer(10, -3)], 6),
    ],
)
def test_room_is_left_for_what_was_counted_later(
    behavior: OverageBehavior, later: list[int], repayers: list[Repayer], counted: int
) -> None:
    assert invoiced(behavior, *later).count(claim(behavior, 10), Decimal(30), repayers) == counted


def test_without_a_limit_everything_counts() -> None:
    assert invoiced(KEEP, 50).count(claim(KEEP, None), Decimal(30), []) == 30


def test_a_line_that_counts_anew_is_not_in_its_own_way() -> None:
    outstanding = invoiced(KEEP, 8)
    assert outstanding.count(claim(KEEP, 10, index=1), Decimal(9), []) == 9
    outstanding.enter(key(1))
    assert outstanding.kept == 9


def test_only_what_is_due_is_repaid() -> None:
    outstanding = invoiced(REPAY, 8)
    assert outstanding.repay(Decimal(5)) == 0
    outstanding.enter(key(1))
    assert outstanding.repay(Decimal(-1)) == 0
    assert outstanding.repay(Decimal(5)) == 5
    assert outstanding.repay(Decimal(5)) == 3
    kept = invoiced(KEEP, 8)
    kept.enter(key(1))
    assert kept.repay(Decimal(5)) == 0


@pytest.mark.parametrize("changes", [{"overage": None}, {"waive_uncovered": True}])
def test_what_does_not_count_takes_no_room(changes: dict[str, object]) -> None:
    outstanding = invoiced(KEEP)
    assert outstanding.count(msgspec.structs.replace(claim(KEEP, 10), **changes), Decimal(7), []) == 0
    assert outstanding.count(claim(KEEP, 10, index=1), Decimal(30), []) == 10


def test_overage_that_does_not_carry_is_bounded_in_its_cycle_alone() -> None:
    forgiven = OverageBehavior.forgive_at_reset
    outstanding = invoiced(forgiven, 8)
    assert outstanding.count(claim(forgiven, 10), Decimal(30), []) == 10
    other = claim(forgiven, 10, index=1)
    other = msgspec.structs.replace(other, key=msgspec.structs.replace(other.key, meter_id="other"))
    assert outstanding.count(other, Decimal(30), []) == 2
