"""The credits of a subscription on the wire: what its products include, and which meters burn them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from app.crediting import account_view
from app.http.included_credits import read_terms
from domain import number
from domain.cycle import Unit
from domain.entitlement import OverageBehavior
from domain.price import Price
from domain.settlement import Balance, balance
from projections.aggregates import Aggregates
from projections.database import Row


class CreditCartItem(msgspec.Struct):
    """Credits that a product includes in each cycle. The balances are the customer's, over all subscriptions."""

    credit_entitlement_id: str
    credit_entitlement_name: str
    unit: str
    product_id: str
    credits_amount: str
    remaining_balance: str
    overage_balance: str
    overage_behavior: OverageBehavior
    overage_enabled: bool
    rollover_enabled: bool
    expires_after_days: int | None
    low_balance_threshold_percent: int | None
    max_rollover_count: int | None
    overage_limit: str | None
    rollover_percentage: int | None
    rollover_timeframe_count: int | None
    rollover_timeframe_interval: Unit | None


class MeterCreditCartItem(msgspec.Struct):
    """A meter whose units burn credits."""

    credit_entitlement_id: str
    meter_id: str
    meter_name: str
    meter_units_per_credit: str
    product_id: str


async def balances_of(aggregates: Aggregates, customer_id: str, prices: Iterable[Price]) -> dict[str, Balance]:
    """What the customer has of each entitlement that the prices include, by its id."""
    wanted = sorted({one.credit_entitlement_id for price in prices for one in price.credits})
    views = [await account_view(aggregates, entitlement_id, customer_id) for entitlement_id in wanted]
    return {view.entitlement.object_id: balance(view.settlement, view.at) for view in views}


def credit_cart(
    product_id: str, price: Price, entitlements: Mapping[str, Row], balances: Mapping[str, Balance]
) -> list[CreditCartItem]:
    """The credits that a product includes, by the terms of now."""
    items: list[CreditCartItem] = []
    for included in price.credits:
        terms = included.terms(read_terms(entitlements[included.credit_entitlement_id]), price.currency)
        current, timeframe = balances[included.credit_entitlement_id], terms.rollover.timeframe
        items.append(
            CreditCartItem(
                credit_entitlement_id=included.credit_entitlement_id,
                credit_entitlement_name=terms.name,
                unit=terms.unit,
                product_id=product_id,
                credits_amount=included.credits_amount,
                remaining_balance=number.plain(current.credits),
                overage_balance=number.plain(current.overage),
                overage_behavior=terms.overage.behavior,
                overage_enabled=terms.overage.enabled,
                rollover_enabled=terms.rollover.enabled,
                expires_after_days=terms.expires_after_days,
                low_balance_threshold_percent=included.low_balance_threshold_percent,
                max_rollover_count=terms.rollover.max_count,
                overage_limit=terms.overage.limit,
                rollover_percentage=terms.rollover.percentage,
                rollover_timeframe_count=None if timeframe is None else timeframe.count,
                rollover_timeframe_interval=None if timeframe is None else timeframe.unit,
            )
        )
    return items


def meter_credit_cart(product_id: str, price: Price, meters: Mapping[str, Row]) -> list[MeterCreditCartItem]:
    """The meters of a product whose units burn credits."""
    return [
        MeterCreditCartItem(
            credit_entitlement_id=meter.credit_entitlement_id,
            meter_id=meter.meter_id,
            meter_name=meters[meter.meter_id]["name"],
            meter_units_per_credit=str(meter.meter_units_per_credit),
            product_id=product_id,
        )
        for meter in price.meters
        if meter.credit_entitlement_id is not None
    ]
