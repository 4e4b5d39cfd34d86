"""Bringing together what rating a cycle depends on: prices from the streams, quantities from the read model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from domain.meter import Meter
from domain.plan import Item, OpenedCycle
from domain.price import FeeRule, MeterPrice, Price
from domain.product import Product
from domain.rating import ZERO, CountedOverage, CycleFacts, Line, MeterUsage, RatedProduct, Tax
from domain.subscription import Subscription
from domain.tenant import Tenant
from projections.aggregates import Aggregates
from projections.counting import CountedMeter

MeterKey = tuple[str, str]
"""A line of a cycle: product id and meter id."""


class LineCredits(msgspec.Struct, frozen=True):
    """The credits that a line draws, and what counts as overage beyond them."""

    credits: Decimal
    overage: CountedOverage | None


class PricedLine(msgspec.Struct, frozen=True):
    """One meter of one product of a cycle. ``index`` is its place among the cycle's lines."""

    index: int
    item: Item
    price: MeterPrice

    @property
    def key(self) -> MeterKey:
        """What names the line inside its cycle."""
        return self.item.product_id, self.price.meter_id


async def prices_of(known: Aggregates, cycle: OpenedCycle, position: int) -> list[tuple[Item, Price]]:
    """The products of a cycle with the price versions in force at its start, as known at ``position``."""
    return [(item, await known.price_in(cycle, item.product_id, position)) for item in cycle.items]


def meter_lines(prices: Sequence[tuple[Item, Price]]) -> Iterator[PricedLine]:
    """The meter lines of a cycle, in the order in which they are rated."""
    index = 0
    for item, price in prices:
        for meter_price in price.meters:
            yield PricedLine(index, item, meter_price)
            index += 1


async def cycle_facts(
    known: Aggregates,
    subscription: Subscription,
    cycle: OpenedCycle,
    settled: Mapping[MeterKey, LineCredits],
) -> CycleFacts:
    """The facts of one cycle as known at the position, which the quantities have to be at.

    Products and prices come from their streams up to that position, so what is recorded later changes nothing. Their
    texts are those of the cycle's end, so that closing late gives the same lines as closing on time.
    """
    return await _facts(known, subscription, cycle, settled, known.position, None)


async def corrected_facts(
    known: Aggregates,
    subscription: Subscription,
    cycle: OpenedCycle,
    settled: Mapping[MeterKey, LineCredits],
    priced_at: int,
    only: Collection[MeterKey],
) -> CycleFacts:
    """A closed cycle's facts with the quantities of now, for some of its lines.

    Its price versions are those known at ``priced_at``, the position of its invoice.
    """
    return await _facts(known, subscription, cycle, settled, priced_at, only)


async def _facts(
    known: Aggregates,
    subscription: Subscription,
    cycle: OpenedCycle,
    settled: Mapping[MeterKey, LineCredits],
    priced_at: int,
    only: Collection[MeterKey] | None,
) -> CycleFacts:
    meters = await known.meters()
    products: list[RatedProduct] = []
    for item, price in await prices_of(known, cycle, priced_at):
        wanted = [meter for meter in price.meters if only is None or (item.product_id, meter.meter_id) in only]
        usage = [
            await _usage(
                known,
                subscription,
                cycle,
                meters[meter.meter_id],
                meter,
                settled.get((item.product_id, meter.meter_id)),
            )
            for meter in wanted
        ]
        named = await known.at_instant(Product, item.product_id, cycle.end)
        products.append(
            RatedProduct(
                product_id=item.product_id,
                name=named.name,
                quantity=item.quantity,
                price=price,
                usage=tuple(usage),
            )
        )
    return CycleFacts(
        currency=subscription.currency,
        start=cycle.start,
        end=cycle.end,
        planned_start=cycle.planned_start,
        planned_end=cycle.planned_end,
        fee=cycle.fee,
        trial=cycle.trial,
        products=tuple(products),
        taxes=await _taxes(known, cycle.end),
        taxed_inside=await taxed_inside(known, [product.product_id for product in products]),
    )


async def only_adjustments(known: Aggregates, subscription: Subscription, lines: Sequence[Line]) -> CycleFacts:
    """The facts of a document that only corrects closed cycles. It has no span of its own; taxes are those of now."""
    return CycleFacts(
        currency=subscription.currency,
        start=known.now,
        end=known.now,
        planned_start=known.now,
        planned_end=known.now,
        fee=FeeRule.waived,
        trial=False,
        products=(),
        adjustments=tuple(lines),
        taxes=await _taxes(known, known.now),
        taxed_inside=await taxed_inside(known, [line.product_id for line in lines]),
    )


async def _taxes(known: Aggregates, at: datetime) -> tuple[Tax, ...]:
    """The tenant's tax lines as set before an instant."""
    tenant = await known.at_instant(Tenant, known.tenant_id, at)
    return () if tenant.settings.tax_lines is msgspec.UNSET else tenant.settings.tax_lines


async def taxed_inside(known: Aggregates, product_ids: Iterable[str]) -> frozenset[str]:
    """Those of the products whose prices contain tax, which all prices of a product do or none."""
    inside = [
        product_id
        for product_id in dict.fromkeys(product_ids)
        if (await known.at_position(Product, product_id, known.position)).newest_price.tax_inclusive
    ]
    return frozenset(inside)


async def _usage(
    known: Aggregates,
    subscription: Subscription,
    cycle: OpenedCycle,
    counted: CountedMeter,
    price: MeterPrice,
    settled: LineCredits | None,
) -> MeterUsage:
    (measured,) = await known.measured(counted, subscription.customer_id, [cycle.start, cycle.end])
    meter = await known.at_instant(Meter, price.meter_id, cycle.end)
    return MeterUsage(
        name=meter.name,
        measurement_unit=meter.measurement_unit,
        price=price,
        consumed=measured.quantity(meter.aggregation),
        credits=settled.credits if settled else ZERO,
        overage=settled.overage if settled else None,
    )
