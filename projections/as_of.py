"""A tenant's aggregates as they were known earlier: what was recorded later does not exist yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from projections.aggregates import Aggregates
from projections.counting import CountedMeter
from projections.database import Database
from projections.late_hours import LateHour
from projections.quantities import counted_meters
from projections.raw_usage import SQL, InvoicedCycle, RawUsage
from projections.usage import Asked, Measured


class AsOf(Aggregates):
    """Aggregates at a position that the read models may be past.

    Streams are read up to the position, as ever; quantities and late hours, of which the read models keep the newest
    only, are counted from the rows of usage. What the read models still say is who has what: names that never change,
    and of which those are left out that the log did not hold by then.
    """

    def __init__(self, database: Database, tenant_id: str, now: datetime, position: int) -> None:
        super().__init__(database, tenant_id, now, position)
        self._raw = RawUsage(database, tenant_id, position)

    async def _declared(self) -> Mapping[str, CountedMeter]:
        """The meters that were declared by the position. Where one stopped later concerns no event up to it."""
        every = await counted_meters(self.database, self.tenant_id)
        return {meter_id: meter for meter_id, meter in every.items() if meter.created_position <= self.position}

    async def _measure(self, asked: Iterable[Asked]) -> list[list[Measured]]:
        return await self._raw.measure(asked)

    async def _changed(self, asked: Collection[tuple[str, int]]) -> dict[tuple[str, int], list[LateHour]]:
        meters = (await self.meters()).values()
        return {
            (customer_id, after): await self._raw.late_hours(
                customer_id, after, meters, await self._invoiced_cycles(customer_id)
            )
            for customer_id, after in asked
        }

    async def _invoiced_cycles(self, customer_id: str) -> list[InvoicedCycle]:
        """The spans of every document of a customer, also of one that was voided."""
        rows = await self.database.fetch(SQL["invoiced_cycles"], self.tenant_id, customer_id, self.position)
        return [InvoicedCycle(row["cycle_start"], row["cycle_end"], row["position"]) for row in rows]
