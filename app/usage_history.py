"""The usage history of a subscription: per cycle, what each meter consumed and cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.billing import opened_subscription
from app.invoicing import find_bill
from app.reading_log import reading
from app.reckoning import reckon
from app.service import Caller, Service
from domain import instant, number
from domain.errors import NotFound
from domain.price import MeterPrice
from domain.product import Product
from domain.rating import Line, LineKind, computation_of
from domain.subscription import OpenedCycle, Subscription
from projections.aggregates import Aggregates
from projections.statements import load

SQL = load("app.sql", "catalog.sql")


class MeterUse(msgspec.Struct):
    """One meter in one period. ``total_price`` is whole minor units."""

    id: str
    name: str
    currency: str
    consumed_units: str
    free_threshold: int | str
    chargeable_units: str
    price_per_unit: str
    total_price: int


class Period(msgspec.Struct):
    """One cycle."""

    start_date: str
    end_date: str
    meters: list[MeterUse]


async def usage_history(
    service: Service,
    caller: Caller,
    subscription_id: str,
    *,
    since: datetime | None,
    until: datetime | None,
    meter_id: str | None,
    limit: int,
    offset: int,
) -> list[Period]:
    """The cycles that touch ``[since, until]``, newest first: a closed one as invoiced, an open one as of now.

    Raises ``NotFound`` for an unknown subscription or meter.
    """
    async with reading(service, caller) as aggregates:
        subscription = await opened_subscription(aggregates, subscription_id)
        if meter_id is not None and not await aggregates.database.fetch(SQL["meter"], caller.tenant_id, meter_id):
            raise NotFound("meter", meter_id)
        cycles = [
            cycle
            for cycle in reversed(subscription.cycles)
            if (since is None or cycle.end > since) and (until is None or cycle.start <= until)
        ]
        history = _History(aggregates, subscription, meter_id)
        return [await history.period(cycle) for cycle in cycles[offset : offset + limit]]


class _History:
    """The names of a subscription's meters, and the prices of each of its periods."""

    def __init__(self, aggregates: Aggregates, subscription: Subscription, meter_id: str | None) -> None:
        self._aggregates = aggregates
        self._subscription = subscription
        self._meter_id = meter_id

    async def period(self, cycle: OpenedCycle) -> Period:
        """One cycle's usage lines, with the price versions that they were rated by."""
        lines, position = await self._lines(cycle)
        shown = [line for line in lines if line.kind is LineKind.usage and self._meter_id in (None, line.meter_id)]
        ids = [line.meter_id for line in shown]
        rows = await self._aggregates.database.fetch(SQL["meters_by_id"], self._aggregates.tenant_id, ids)
        names = {row["meter_id"]: row["name"] for row in rows}
        return Period(
            start_date=instant.text(cycle.start),
            end_date=instant.text(cycle.end),
            meters=[
                self._use(await self._price(cycle, line, position), line, lines, names[str(line.meter_id)])
                for line in shown
            ],
        )

    async def _lines(self, cycle: OpenedCycle) -> tuple[Sequence[Line], int]:
        """The lines of a cycle and the position that they were computed at."""
        if cycle.invoice_id is not None:
            bill = await find_bill(self._aggregates.database, self._aggregates.tenant_id, cycle.invoice_id)
            return bill.document.lines, bill.document.position
        reckoning = await reckon(self._aggregates, self._subscription, cycle)
        return reckoning.rated.lines, self._aggregates.position

    async def _price(self, cycle: OpenedCycle, line: Line, position: int) -> MeterPrice:
        product = await self._aggregates.at_position(Product, line.product_id, position)
        return next(meter for meter in product.price_at(cycle.start).meters if meter.meter_id == line.meter_id)

    def _use(self, price: MeterPrice, line: Line, lines: Sequence[Line], name: str) -> MeterUse:
        """One usage line, with what its overage line adds to its price."""
        computed = computation_of(
            each for each in lines if (each.product_id, each.meter_id) == (line.product_id, line.meter_id)
        )
        chargeable = number.plus(number.parse_plain(line.paid_units), number.parse_plain(line.credit_units))
        threshold = price.free_threshold
        return MeterUse(
            id=price.meter_id,
            name=name,
            currency=self._subscription.currency,
            consumed_units=line.consumed_units,
            free_threshold=threshold if "." in threshold else int(threshold),
            chargeable_units=number.plain(chargeable),
            price_per_unit=line.price_per_unit,
            total_price=computed.amount,
        )
