"""What a simulation compares: invoices with their corrections, sums by currency, who pays more and who less."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.comparison import Amounts, Recorded, SimulatedCustomer, SimulatedCycle, Totals
from domain.invoice import Document
from domain.rating import Computation, Line, LineKind


def line(amount: int, units: str = "10", **changes: Any) -> Line:
    fields: dict[str, Any] = {
        "kind": LineKind.usage,
        "product_id": "api",
        "meter_id": "calls",
        "description": "calls",
        "consumed_units": units,
        "free_units": "0",
        "credit_units": "0",
        "paid_units": units,
        "price_per_unit": "1",
        "amount": amount,
    }
    return Line(**(fields | changes))


def document(*lines: Line, tax: int = 0, currency: str = "USD") -> Document:
    subtotal = sum(one.amount for one in lines)
    return Document(
        invoice_id="inv_1",
        number="1",
        customer_id="ada",
        subscription_id="sub_1",
        currency=currency,
        cycle_start="2026-03-01T00:00:00.000000Z",
        cycle_end="2026-04-01T00:00:00.000000Z",
        lines=lines,
        subtotal_amount=subtotal,
        wallet_amount=subtotal,
        tax_amount=tax,
        total_amount=tax,
        position=1,
        digest=None,
        issued_at=None,
    )


def correction(amount: int, units: str) -> Line:
    none = Computation(consumed_units="0", free_units="0", credit_units="0", paid_units="0", amount=0)
    return line(amount, units, kind=LineKind.adjustment, before=none, after=none)


FEE = line(500, "1", kind=LineKind.fixed, meter_id=None)


@pytest.mark.parametrize(
    ("again", "reproduced"),
    [
        ([FEE, line(10)], True),
        ([FEE, line(11)], False),
        ([FEE, line(10, description="calls renamed")], False),
        ([line(10)], False),
    ],
)
def test_without_corrections_the_lines_are_the_same_ones(again: list[Line], reproduced: bool) -> None:
    foreign = correction(3, "3")
    assert Recorded(document(FEE, line(10), foreign)).is_reproduced_by(again) is reproduced


@pytest.mark.parametrize(
    ("again", "reproduced"),
    [
        ([FEE, line(12, "12")], True),
        ([FEE, line(12, "12.0")], True),
        ([FEE, line(10)], False),
        ([line(12, "12")], False),
        ([FEE, line(12, "12"), line(0, "0", meter_id="other")], True),
        ([FEE, line(12, "12"), line(1, "1", meter_id="other")], False),
    ],
)
def test_corrections_are_summed_with_what_they_correct(again: list[Line], reproduced: bool) -> None:
    recorded = Recorded(document(FEE, line(10)), [correction(3, "3"), correction(-1, "-1")])
    assert recorded.amount == 512
    assert recorded.is_reproduced_by(again) is reproduced


def test_totals_grow_by_customers_and_tell_currencies_apart() -> None:
    def customer(current: int, proposed: int, currency: str = "USD") -> SimulatedCustomer:
        before, after = (document(line(amount), tax=1, currency=currency) for amount in (current, proposed))
        recorded = Recorded(msgspec.structs.replace(before, lines=(line(5),)))
        cycles = [SimulatedCycle(current=before, proposed=after, recorded=one) for one in (None, recorded)]
        return SimulatedCustomer(customer_id="ada", position=1, cycles=cycles)

    totals = Totals()
    for one in (customer(5, 9), customer(5, 5), customer(7, 1), customer(2, 3, "EUR")):
        totals.add(one)
    usd = totals.by_currency["USD"]
    # With tax, two cycles each: 6 + 6 + 8 before, 10 + 6 + 2 after.
    assert usd.amounts == Amounts("USD", 40, 36)
    assert (usd.more, usd.same, usd.less, totals.by_currency["EUR"].more) == (1, 1, 1, 1)
    assert (totals.customers, totals.cycles, totals.invoices, totals.reproduced) == (4, 8, 4, 2)
