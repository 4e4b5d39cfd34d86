"""The picture of a simulation: who would pay more and who less, as lengths of bars."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from domain.comparison import Amounts, CurrencyTotals

HALF = 100
"""Units of the picture from its middle to either side."""

PER_CENT = 100


class Bar(msgspec.Struct, frozen=True):
    """One customer's difference: where the bar begins and how long it is, in units of the picture."""

    customer_id: str
    amounts: Amounts
    x: str
    width: str

    @property
    def tone(self) -> str:
        """Which way it goes."""
        return "more" if self.amounts.difference > 0 else "less"


class Picture(msgspec.Struct, frozen=True):
    """One currency: its sums, the part of the customers that goes each way, and bars, the longest rise first."""

    totals: CurrencyTotals
    bars: Sequence[Bar]
    more: str
    less: str

    @property
    def percent(self) -> str:
        """How much more of the sum, with its sign; empty where there was nothing."""
        current = self.totals.amounts.current
        if not current:
            return ""
        return f"{Decimal(self.totals.amounts.difference * PER_CENT) / Decimal(abs(current)):+.1f} %"


def picture(totals: CurrencyTotals, changes: Sequence[tuple[str, Amounts]]) -> Picture:
    """The picture of one currency; of ``changes`` those in it are drawn."""
    mine = [(name, amounts) for name, amounts in changes if amounts.currency == totals.amounts.currency]
    largest = max((abs(amounts.difference) for _, amounts in mine), default=1)
    customers = max(totals.more + totals.less + totals.same, 1)
    return Picture(
        totals=totals,
        bars=[_bar(name, amounts, largest) for name, amounts in mine],
        more=_length(totals.more, customers, 2 * HALF),
        less=_length(totals.less, customers, 2 * HALF),
    )


def _bar(customer_id: str, amounts: Amounts, largest: int) -> Bar:
    width = _length(abs(amounts.difference), largest, HALF)
    start = Decimal(HALF) if amounts.difference > 0 else Decimal(HALF) - Decimal(width)
    return Bar(customer_id, amounts, f"{start:f}", width)


def _length(part: int, whole: int, length: int) -> str:
    return f"{Decimal(part * length) / Decimal(whole):.2f}"
