"""Products: what is sold, and the versions of its price."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import MediaType, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.http.auth import requires
from app.http.meters import SQL, Description, Name
from app.http.prices import MeterPriceAnswer, MeterPriceInput, PriceAnswer, PriceInput, price_answer, read_price
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    Metadata,
    PageNumber,
    PageSize,
    Serving,
    check_spelling,
    members,
    metadata_text,
    page,
    path_id,
    raw,
    read_instant,
    refuse_unbilled,
)
from app.identity import new_id
from app.transaction import transaction
from domain import instant
from domain.errors import Invalid, NotFound
from domain.price import Price, PriceVersion
from domain.product import Product
from projections.database import Database, Row

TAX_CATEGORIES = ("digital_products", "saas", "e_book", "edtech", "live_tutoring")


UNBILLED = ("credit_entitlements", "addons")
"""Fields of the contract that change what a product costs and are not honoured."""

UNBILLED_PRICE = ("tiers",)
"""Fields of a price, or of a meter in it, that change an amount and are not honoured."""


class ProductCreate(msgspec.Struct):
    """A product to sell, with the first version of its price."""

    name: Annotated[Name, msgspec.Meta(examples=["API"])]
    price: PriceInput
    tax_category: Annotated[str, msgspec.Meta(examples=["saas"])]
    description: Description | None = None
    metadata: Metadata | None = None


class ProductUpdate(msgspec.Struct):
    """Fields to change. ``price`` is a new version, from ``effective_at`` or each subscription's next cycle on."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    price: PriceInput | msgspec.UnsetType = msgspec.UNSET
    effective_at: str | None = None
    tax_category: str | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | None = None


class ProductAnswer(msgspec.Struct, omit_defaults=True):
    """A product. In lists ``price`` is the fixed price and ``price_detail`` the whole, as the contract has it."""

    product_id: str
    business_id: str
    brand_id: str
    name: str
    created_at: str
    updated_at: str
    is_recurring: bool
    license_key_enabled: bool
    metadata: Any
    price: PriceAnswer | int
    tax_category: str
    credit_entitlements: list[Any]
    entitlements: list[Any]
    description: str | None = None
    price_detail: PriceAnswer | None = None
    currency: str | None = None


class ProductList(msgspec.Struct):
    """A page of products, newest first."""

    items: list[ProductAnswer]


def tax_category(value: str) -> str:
    """Raises ``Invalid`` for a category that the contract does not know."""
    if value not in TAX_CATEGORIES:
        raise Invalid("tax_category", f"must be one of {', '.join(TAX_CATEGORIES)}")
    return value


def newest_price(row: Row) -> Price:
    """The price that was recorded last."""
    return msgspec.json.decode(row["versions"], type=list[PriceVersion])[-1].price


def check_fields(request: Asked) -> None:
    """Raises ``Invalid`` for what would change an amount and is not honoured, or is misspelt, also in the price."""
    given = members(request)
    refuse_unbilled(given, UNBILLED)
    check_spelling(given, (*ProductUpdate.__struct_fields__, *UNBILLED))
    price: Any = given.get("price") or {}
    refuse_unbilled(price, UNBILLED_PRICE, "price.")
    check_spelling(price, PriceInput.__struct_fields__, "price.")
    for index, meter in enumerate(price.get("meters") or []):
        refuse_unbilled(meter, UNBILLED_PRICE, f"price.meters[{index}].")
        check_spelling(
            meter, (*MeterPriceInput.__struct_fields__, *MeterPriceAnswer.__struct_fields__), f"price.meters[{index}]."
        )


async def answers(database: Database, tenant_id: str, rows: list[Row], *, listed: bool) -> list[ProductAnswer]:
    """Products on the wire, with the names of their meters."""
    prices = [newest_price(row) for row in rows]
    ids = list({meter.meter_id for price in prices for meter in price.meters})
    meters = {row["meter_id"]: row for row in await database.fetch(SQL["meters_by_id"], tenant_id, ids)}
    return [
        _answer(tenant_id, row, price_answer(price, meters), listed) for row, price in zip(rows, prices, strict=True)
    ]


def _answer(tenant_id: str, row: Row, price: PriceAnswer, listed: bool) -> ProductAnswer:
    return ProductAnswer(
        product_id=row["product_id"],
        business_id=tenant_id,
        brand_id=tenant_id,
        name=row["name"],
        created_at=instant.text(row["created_at"]),
        updated_at=instant.text(row["updated_at"]),
        is_recurring=True,
        license_key_enabled=False,
        metadata=raw(row["metadata"]),
        price=price.fixed_price if listed else price,
        tax_category=row["tax_category"],
        credit_entitlements=[],
        entitlements=[],
        description=row["description"],
        price_detail=price if listed else None,
        currency=price.currency if listed else None,
    )


async def _one(service: Serving, tenant_id: str, product_id: str) -> ProductAnswer:
    async with service.pool.acquire() as connection:
        row = await connection.fetchrow(SQL["product"], tenant_id, product_id)
        if row is None:
            raise NotFound("product", product_id)
        return (await answers(connection, tenant_id, [row], listed=False))[0]


@post("/products", status_code=200, guards=[requires("write")])
async def create_product(request: Asked, service: Serving, data: JSONBody[ProductCreate]) -> ProductAnswer:
    """Declare a product."""
    check_fields(request)
    price, metadata, product_id = read_price(data.price), metadata_text(request), new_id("pdt")
    category = tax_category(data.tax_category)
    async with transaction(service, request.auth, "product.create") as running:
        await price.need_meters(running)
        running.add(
            Product.create(
                product_id,
                name=data.name,
                tax_category=category,
                description=data.description,
                metadata=metadata,
                price=price.value,
                at=running.now,
            )
        )
    return await _one(service, request.auth.tenant_id, product_id)


@get("/products", guards=[requires("read")])
async def list_products(
    request: Asked,
    service: Serving,
    archived: FromQuery[bool] = False,
    recurring: FromQuery[bool | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> ProductList:
    """Products, newest first; archived ones only when asked for. Every product here is recurring."""
    rows = page(page_number, page_size)
    if recurring is False:
        return ProductList([])
    tenant_id = request.auth.tenant_id
    async with service.pool.acquire() as connection:
        found = await connection.fetch(SQL["products"], tenant_id, archived, rows.size, rows.offset)
        return ProductList(await answers(connection, tenant_id, found, listed=True))


@get("/products/{product_id:str}", guards=[requires("read")])
async def get_product(request: Asked, service: Serving, product_id: FromPath[str]) -> ProductAnswer:
    """One product."""
    return await _one(service, request.auth.tenant_id, path_id(product_id, "product"))


# An answer without a body is declared as text: as JSON it would be the word `null`.
@patch("/products/{product_id:str}", media_type=MediaType.TEXT, guards=[requires("write")])
async def update_product(
    request: Asked, service: Serving, product_id: FromPath[str], data: JSONBody[ProductUpdate]
) -> None:
    """Change texts, or add a price version."""
    check_fields(request)
    effective_at = read_instant(data.effective_at, "effective_at")
    if effective_at is not None and data.price is msgspec.UNSET:
        raise Invalid("effective_at", "goes with a price")
    price = None if data.price is msgspec.UNSET else read_price(data.price)
    async with transaction(service, request.auth, "product.update") as running:
        product = await running.get(Product, path_id(product_id, "product"))
        product.describe(
            name=product.name if data.name is msgspec.UNSET else data.name,
            tax_category=(
                product.tax_category if data.tax_category is msgspec.UNSET else tax_category(data.tax_category)
            ),
            description=product.description if data.description is msgspec.UNSET else data.description,
            metadata=metadata_text(request, kept=product.metadata),
            at=running.now,
        )
        if price is not None:
            await price.need_meters(running)
            product.reprice(price.value, effective_at, running.now)


@delete("/products/{product_id:str}", status_code=200, media_type=MediaType.TEXT, guards=[requires("write")])
async def archive_product(request: Asked, service: Serving, product_id: FromPath[str]) -> None:
    """Take it off sale; subscriptions go on."""
    async with transaction(service, request.auth, "product.archive") as running:
        (await running.get(Product, path_id(product_id, "product"))).archive(running.now)


@post("/products/{product_id:str}/unarchive", status_code=200, media_type=MediaType.TEXT, guards=[requires("write")])
async def unarchive_product(request: Asked, service: Serving, product_id: FromPath[str]) -> None:
    """Put it on sale again."""
    async with transaction(service, request.auth, "product.unarchive") as running:
        (await running.get(Product, path_id(product_id, "product"))).unarchive(running.now)


ROUTER = Router(
    "/",
    route_handlers=[
        create_product,
        list_products,
        get_product,
        update_product,
        archive_product,
        unarchive_product,
    ],
    tags=["Products"],
)
