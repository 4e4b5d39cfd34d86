"""The proposal of a simulation on the wire, and its reading."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec

from app.http.included_credits import IncludedCreditsInput, need_burned, need_included, read_included
from app.http.meters import MeterCreate, made_meter
from app.http.prices import (
    MeterPriceInput,
    Minor,
    PriceInput,
    need_meters,
    read_meter_prices,
    read_price,
    read_threshold,
)
from app.http.products import check_meter_fields, check_price_fields
from app.http.reading import check_known, read_instant
from app.limits import PRODUCT_METERS_MAX, SIMULATED_CUSTOMERS_MAX, SIMULATED_METERS_MAX, SIMULATED_PRODUCTS_MAX
from app.simulating.question import Question
from domain.errors import Invalid
from domain.meter import Meter
from domain.price import Price
from domain.product import Product
from domain.proposal import ProductChange, Proposal, Span
from projections.aggregates import Aggregates
from projections.proposed import Proposed
from projections.raw_usage import Rest

METER_ID_MAX_CHARS = 64
"""The name of a proposed meter: it stands for an id, which has some thirty characters."""


class ThresholdInput(msgspec.Struct):
    """Free units of one meter, whatever its price."""

    meter_id: str
    free_threshold: Annotated[int | str, msgspec.Meta(examples=[20000])]


class ProductChangeInput(msgspec.Struct):
    """What would be another of a product, in every price version that a cycle of the span has.

    ``price`` is the whole price. ``meters`` are prices of single meters, as in a price: each takes the place of that
    meter's, or is added. ``without_meters`` leaves meters out.
    """

    product_id: str
    price: PriceInput | None = None
    fixed_price: Minor | None = None
    meters: list[MeterPriceInput] | None = None
    thresholds: list[ThresholdInput] | None = None
    without_meters: list[str] | None = None
    credit_entitlements: list[IncludedCreditsInput] | None = None


class ProposedMeter(MeterCreate, kw_only=True):
    """A meter that is not declared. ``meter_id`` is what the prices of this simulation call it."""

    meter_id: Annotated[str, msgspec.Meta(min_length=1, max_length=METER_ID_MAX_CHARS, examples=["large_calls"])]


class SimulationInput(msgspec.Struct):
    """What to change, and the cycles to try it on: those that end in ``[start, end)``, or those that are not closed."""

    products: list[ProductChangeInput] | None = None
    meters: list[ProposedMeter] | None = None
    start: str | None = None
    end: str | None = None
    customer_ids: list[str] | None = None


def read_simulation(given: SimulationInput) -> tuple[Span, list[str] | None]:
    """The cycles that are asked about, and the customers, ``None`` for all. Raises ``Invalid``."""
    start, end = read_instant(given.start, "start"), read_instant(given.end, "end")
    if start is not None and end is not None and start >= end:
        raise Invalid("end", "must lie after start")
    names = given.customer_ids
    if names is not None and not 0 < len(names) <= SIMULATED_CUSTOMERS_MAX:
        raise Invalid("customer_ids", f"must be 1 to {SIMULATED_CUSTOMERS_MAX} ids, or left out for all customers")
    return Span(start, end, open_only=start is None and end is None), names


async def read_question(known: Aggregates, given: SimulationInput, exact: Mapping[str, Any], rest: Rest) -> Question:
    """The question, its products and meters looked up. ``exact`` is the body with its numbers as decimals.

    Raises ``Invalid`` naming the field.
    """
    span, customer_ids = read_simulation(given)
    _check_fields(exact)
    meters = await _meters(known, given.meters or [], exact)
    proposed = Proposed(known, span, Proposal(meters=meters), rest)
    products: dict[str, ProductChange] = {}
    if len(given.products or ()) > SIMULATED_PRODUCTS_MAX:
        raise Invalid("products", f"at most {SIMULATED_PRODUCTS_MAX} products")
    for index, one in enumerate(given.products or []):
        if one.product_id in products:
            raise Invalid(f"products[{index}].product_id", "stands in it twice")
        with _inside(f"products[{index}]."):
            products[one.product_id] = await _change(proposed, one)
    return Question(Proposal(products, meters), span, customer_ids)


@contextmanager
def _inside(where: str, of: str = "") -> Iterator[None]:
    """Refusals of what is inside a part of the body name the field from the body's beginning.

    ``of`` is what they take the part to be in.
    """
    try:
        yield
    except Invalid as error:
        field, rule = str(error.field), error.message.removeprefix(f"{error.field}: ")
        raise Invalid(f"{where}{field.removeprefix(of)}", rule, error.code) from None


def _check_fields(exact: Mapping[str, Any]) -> None:
    """The body is ours, so a field that is not known is misspelt; prices and meters are as elsewhere."""
    check_known(exact, SimulationInput.__struct_fields__)
    for index, product in enumerate(exact.get("products") or []):
        with _inside(f"products[{index}]."):
            check_known(product, ProductChangeInput.__struct_fields__)
            check_price_fields(product)
            check_meter_fields(product, "")
    for index, meter in enumerate(exact.get("meters") or []):
        with _inside(f"meters[{index}]."):
            check_known(meter, ProposedMeter.__struct_fields__)


async def _meters(known: Aggregates, given: list[ProposedMeter], exact: Mapping[str, Any]) -> dict[str, Meter]:
    if len(given) > SIMULATED_METERS_MAX:
        raise Invalid("meters", f"at most {SIMULATED_METERS_MAX} meters")
    found: dict[str, Meter] = {}
    for index, one in enumerate(given):
        if one.meter_id in found or one.meter_id in await known.meters():
            raise Invalid(f"meters[{index}].meter_id", "is the id of another meter")
        with _inside(f"meters[{index}]."):
            found[one.meter_id] = made_meter(one.meter_id, one, exact["meters"][index], known.now)
    return found


async def _change(proposed: Proposed, given: ProductChangeInput) -> ProductChange:
    product = await proposed.find(Product, given.product_id)
    if product is None:
        raise Invalid("product_id", f"there is no product '{given.product_id}'", "PRODUCT_NOT_FOUND")
    price = None if given.price is None else read_price(given.price)
    if price is not None:
        product.check_price(price)
        await need_meters(proposed, price)
    newest = product.newest_price if price is None else price
    credits = None if given.credit_entitlements is None else read_included(given.credit_entitlements, newest.currency)
    if credits is not None:
        await need_included(proposed, credits, newest.currency)
    with _inside("", of="price."):
        lines = msgspec.structs.replace(newest, meters=read_meter_prices(given.meters or []))
        await need_meters(proposed, lines)
    change = ProductChange(
        price=price,
        fixed_price=given.fixed_price,
        meters=lines.meters,
        thresholds=_thresholds(given.thresholds or [], _priced(product, price, lines)),
        without=_without(given.without_meters or [], _priced(product, price, lines)),
        credits=credits,
    )
    changed = change.applied(product.newest_price)
    if len(changed.meters) > PRODUCT_METERS_MAX:
        raise Invalid("meters", f"the product would have more than {PRODUCT_METERS_MAX} meters")
    await need_burned(proposed, changed)
    return change


def _priced(product: Product, *prices: Price | None) -> set[str]:
    """The meters that any version of the product has a price for, or that the proposal gives one."""
    versions = (*(version.price for version in product.versions), *prices)
    return {line.meter_id for price in versions if price is not None for line in price.meters}


def _thresholds(given: list[ThresholdInput], priced: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, one in enumerate(given):
        _need_priced(one.meter_id, priced, f"thresholds[{index}].meter_id")
        found[one.meter_id] = read_threshold(one.free_threshold, f"thresholds[{index}].free_threshold")
    return found


def _without(given: list[str], priced: Collection[str]) -> frozenset[str]:
    for index, meter_id in enumerate(given):
        _need_priced(meter_id, priced, f"without_meters[{index}]")
    return frozenset(given)


def _need_priced(meter_id: str, priced: Collection[str], field: str) -> None:
    if meter_id not in priced:
        raise Invalid(field, f"the product has no price for meter '{meter_id}'", "METER_NOT_FOUND")
