"""Arithmetic that is written down: each step names its operation and its operands, so that anybody can do it again.

A step's result is what its operation gives; nobody states it. That is what keeps a written computation from saying
something else than it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import reduce

import msgspec

from domain import number
from domain.money import round_to_minor


class Operation(StrEnum):
    """What is done with the operands, in their order."""

    given = "given"
    plus = "plus"
    minus = "minus"
    times = "times"
    divided = "divided"
    divided_up = "divided_up"
    least = "least"
    greatest = "greatest"
    rounded = "rounded"


class Measure(StrEnum):
    """What a number counts. ``minor`` is minor units of the currency, ``unit`` the meter's measurement unit."""

    unit = "unit"
    event = "event"
    credit = "credit"
    minor = "minor"
    microsecond = "microsecond"
    plain = "plain"


class Operand(msgspec.Struct, frozen=True):
    """A number that a step uses. ``step`` is the index of the step that it is the result of."""

    name: str
    value: str
    step: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step. Numbers are plain decimal text, ``places`` those that a quotient is rounded to.

    A ``given`` step has no operands: its result is a fact. ``rule`` says in a sentence why it is done, or where the
    fact is from.
    """

    name: str
    operation: Operation
    operands: tuple[Operand, ...]
    result: str
    measure: Measure
    rule: str
    places: int | None = None


class Figure(msgspec.Struct, frozen=True):
    """A number on a worksheet, and the step that it came from."""

    name: str
    value: Decimal
    step: int


class Worksheet:
    """Steps as they are taken, one below the other."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was written so far."""
        return tuple(self._steps)

    def given(self, name: str, value: Decimal | int, measure: Measure, rule: str = "") -> Figure:
        """Write down a fact."""
        return self._write(name, Operation.given, (), Decimal(value), measure, rule, None)

    def compute(
        self,
        name: str,
        operation: Operation,
        *figures: Figure,
        measure: Measure,
        rule: str = "",
        places: int | None = None,
    ) -> Figure:
        """Take a step, and write it down."""
        result = carry_out(operation, [figure.value for figure in figures], places)
        return self._write(name, operation, figures, result, measure, rule, places)

    def _write(
        self,
        name: str,
        operation: Operation,
        figures: Sequence[Figure],
        result: Decimal,
        measure: Measure,
        rule: str,
        places: int | None,
    ) -> Figure:
        operands = tuple(Operand(figure.name, number.plain(figure.value), figure.step) for figure in figures)
        self._steps.append(
            Step(
                name=name,
                operation=operation,
                operands=operands,
                result=number.plain(result),
                measure=measure,
                rule=rule,
                places=places,
            )
        )
        return Figure(name, result, len(self._steps) - 1)


def carry_out(operation: Operation, values: Sequence[Decimal], places: int | None = None) -> Decimal:
    """The result of an operation, exact but where it says that it rounds. Raises ``ValueError`` for ``given``.

    ``places`` are those of a quotient; without them it has as many as quotients have anywhere.
    """
    match operation:
        case Operation.plus:
            return number.total(values)
        case Operation.minus:
            return reduce(number.minus, values)
        case Operation.times:
            return reduce(number.times, values)
        case Operation.divided:
            over, under = values
            return number.quotient(over, under, number.QUOTIENT_PLACES if places is None else places)
        case Operation.divided_up:
            over, under = values
            return number.quotient_up(over, under)
        case Operation.least:
            return min(values)
        case Operation.greatest:
            return max(values)
        case Operation.rounded:
            (exact,) = values
            return Decimal(round_to_minor(exact))
        case Operation.given:
            raise ValueError("a given number is not computed")


def redo(steps: Sequence[Step]) -> list[str]:
    """Take every step again, from the facts on; a sentence for each that does not come to what it says."""
    return [problem for index, step in enumerate(steps) for problem in _problems(steps, index, step)]


def _problems(steps: Sequence[Step], index: int, step: Step) -> Iterator[str]:
    for operand in step.operands:
        if not 0 <= operand.step < index or Decimal(steps[operand.step].result) != Decimal(operand.value):
            yield f"step {index} ({step.name}): {operand.name} is not what step {operand.step} came to"
    if step.operation is not Operation.given:
        result = carry_out(step.operation, [Decimal(operand.value) for operand in step.operands], step.places)
        if result != Decimal(step.result):
            yield f"step {index} ({step.name}): comes to {number.plain(result)}, not to {step.result}"
