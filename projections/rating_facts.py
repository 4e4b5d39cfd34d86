"""Bringing together what rating a cycle depends on: prices from the streams, quantities from the read model."""

from __future__ import annotations

from domain.meter import Meter
from domain.product import Product
from domain.rating import CycleFacts, MeterUsage, RatedProduct
from domain.subscription import OpenedCycle, Subscription
from projections.counting import CountedMeter, counted_meter
from projections.database import Database, Row
from projections.log_reader import aggregate
from projections.quantities import SQL
from projections.usage import Question, measure


async def cycle_facts(
    database: Database, tenant_id: str, subscription: Subscription, cycle: OpenedCycle, position: int
) -> CycleFacts:
    """The facts of one cycle as known at ``position``, which the quantities have to be at.

    Products and prices come from their streams up to that position, so what is recorded later changes nothing.
    """
    meters = await counted_meters(database, tenant_id)
    products: list[RatedProduct] = []
    for item in subscription.items:
        product = await aggregate(database, tenant_id, Product, item.product_id, up_to=position)
        assert product is not None, "a subscription's products were recorded before it"
        price = product.price_at(cycle.start)
        usage: list[MeterUsage] = []
        for meter_price in price.meters:
            meter = await aggregate(database, tenant_id, Meter, meter_price.meter_id, up_to=position)
            assert meter is not None, "a price's meters were recorded before it"
            question = Question(tenant_id, meters[meter_price.meter_id], subscription.customer_id, position)
            (measured,) = await measure(database, question, [cycle.start, cycle.end])
            usage.append(
                MeterUsage(
                    name=meter.name,
                    measurement_unit=meter.measurement_unit,
                    price=meter_price,
                    consumed=measured.quantity(meter.aggregation),
                )
            )
        products.append(
            RatedProduct(
                product_id=item.product_id,
                name=product.name,
                quantity=item.quantity,
                price=price,
                usage=tuple(usage),
            )
        )
    return CycleFacts(
        currency=subscription.currency,
        start=cycle.start,
        end=cycle.end,
        planned_end=cycle.planned_end,
        products=tuple(products),
    )


async def counted_meters(database: Database, tenant_id: str) -> dict[str, CountedMeter]:
    """Every meter of the tenant by its id."""
    rows: list[Row] = await database.fetch(SQL["meters"], tenant_id)
    return {row["meter_id"]: counted_meter(row) for row in rows}
