"""Claims: of what is wanted over time, only what lasts to the end is drawn."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.claim import Claim, ClaimKey, Step
from tests.domain.credit_shop import day


def claim(*chargeable: int | str, units_per_credit: int = 1) -> Claim:
    """A step each day."""
    steps = tuple(Step(day(number + 1), Decimal(amount)) for number, amount in enumerate(chargeable))
    key = ClaimKey(day(len(chargeable)), "A", 0, day(0), "pdt", "mtr")
    return Claim(key=key, units_per_credit=Decimal(units_per_credit), steps=steps)


def rises(claim: Claim, precision: int = 0) -> list[tuple[int, Decimal]]:
    """By the number of the day."""
    return [((since - day(0)).days, amount) for since, _, amount in claim.rises(precision)]


@pytest.mark.parametrize(
    ("chargeable", "lasting"),
    [
        ([0, 0], []),
        ([3, 3, 5], [(0, 3), (2, 2)]),
        ([5, 2, 4], [(0, 2), (2, 2)]),
        ([5, 7, 1], [(0, 1)]),
        ([5, 0], []),
        ([-2, 4], [(1, 4)]),
    ],
)
def test_a_fall_takes_back_the_latest_rises(chargeable: list[int], lasting: list[tuple[int, int]]) -> None:
    assert rises(claim(*chargeable)) == lasting


def test_what_is_wanted_is_rounded_and_never_a_difference() -> None:
    assert rises(claim(1, 2, 3, units_per_credit=2)) == [(0, 1), (2, 1)]
    assert rises(claim(1, 2, 3, units_per_credit=3), 2) == [
        (0, Decimal("0.33")),
        (1, Decimal("0.34")),
        (2, Decimal("0.33")),
    ]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_it_is_what_a_stack_leaves(chargeable: list[int]) -> None:
    stack: list[int] = []
    for number, wanted in enumerate(chargeable):
        del stack[wanted:]
        stack += [number] * (wanted - len(stack))
    assert rises(claim(*chargeable)) == [(number, stack.count(number)) for number in sorted(set(stack))]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_a_step_that_nothing_needs_changes_no_rise_in_sum(chargeable: list[int], data: st.DataObject) -> None:
    dropped = data.draw(st.sampled_from(range(len(chargeable))))
    fewer = [amount for number, amount in enumerate(chargeable) if number != dropped]
    if dropped == len(chargeable) - 1:
        return
    assert sum(amount for _, amount in rises(claim(*chargeable))) == sum(amount for _, amount in rises(claim(*fewer)))
