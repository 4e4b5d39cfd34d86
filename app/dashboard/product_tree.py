"""A product's form and the command it stands for: major units on the page, minor units in the command."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from app.dashboard.form_tree import Tree, parts, subtree, text
from domain import money, number
from domain.errors import Invalid
from domain.money import PRICE_MAX_FRACTION_DIGITS, PRICE_MAX_WHOLE_DIGITS, major_text, price_major_text
from domain.price import UNTIL_CANCELLED, IncludedCredits, MeterPrice, Price
from domain.tier import Tier, TierMode

FLAT, CREDITS = "flat", "credits"

MODELS = (
    (FLAT, "One price per unit"),
    (TierMode.graduated.value, "Graduated: each tier at its own price"),
    (TierMode.volume.value, "Volume: all units at the price of the tier reached"),
    (TierMode.package.value, "Package: each started package is paid whole"),
    (CREDITS, "In credits alone"),
)
"""The ways to price a meter, in words."""

EMPTY_TIER: Tree = {"up_to": "", "price_per_unit": "", "fixed_price": ""}
EMPTY_CREDITS: Tree = {"credit_entitlement_id": "", "credits_amount": ""}


def empty_meter(meter_id: str = "") -> Tree:
    """A meter's price of which nothing is entered but, perhaps, the meter."""
    return {"meter_id": meter_id, "model": FLAT, "price_per_unit": "", "free_threshold": ""}


def empty_product(meter_id: str = "") -> Tree:
    """The form as it starts: a monthly product in dollars with one meter."""
    return {
        "tax_category": "saas",
        "price": {
            "currency": "USD",
            "fixed_price": "0",
            "payment_frequency_count": "1",
            "payment_frequency_interval": "Month",
            "meters": [empty_meter(meter_id)] if meter_id else [],
        },
        "credit_entitlements": [],
    }


def needed(tree: Tree, name: str, field: str) -> str:
    """The text under a name. Raises ``Invalid`` when nothing was entered."""
    entered = text(tree, name)
    if not entered:
        raise Invalid(field, "is required")
    return entered


def product_body(tree: Tree) -> dict[str, Any]:
    """The body that declares the product in the form. Raises ``Invalid``."""
    return {
        "name": needed(tree, "name", "name"),
        "tax_category": text(tree, "tax_category"),
        "description": text(tree, "description") or None,
        "price": price_body(subtree(tree, "price"), None),
        "credit_entitlements": credits_body(parts(tree, "credit_entitlements"), None),
    }


def price_body(node: Tree, newest: Price | None) -> dict[str, Any]:
    """The price in the form. What the form does not show is as in the ``newest`` price. Raises ``Invalid``."""
    currency = newest.currency if newest else text(node, "currency")
    if currency not in money.DECIMALS:
        raise Invalid("price.currency", "must be an ISO 4217 code in capitals, such as USD")
    cycle = newest.cycle if newest else None
    count = text(node, "payment_frequency_count") or "1"
    if not (count.isascii() and count.isdigit() and len(count) < 6):
        raise Invalid("price.payment_frequency_count", "must be a whole number from 1")
    period = newest.subscription_period if newest else UNTIL_CANCELLED
    return {
        "type": "usage_based_price",
        "currency": currency,
        "fixed_price": minor_of(text(node, "fixed_price"), currency, "price.fixed_price"),
        "payment_frequency_count": cycle.count if cycle else int(count),
        "payment_frequency_interval": cycle.unit.value if cycle else text(node, "payment_frequency_interval"),
        "subscription_period_count": period.count,
        "subscription_period_interval": period.unit.value,
        "tax_inclusive": newest.tax_inclusive if newest else bool(text(node, "tax_inclusive")),
        "purchasing_power_parity": newest.purchasing_power_parity if newest else False,
        "meters": [
            _meter(meter, currency, f"price.meters[{index}]") for index, meter in enumerate(parts(node, "meters"))
        ],
    }


def _meter(node: Tree, currency: str, field: str) -> dict[str, Any]:
    model = text(node, "model") or FLAT
    body: dict[str, Any] = {
        "meter_id": needed(node, "meter_id", f"{field}.meter_id"),
        "free_threshold": text(node, "free_threshold") or None,
        "credit_entitlement_id": text(node, "credit_entitlement_id") or None,
        "meter_units_per_credit": None,
    }
    if body["credit_entitlement_id"]:
        body["meter_units_per_credit"] = text(node, "meter_units_per_credit") or None
    if model in (TierMode.graduated, TierMode.volume):
        tiers = enumerate(parts(node, "tiers"))
        body["tiers"] = [_tier(tier, currency, f"{field}.tiers[{index}]") for index, tier in tiers]
        if not body["tiers"]:
            raise Invalid(f"{field}.tiers", "are required: add the first tier")
    elif model == CREDITS:
        if not body["credit_entitlement_id"]:
            raise Invalid(f"{field}.credit_entitlement_id", "is required where units are paid in credits alone")
    else:
        body["price_per_unit"] = _unit_price(node, currency, f"{field}.price_per_unit")
    if model not in (FLAT, CREDITS):
        body["tier_mode"] = model
    if model == TierMode.package:
        body["package_size"] = needed(node, "package_size", f"{field}.package_size")
    return body


def _tier(node: Tree, currency: str, field: str) -> dict[str, Any]:
    return {
        "up_to": text(node, "up_to") or None,
        "price_per_unit": _unit_price(node, currency, f"{field}.price_per_unit"),
        "fixed_price": minor_of(text(node, "fixed_price"), currency, f"{field}.fixed_price"),
    }


def _unit_price(node: Tree, currency: str, field: str) -> str:
    """A price per unit in major units, as decimal minor units."""
    places = money.decimals(currency)
    minor = _times(needed(node, "price_per_unit", field), places, field)
    try:
        money.parse_price(number.plain(minor))
    except number.InvalidNumber:
        whole = price_major_text(Decimal(10**PRICE_MAX_WHOLE_DIGITS), currency)
        digits = PRICE_MAX_FRACTION_DIGITS + places
        rule = f"must be from 0 to below {whole} {currency}, with at most {digits} digits after the point"
        raise Invalid(field, rule) from None
    return number.plain(minor)


def minor_of(entered: str, currency: str, field: str) -> int:
    """An amount in major units, as whole minor units; nothing entered is 0."""
    places = money.decimals(currency)
    minor = _times(entered or "0", places, field)
    if minor != minor.to_integral_value():
        rule = f"has at most {places} digits after the point" if places else "is a whole number"
        raise Invalid(field, f"an amount of {currency} {rule}")
    return int(minor)


def _times(entered: str, places: int, field: str) -> Decimal:
    try:
        return number.times(number.parse_plain(entered), Decimal(10**places))
    except number.InvalidNumber as error:
        raise Invalid(field, str(error)) from None


def credits_body(nodes: list[Tree], newest: Price | None) -> list[dict[str, Any]]:
    """The included credits in the form. Terms that it does not show are as in the ``newest`` price."""
    bodies: list[dict[str, Any]] = []
    for index, node in enumerate(nodes):
        field = f"credit_entitlements[{index}]"
        entitlement_id = needed(node, "credit_entitlement_id", f"{field}.credit_entitlement_id")
        kept = newest.included(entitlement_id) if newest else None
        amount = needed(node, "credits_amount", f"{field}.credits_amount")
        bodies.append(
            {**(_terms(kept) if kept else {}), "credit_entitlement_id": entitlement_id, "credits_amount": amount}
        )
    return bodies


def _terms(kept: IncludedCredits) -> dict[str, Any]:
    """The terms of included credits as a command states them: those that are set."""
    stated: dict[str, Any] = msgspec.to_builtins(kept)
    timeframe = stated.pop("rollover_timeframe", None)
    if timeframe:
        stated |= {"rollover_timeframe_count": timeframe["count"], "rollover_timeframe_interval": timeframe["unit"]}
    return stated


def price_tree(price: Price) -> Tree:
    """The form that shows a price."""
    return {
        "price": {
            "currency": price.currency,
            "fixed_price": major_text(price.fixed_price, price.currency),
            "meters": [_meter_tree(meter, price.currency) for meter in price.meters],
        },
        "credit_entitlements": [
            {"credit_entitlement_id": one.credit_entitlement_id, "credits_amount": one.credits_amount}
            for one in price.credits
        ],
    }


def _meter_tree(price: MeterPrice, currency: str) -> Tree:
    tree: Tree = {
        "meter_id": price.meter_id,
        "model": price.tier_mode.value if price.tier_mode else CREDITS if price.credits_only else FLAT,
        "price_per_unit": _major(price.price_per_unit, currency),
        "free_threshold": "" if price.free_threshold == "0" else price.free_threshold,
        "package_size": price.package_size or "",
        "credit_entitlement_id": price.credit_entitlement_id or "",
        "meter_units_per_credit": price.meter_units_per_credit or "",
    }
    if price.tiers:
        tree["tiers"] = [_tier_tree(tier, currency) for tier in price.tiers]
    return tree


def _tier_tree(tier: Tier, currency: str) -> Tree:
    return {
        "up_to": tier.up_to or "",
        "price_per_unit": _major(tier.price_per_unit, currency),
        "fixed_price": major_text(tier.fixed_price, currency) if tier.fixed_price else "",
    }


def _major(minor: str | None, currency: str) -> str:
    return "" if minor is None else price_major_text(Decimal(minor), currency)
