"""What a new price and a new price of overage have to respect in the products and cycles that are there."""

from __future__ import annotations

from datetime import datetime

import msgspec

from app.transaction import Transaction
from domain.entitlement import Terms
from domain.errors import Invalid
from domain.instant import MICROSECOND
from domain.price import Price, PriceVersion
from projections.statements import load

SQL = load("app.sql", "catalog.sql")


async def effective_from_now(running: Transaction, product_id: str) -> datetime | None:
    """From when on a new version holds by default where that is not simply now: past a cycle that began just now.

    That one has begun, so it keeps its price. Only a clock that stands still can be asked at the very instant.
    """
    began = await running.database.fetchval(SQL["cycle_began"], running.tenant_id, product_id, running.now)
    return running.now + MICROSECOND if began else None


async def check_currency_of(running: Transaction, entitlement_id: str, terms: Terms) -> None:
    """Raises ``Invalid`` when a product that uses the entitlement would bill its overage in another currency."""
    if terms.price_per_unit is None:
        return
    rows = await running.database.fetch(SQL["products_naming"], running.tenant_id, entitlement_id)
    for row in rows:
        for version in msgspec.json.decode(row["versions"], type=list[PriceVersion]):
            if version.price.currency != terms.currency and _uses(version.price, entitlement_id):
                raise Invalid(
                    "currency", f"product '{row['product_id']}' uses these credits and is in {version.price.currency}"
                )


def _uses(price: Price, entitlement_id: str) -> bool:
    """Whether overage of the entitlement may be billed by its own price under this one."""
    included = price.included(entitlement_id)
    burned = any(meter.credit_entitlement_id == entitlement_id and meter.credits_only for meter in price.meters)
    return burned and (included is None or included.price_per_unit is None)
