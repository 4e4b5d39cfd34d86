"""The pages of products: the list, and one product with its price versions and a calculator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from litestar import Router, get
from litestar.params import FromPath, FromQuery
from litestar.response import Template

from app.dashboard import product_form
from app.dashboard.archiving import archive_routes
from app.dashboard.calculator import Calculated
from app.dashboard.page import curl_command, fragment, page
from app.dashboard.product_form import calculation, find_product, meters_by_id
from app.dashboard.product_words import fixed_words, interval_words, price_words, version_words, versions_of
from app.http.included_credits import read_terms
from app.http.products import SQL, set_archived
from app.http.reading import Asked, PageNumber, Serving, path_id
from app.http.reading import page as page_of
from app.rules import now_of
from app.service import Service
from domain.errors import Invalid
from domain.price import PriceVersion, version_in_force

LIST_ROWS = 20
"""Products on one page of the list: a screen or two."""

VERSIONS_SHOWN = 50
"""Price versions on the page of a product, the last recorded first: years of changes."""


@get("/dashboard/products")
async def list_products(
    request: Asked, service: Serving, archived: FromQuery[bool] = False, page_number: PageNumber = 0
) -> Template:
    """The products, newest first, each with the price that is in force."""
    rows, tenant_id = page_of(page_number, LIST_ROWS), request.auth.tenant_id
    found = await service.pool.fetch(SQL["products"], tenant_id, archived, rows.size + 1, rows.offset)
    now = await now_of(service, tenant_id)
    priced = [(row, versions_of(row)) for row in found[:LIST_ROWS]]
    current = [(row, versions[version_in_force(versions, now)].price, len(versions)) for row, versions in priced]
    meters = await meters_by_id(service, tenant_id, (m.meter_id for _, price, _ in current for m in price.meters))
    return page(
        request,
        "products/list.html",
        title="Products",
        nav="products",
        items=[
            {"row": row, "fixed": fixed_words(price), "meters": price_words(price, meters), "versions": versions}
            for row, price, versions in current
        ],
        archived=archived,
        page_number=page_number,
        has_more=len(found) > LIST_ROWS,
        has_meters=bool(await service.pool.fetch(SQL["meters"], tenant_id, False, 1, 0)) if not found else True,
        curl=curl_command(request, "GET", "/products"),
    )


async def _entitlement_names(service: Service, tenant_id: str, versions: Iterable[PriceVersion]) -> dict[str, str]:
    ids = {one.credit_entitlement_id for version in versions for one in version.price.credits}
    rows = await service.pool.fetch(SQL["credit_entitlements_by_id"], tenant_id, list(ids)) if ids else []
    return {row["credit_entitlement_id"]: read_terms(row).name for row in rows}


def _index(versions: Sequence[PriceVersion], version: int, now: datetime) -> int:
    """The place of a version that is counted from 1; 0 is the one in force. Raises ``Invalid``."""
    if not 0 <= version <= len(versions):
        raise Invalid("version", f"must be from 1 to {len(versions)}")
    return version - 1 if version else version_in_force(versions, now)


@get("/dashboard/products/{product_id:str}")
async def product_page(
    request: Asked, service: Serving, product_id: FromPath[str], version: FromQuery[int] = 0, done: FromQuery[str] = ""
) -> Template:
    """One product: its price versions, and what so many units would cost at one of them, counted from 1."""
    tenant_id = request.auth.tenant_id
    row = await find_product(service, tenant_id, path_id(product_id, "product"))
    versions, now = versions_of(row), await now_of(service, tenant_id)
    ids = (meter.meter_id for version in versions for meter in version.price.meters)
    meters = await meters_by_id(service, tenant_id, ids)
    names = await _entitlement_names(service, tenant_id, versions)
    words = version_words(versions, now, meters, names)
    index = _index(versions, version, now)
    subscription = {
        "customer": {"email": "ada@example.com", "name": "Ada"},
        "billing": {"country": "US"},
        "product_id": row["product_id"],
        "quantity": 1,
    }
    return page(
        request,
        "products/detail.html",
        title=row["name"],
        nav="products",
        row=row,
        versions=words[:VERSIONS_SHOWN],
        versions_count=len(words),
        version=index + 1,
        price=versions[index].price,
        interval=interval_words(versions[index].price.cycle),
        meters=meters,
        done=done,
        curl=curl_command(request, "POST", "/subscriptions", subscription),
    )


@get("/dashboard/products/{product_id:str}/calculation")
async def calculate_product(
    request: Asked, service: Serving, product_id: FromPath[str], version: FromQuery[int] = 0
) -> Template:
    """What so many units would cost at a price version, which are counted from 1; 0 is the one in force."""
    tenant_id = request.auth.tenant_id
    row = await find_product(service, tenant_id, path_id(product_id, "product"))
    versions = versions_of(row)
    calculated: Calculated | None = None
    incomplete = ""
    try:
        index = _index(versions, version, await now_of(service, tenant_id))
        entered = request.query_params.getall("units", [])
        calculated = await calculation(request, service, row["name"], versions[index].price, entered)
    except Invalid as error:
        incomplete = error.message
    return fragment(request, "products/calculated.html", calculated=calculated, incomplete=incomplete)


ROUTER = Router(
    "/",
    route_handlers=[
        product_form.ROUTER,
        list_products,
        product_page,
        calculate_product,
        *archive_routes("products", "product", set_archived),
    ],
)
