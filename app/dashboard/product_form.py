"""Declaring a product and a new price version: the form, its parts that repeat, and what so many units would cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app.dashboard.calculator import Calculated, Credits, calculate, read_units
from app.dashboard.form_tree import Tree, add_part, form_of, parts, read_as, remove_part, subtree, text, tree_of
from app.dashboard.forms import Form, read_form
from app.dashboard.page import curl_command, fragment, may_write, page
from app.dashboard.product_tree import (
    EMPTY_CREDITS,
    EMPTY_TIER,
    MODELS,
    credits_body,
    empty_meter,
    empty_product,
    price_body,
    price_tree,
    product_body,
)
from app.dashboard.product_words import interval_words, versions_of
from app.http.included_credits import IncludedCreditsInput, read_included, read_terms
from app.http.prices import read_price
from app.http.products import (
    SQL,
    TAX_CATEGORIES,
    PriceInput,
    ProductCreate,
    ProductUpdate,
    change_product,
    declare_product,
)
from app.http.reading import Asked, Serving, path_id
from app.limits import PAGE_SIZE_MAX, PRICE_TIERS_MAX, PRODUCT_CREDITS_MAX, PRODUCT_METERS_MAX
from app.rules import now_of
from app.service import Service
from domain.cycle import Unit
from domain.errors import Invalid, NotFound
from domain.money import DECIMALS
from domain.price import Price
from projections.database import Row
from projections.statements import load

SIMULATION = "simulation"
"""The purpose that a form states when its price is to be tried on history."""

CREDIT_SQL = load("app.sql", "credit.sql")

USUAL = ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "INR")
"""The currencies that stand first in the list."""

CURRENCIES = tuple((code, code) for code in (*USUAL, *sorted(set(DECIMALS) - set(USUAL))))

FIELDS = (
    "name",
    "tax_category",
    "description",
    "effective_at",
    "price.currency",
    "price.fixed_price",
    "price.payment_frequency_count",
    "price.payment_frequency_interval",
)


async def meters_by_id(service: Service, tenant_id: str, ids: Iterable[str]) -> dict[str, Row]:
    """The rows of meters by their ids."""
    return {row["meter_id"]: row for row in await service.pool.fetch(SQL["meters_by_id"], tenant_id, list(set(ids)))}


async def entitlements_of(service: Service, tenant_id: str, price: Price) -> dict[str, Credits]:
    """The entitlements that a price includes or burns, by their ids."""
    ids = {one.credit_entitlement_id for one in price.credits} | {
        meter.credit_entitlement_id for meter in price.meters if meter.credit_entitlement_id is not None
    }
    rows = await service.pool.fetch(SQL["credit_entitlements_by_id"], tenant_id, list(ids)) if ids else []
    return {row["credit_entitlement_id"]: Credits(read_terms(row), row["precision_digits"]) for row in rows}


async def shown(request: Asked, service: Service, tree: Tree, form: Form) -> dict[str, Any]:
    """What the form's template needs: what was entered, and what there is to choose from."""
    tenant_id = request.auth.tenant_id
    newest = await service.pool.fetch(SQL["meters"], tenant_id, False, PAGE_SIZE_MAX, 0)
    chosen = [text(meter, "meter_id") for meter in parts(subtree(tree, "price"), "meters")]
    # A price may name a meter that is archived or older than those listed.
    others = (await meters_by_id(service, tenant_id, chosen)).values() if chosen else ()
    meters = {row["meter_id"]: row for row in (*newest, *others)}
    entitlements = await service.pool.fetch(CREDIT_SQL["credit_entitlements"], tenant_id, False, PAGE_SIZE_MAX, 0)
    return {
        "form": form,
        # Where there is no calculator there are no units to calculate with.
        "calculates": text(tree, "purpose") != SIMULATION,
        "priced": parts(subtree(tree, "price"), "meters"),
        "included": parts(tree, "credit_entitlements"),
        "currency": text(subtree(tree, "price"), "currency"),
        "meters": meters,
        "meter_options": [("", "Choose a meter"), *((row["meter_id"], row["name"]) for row in meters.values())],
        "entitlement_options": [
            ("", "None"),
            *((row["credit_entitlement_id"], read_terms(row).name) for row in entitlements),
        ],
        "models": MODELS,
        "currencies": CURRENCIES,
        "units": [(unit.value, f"{unit.value.lower()}s") for unit in Unit],
        "tax_categories": [(category, category.replace("_", " ")) for category in TAX_CATEGORIES],
        "meters_max": PRODUCT_METERS_MAX,
        "tiers_max": PRICE_TIERS_MAX,
        "credits_max": PRODUCT_CREDITS_MAX,
        "placed": [*FIELDS, *(name for name in form.errors if "[" in name)],
    }


async def _new(request: Asked, service: Service, tree: Tree, form: Form, status: int = 200) -> Template:
    entitlement = {
        "name": "SMS credits",
        "unit": "credit",
        "precision": 0,
        "overage_enabled": False,
        "rollover_enabled": False,
    }
    return page(
        request,
        "products/new.html",
        title="New product",
        nav="products",
        status=status,
        curl=curl_command(request, "POST", "/credit-entitlements", entitlement),
        **await shown(request, service, tree, form),
    )


@get("/dashboard/products/new", guards=[may_write])
async def new_product(request: Asked, service: Serving, meter_id: FromQuery[str] = "") -> Template:
    """The form for a product."""
    tree = empty_product(meter_id)
    return await _new(request, service, tree, form_of(tree))


@post("/dashboard/products/new", guards=[may_write], status_code=200)
async def create_product(request: Asked, service: Serving) -> Template | Redirect:
    """Declare the product in the form; with an error the form again."""
    form = await read_form(request)
    tree: Tree = {}
    try:
        tree = tree_of(form)
        form = form_of(tree)
        product_id = await declare_product(service, request.auth, read_as(product_body(tree), ProductCreate))
    except Invalid as error:
        form.refuse(error)
        return await _new(request, service, tree, form, status=422)
    return Redirect(f"/dashboard/products/{product_id}?done=created", status_code=303)


@post("/dashboard/products/new/parts", guards=[may_write], status_code=200)
async def change_parts(request: Asked, service: Serving) -> Template:
    """The parts of the form that repeat, one more or less when ``action`` says so."""
    tree = tree_of(await read_form(request))
    verb, _, path = text(tree, "action").partition(" ")
    if verb and not path.startswith(("price.meters", "credit_entitlements")):
        raise Invalid("action", "names no part of the form that repeats")
    if verb == "remove":
        remove_part(tree, path)
    elif verb:
        last = path.rpartition(".")[2]
        add_part(tree, path, {"meters": empty_meter(), "tiers": EMPTY_TIER}.get(last, EMPTY_CREDITS))
    for meter in parts(subtree(tree, "price"), "meters"):
        if text(meter, "model") in ("graduated", "volume") and not parts(meter, "tiers"):
            meter["tiers"] = [EMPTY_TIER, EMPTY_TIER]
    again = {"HX-Trigger-After-Settle": "taximeter:parts"}
    given = await shown(request, service, tree, form_of(tree))
    return fragment(request, "products/parts.html", headers=again, **given)


@post("/dashboard/products/new/calculation", guards=[may_write], status_code=200)
async def calculate_form(request: Asked, service: Serving) -> Template:
    """What the units in the form would cost at its price."""
    tree = tree_of(await read_form(request))
    calculated: Calculated | None = None
    incomplete = ""
    try:
        product_id = text(tree, "product_id")
        newest = (
            versions_of(await find_product(service, request.auth.tenant_id, product_id))[-1].price
            if product_id
            else None
        )
        body = price_body(subtree(tree, "price"), newest)
        price = read_price(read_as(body, PriceInput))
        included = credits_body(parts(tree, "credit_entitlements"), newest)
        given = [read_as(one, IncludedCreditsInput) for one in included]
        price = msgspec.structs.replace(price, credits=read_included(given, price.currency))
        units = [text(meter, "units") for meter in parts(subtree(tree, "price"), "meters")]
        calculated = await calculation(request, service, text(tree, "name"), price, units)
    except Invalid as error:
        incomplete = error.message
    return fragment(request, "products/calculated.html", calculated=calculated, incomplete=incomplete)


async def calculation(request: Asked, service: Service, name: str, price: Price, entered: list[str]) -> Calculated:
    """What the units that were entered would cost. Raises ``Invalid``."""
    tenant_id = request.auth.tenant_id
    meters = await meters_by_id(service, tenant_id, [meter.meter_id for meter in price.meters])
    for index, meter in enumerate(price.meters):
        if meter.meter_id not in meters:
            raise Invalid(f"price.meters[{index}].meter_id", "there is no such meter")
    entitlements = await entitlements_of(service, tenant_id, price)
    units = read_units([*entered, *[""] * len(price.meters)][: len(price.meters)])
    return calculate(name, price, units, meters, entitlements, await now_of(service, tenant_id))


async def find_product(service: Service, tenant_id: str, product_id: str) -> Row:
    """A product's row. Raises ``NotFound``."""
    row = await service.pool.fetchrow(SQL["product"], tenant_id, product_id)
    if row is None:
        raise NotFound("product", product_id)
    return row


async def _version(request: Asked, service: Service, row: Row, tree: Tree, form: Form, status: int = 200) -> Template:
    newest = versions_of(row)[-1].price
    subtree(tree, "price")["currency"] = newest.currency
    return page(
        request,
        "products/version.html",
        title=f"New price of {row['name']}",
        nav="products",
        status=status,
        row=row,
        interval=interval_words(newest.cycle),
        **await shown(request, service, tree, form),
    )


@get("/dashboard/products/{product_id:str}/price", guards=[may_write])
async def new_version(request: Asked, service: Serving, product_id: FromPath[str]) -> Template:
    """The form for a new price version, which starts as the newest one is."""
    row = await find_product(service, request.auth.tenant_id, path_id(product_id, "product"))
    tree = price_tree(versions_of(row)[-1].price)
    return await _version(request, service, row, tree, form_of(tree))


@post("/dashboard/products/{product_id:str}/price", guards=[may_write], status_code=200)
async def create_version(request: Asked, service: Serving, product_id: FromPath[str]) -> Template | Redirect:
    """Add the price version in the form; with an error the form again."""
    product_id = path_id(product_id, "product")
    row, form = await find_product(service, request.auth.tenant_id, product_id), await read_form(request)
    tree: Tree = {}
    try:
        tree = tree_of(form)
        form = form_of(tree)
        newest = versions_of(row)[-1].price
        # A field for date and time has no offset; its label says that it is UTC.
        since = text(tree, "effective_at")
        body = {
            "price": price_body(subtree(tree, "price"), newest),
            "credit_entitlements": credits_body(parts(tree, "credit_entitlements"), newest),
            "effective_at": f"{since}Z" if since.count(":") == 2 else f"{since}:00Z" if since else None,
        }
        await change_product(service, request.auth, product_id, read_as(body, ProductUpdate))
    except Invalid as error:
        form.refuse(error)
        return await _version(request, service, row, tree, form, status=422)
    return Redirect(f"/dashboard/products/{product_id}?done=priced", status_code=303)


ROUTER = Router(
    "/", route_handlers=[new_product, create_product, change_parts, calculate_form, new_version, create_version]
)
