"""Bringing together what rating a cycle depends on: prices from the streams, quantities from the read model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from domain.aggregate import Fact
from domain.meter import Meter
from domain.product import Product
from domain.rating import CycleFacts, MeterUsage, RatedProduct
from domain.subscription import OpenedCycle, Subscription
from projections.counting import CountedMeter, counted_meter
from projections.database import Database, Row
from projections.log_reader import AnyRoot, facts_of, fold
from projections.quantities import SQL
from projections.usage import Question, measure


async def cycle_facts(
    database: Database, tenant_id: str, subscription: Subscription, cycle: OpenedCycle, position: int
) -> CycleFacts:
    """The facts of one cycle as known at ``position``, which the quantities have to be at.

    Products and prices come from their streams up to that position, so what is recorded later changes nothing. Their
    texts are those of the cycle's end, so that closing late gives the same lines as closing on time.
    """
    meters = await counted_meters(database, tenant_id)
    products: list[RatedProduct] = []
    for item in subscription.items:
        facts = await facts_of(database, tenant_id, Product.stream(item.product_id), up_to=position)
        price = known(fold(Product, facts)).price_at(cycle.start)
        usage: list[MeterUsage] = []
        for meter_price in price.meters:
            question = Question(tenant_id, meters[meter_price.meter_id], subscription.customer_id, position)
            (measured,) = await measure(database, question, [cycle.start, cycle.end])
            stream = Meter.stream(meter_price.meter_id)
            meter = at_instant(Meter, await facts_of(database, tenant_id, stream, up_to=position), cycle.end)
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
                name=at_instant(Product, facts, cycle.end).name,
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


def at_instant(kind: type[AnyRoot], facts: Sequence[Fact], at: datetime) -> AnyRoot:
    """The aggregate as recorded by ``at``; as it began, when it was recorded later only.

    Recording times never decrease, so this is a prefix of the stream.
    """
    return known(fold(kind, [fact for fact in facts if fact.originator_version == 1 or fact.timestamp <= at]))


def known(found: AnyRoot | None) -> AnyRoot:
    """What a subscription refers to was recorded before it; its absence is a defect."""
    assert found is not None, "the log lacks the stream of something that it refers to"
    return found


async def counted_meters(database: Database, tenant_id: str) -> dict[str, CountedMeter]:
    """Every meter of the tenant by its id."""
    rows: list[Row] = await database.fetch(SQL["meters"], tenant_id)
    return {row["meter_id"]: counted_meter(row) for row in rows}
