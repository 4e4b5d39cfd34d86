"""Choosing products in a form: for a new subscription, and for another plan of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.dashboard.customers import SQL
from app.dashboard.form_tree import Tree, parts, text
from app.http.products import newest_price
from domain.cycle import Interval
from domain.errors import Invalid
from domain.money import major_text
from domain.plan import Item
from projections.database import Database

OFFERED_MAX = 200
"""Products that a form offers, by name."""

SPARE_ROWS = 2
"""Empty rows below the products that are chosen: several products are rare."""

FIRST_PRODUCT, FIRST_QUANTITY = "products[0].product_id", "products[0].quantity"


async def offered(database: Database, tenant_id: str, currency: str | None = None) -> list[tuple[str, str]]:
    """The products on sale, each id with its name, fee and cycle; those of a currency, or all."""
    rows = await database.fetch(SQL["product_choice"], tenant_id, OFFERED_MAX)
    prices = [(row, newest_price(row)) for row in rows]
    return [
        (row["product_id"], f"{row['name']}, {_fee(price.fixed_price, price.currency)} {_every(price.cycle)}")
        for row, price in prices
        if currency in (None, price.currency)
    ]


def _fee(minor: int, currency: str) -> str:
    return f"{major_text(minor, currency)} {currency}" if minor else f"usage in {currency}"


def _every(interval: Interval) -> str:
    unit = interval.unit.lower()
    return f"every {unit}" if interval.count == 1 else f"every {interval.count} {unit}s"


def starting(items: Sequence[Item]) -> dict[str, list[str]]:
    """The fields of a form that begins with these products."""
    found: dict[str, list[str]] = {}
    for index, item in enumerate(items):
        found[f"products[{index}].product_id"] = [item.product_id]
        found[f"products[{index}].quantity"] = [str(item.quantity)]
    return found


def rows_of(tree: Tree) -> int:
    """How many rows the form shows: those chosen and spare ones."""
    chosen = [node for node in parts(tree, "products") if text(node, "product_id")]
    return max(len(chosen), 1) + SPARE_ROWS


def products_body(tree: Tree) -> dict[str, Any]:
    """What a command's body says of the products: one by itself, several as a list. Raises ``Invalid``."""
    rows = [(index, node) for index, node in enumerate(parts(tree, "products")) if text(node, "product_id")]
    if not rows:
        raise Invalid(FIRST_PRODUCT, "choose a product")
    chosen = [{"product_id": text(node, "product_id"), "quantity": _quantity(node, index)} for index, node in rows]
    return chosen[0] if len(chosen) == 1 else {"products": chosen}


def _quantity(node: Tree, index: int) -> int:
    entered = text(node, "quantity") or "1"
    if not (entered.isascii() and entered.isdigit() and len(entered) <= 7):
        raise Invalid(f"products[{index}].quantity", "must be a whole number from 1")
    return int(entered)


PLACES = {"product_id": FIRST_PRODUCT, "quantity": FIRST_QUANTITY, "products": FIRST_PRODUCT}
"""Which fields of the form stand for those of a command that name no row."""
