"""For whom most would change: kept while a simulation runs, and no more of it than is shown."""

from __future__ import annotations

from heapq import heappush, heappushpop

from domain.comparison import Amounts, SimulatedCustomer


class Changes:
    """The customers for whom most changes, ``count`` at most, however many are added."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[tuple[int, str, str, Amounts]] = []

    def add(self, customer: SimulatedCustomer) -> None:
        """Take in what a customer's cycles come to in each currency."""
        for amounts in customer.amounts():
            if not amounts.difference:
                continue
            entry = (abs(amounts.difference), customer.customer_id, amounts.currency, amounts)
            if len(self._kept) < self._count:
                heappush(self._kept, entry)
            else:
                heappushpop(self._kept, entry)

    def largest(self) -> list[tuple[str, Amounts]]:
        """Those kept, who would pay most more first, who would pay most less last."""
        kept = sorted(self._kept, key=lambda entry: (-entry[3].difference, entry[1]))
        return [(customer_id, amounts) for _, customer_id, _, amounts in kept]
