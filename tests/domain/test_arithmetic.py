"""Steps that are written down can be taken again, and one that says something else is found."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.arithmetic import Measure, Operation, Worksheet, carry_out, redo

decimals = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9)


def test_a_given_number_is_not_computed() -> None:
    with pytest.raises(ValueError, match="not computed"):
        carry_out(Operation.given, [Decimal(1)])


@pytest.mark.parametrize(
    ("operation", "values", "places", "result"),
    [
        (Operation.plus, (), None, "0"),
        (Operation.plus, ("0.1", "0.2"), None, "0.3"),
        (Operation.minus, ("1", "0.9", "0.2"), None, "-0.1"),
        (Operation.times, ("1.5", "-3"), None, "-4.5"),
        (Operation.divided, ("1", "3"), None, "0.333333333333"),
        (Operation.divided, ("25", "10"), 0, "3"),
        (Operation.divided_up, ("21", "10"), None, "3"),
        (Operation.least, ("2", "-1"), None, "-1"),
        (Operation.greatest, ("-2", "0"), None, "0"),
        (Operation.rounded, ("-0.5",), None, "-1"),
    ],
)
def test_what_an_operation_gives(
    operation: Operation, values: tuple[str, ...], places: int | None, result: str
) -> None:
    assert carry_out(operation, [Decimal(value) for value in values], places) == Decimal(result)


@given(a=decimals, b=decimals, which=st.integers(0, 3))
def test_a_changed_number_is_found(a: Decimal, b: Decimal, which: int) -> None:
    sheet = Worksheet()
    left, right = sheet.given("left", a, Measure.unit), sheet.given("right", b, Measure.unit)
    product = sheet.compute("product", Operation.times, left, right, measure=Measure.unit)
    sheet.compute("sum", Operation.plus, product, right, measure=Measure.unit)
    steps = list(sheet.steps)
    assert redo(steps) == []
    changed = str(Decimal(steps[which].result) + 1)
    steps[which] = msgspec.structs.replace(steps[which], result=changed)
    assert redo(steps)


def test_a_number_from_a_later_step_is_found() -> None:
    sheet = Worksheet()
    one = sheet.given("one", 1, Measure.plain)
    sheet.compute("two", Operation.plus, one, one, measure=Measure.plain)
    first, second = sheet.steps
    assert len(redo([second, first])) == 2
