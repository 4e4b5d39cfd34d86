"""What a simulation comes to: each cycle as it is and as it would be, and who pays more and who less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from domain.invoice import Document
from domain.rating import Computation, Line, LineKind, computation_of, invoiced_computation


class Recorded(msgspec.Struct, frozen=True):
    """The invoice of a cycle, and the lines that stand for it on others: corrections by late usage."""

    document: Document
    corrections: Sequence[Line] = ()

    @property
    def amount(self) -> int:
        """What was invoiced for the cycle so far, without tax, in minor units."""
        return sum(line.amount for line in (*self.own, *self.corrections))

    @property
    def own(self) -> tuple[Line, ...]:
        """The lines of the invoice that are for its own cycle."""
        return tuple(line for line in self.document.lines if line.kind is not LineKind.adjustment)

    def is_reproduced_by(self, lines: Sequence[Line]) -> bool:
        """Whether these are the lines that were invoiced: the same ones, or, with corrections, what they come to."""
        if not self.corrections:
            return tuple(lines) == self.own
        return _fees(lines) == _fees(self.own) and all(
            same(computation_of(_of(lines, key)), invoiced_computation(_of(self.own, key), _of(self.corrections, key)))
            for key in dict.fromkeys(map(_key, (*lines, *self.own, *self.corrections)))
        )


def same(one: Computation, other: Computation) -> bool:
    """Whether two computations are of the same numbers, however these are written."""
    units = ("consumed_units", "free_units", "credit_units", "paid_units")
    equal = all(Decimal(getattr(one, name)) == Decimal(getattr(other, name)) for name in units)
    return equal and one.amount == other.amount


def _fees(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.meter_id is None]


def _key(line: Line) -> tuple[str, str | None]:
    return line.product_id, line.meter_id


def _of(lines: Iterable[Line], key: tuple[str, str | None]) -> list[Line]:
    return [line for line in lines if _key(line) == key]


class SimulatedCycle(msgspec.Struct, frozen=True, kw_only=True):
    """One cycle, rated twice by the same engine. ``recorded`` is ``None`` while it is not closed."""

    current: Document
    proposed: Document
    recorded: Recorded | None

    @property
    def difference(self) -> int:
        """How much more is owed, in minor units; negative is less."""
        return owed(self.proposed) - owed(self.current)

    @property
    def reproduced(self) -> bool | None:
        """Whether the cycle as it is comes to its invoice."""
        return None if self.recorded is None else self.recorded.is_reproduced_by(self.current.lines)


def owed(document: Document) -> int:
    """What a document asks for before the wallet pays: whoever has money there pays it all the same."""
    return document.subtotal_amount + document.tax_amount


class SimulatedCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """All cycles of a customer in the span, as known at ``position``."""

    customer_id: str
    position: int
    cycles: Sequence[SimulatedCycle]

    def amounts(self) -> list[Amounts]:
        """What the cycles come to, by currency."""
        found: dict[str, Amounts] = {}
        for cycle in self.cycles:
            currency = cycle.current.currency
            found[currency] = found.get(currency, Amounts(currency)).plus(owed(cycle.current), owed(cycle.proposed))
        return [found[currency] for currency in sorted(found)]


class Amounts(msgspec.Struct, frozen=True):
    """Minor units of one currency, as they are and as they would be."""

    currency: str
    current: int = 0
    proposed: int = 0

    @property
    def difference(self) -> int:
        """How much more it would be; negative is less."""
        return self.proposed - self.current

    def plus(self, current: int, proposed: int) -> Amounts:
        """These and others together."""
        return Amounts(self.currency, self.current + current, self.proposed + proposed)


class CurrencyTotals(msgspec.Struct):
    """The sums of one currency, and how many customers would pay more, less, or the same."""

    amounts: Amounts
    more: int = 0
    less: int = 0
    same: int = 0


class Totals(msgspec.Struct):
    """What a simulation has come to so far: sums that grow customer by customer, and no more than that.

    ``invoices`` counts the closed cycles, ``reproduced`` those of them that the unchanged prices give again.
    """

    customers: int = 0
    cycles: int = 0
    invoices: int = 0
    reproduced: int = 0
    by_currency: dict[str, CurrencyTotals] = msgspec.field(default_factory=dict[str, CurrencyTotals])

    def add(self, customer: SimulatedCustomer) -> None:
        """Take in a customer who has cycles in the span."""
        self.customers += 1
        self.cycles += len(customer.cycles)
        told = [cycle.reproduced for cycle in customer.cycles]
        self.invoices += sum(one is not None for one in told)
        self.reproduced += sum(one is True for one in told)
        for amounts in customer.amounts():
            totals = self.by_currency.setdefault(amounts.currency, CurrencyTotals(Amounts(amounts.currency)))
            totals.amounts = totals.amounts.plus(amounts.current, amounts.proposed)
            totals.more += amounts.difference > 0
            totals.less += amounts.difference < 0
            totals.same += amounts.difference == 0
