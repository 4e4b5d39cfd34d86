"""Products: what is sold, and the versions of its price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.http.auth import requires
from app.http.included_credits import (
    IncludedCreditsAnswer,
    IncludedCreditsInput,
    included_answer,
    need_burned,
    need_included,
    read_included,
)
from app.http.meters import SQL, Description, Name
from app.http.prices import (
    MeterPriceAnswer,
    MeterPriceInput,
    PriceAnswer,
    PriceInput,
    TierInput,
    need_meters,
    price_answer,
    read_price,
)
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
from app.price_versions import effective_from_now
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain import instant
from domain.errors import Invalid, NotFound
from domain.price import Price, PriceVersion
from domain.product import Product
from projections.database import Database, Row

TAX_CATEGORIES = ("digital_products", "saas", "e_book", "edtech", "live_tutoring")

UNBILLED = ("addons",)
"""Fields of the contract that change what a product costs and are not honoured."""

UNBILLED_PRICE = ("tiers",)
"""Fields of a price that change an amount and are not honoured: tiers belong to a meter."""


class ProductCreate(msgspec.Struct):
    """A product to sell, with the first version of its price."""

    name: Annotated[Name, msgspec.Meta(examples=["API"])]
    price: PriceInput
    tax_category: Annotated[str, msgspec.Meta(examples=["saas"])]
    description: Description | None = None
    metadata: Metadata | None = None
    credit_entitlements: list[IncludedCreditsInput] | None = None


class ProductUpdate(msgspec.Struct):
    """Fields to change.

    ``price`` and ``credit_entitlements`` make a new price version, from ``effective_at`` or each subscription's next
    cycle on; the one that is not sent stays as it is in the newest version.
    """

    name: Name | msgspec.UnsetType = msgspec.UNSET
    price: PriceInput | msgspec.UnsetType = msgspec.UNSET
    effective_at: str | None = None
    tax_category: str | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | None = None
    credit_entitlements: list[IncludedCreditsInput] | None = None


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
    credit_entitlements: list[IncludedCreditsAnswer]
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
    check_price_fields(given)


def check_price_fields(given: Mapping[str, Any], where: str = "") -> None:
    """Raises ``Invalid`` for what is misspelt or not honoured in ``price`` and ``credit_entitlements``."""
    price: Any = given.get("price") or {}
    refuse_unbilled(price, UNBILLED_PRICE, f"{where}price.")
    check_spelling(price, PriceInput.__struct_fields__, f"{where}price.")
    check_meter_fields(price, f"{where}price.")
    for index, included in enumerate(given.get("credit_entitlements") or []):
        fields = (*IncludedCreditsInput.__struct_fields__, *IncludedCreditsAnswer.__struct_fields__)
        check_spelling(included, fields, f"{where}credit_entitlements[{index}].")


def check_meter_fields(given: Mapping[str, Any], where: str) -> None:
    """Raises ``Invalid`` for what is misspelt in the prices of ``meters``."""
    for index, meter in enumerate(given.get("meters") or []):
        inside = f"{where}meters[{index}]."
        check_spelling(meter, (*MeterPriceInput.__struct_fields__, *MeterPriceAnswer.__struct_fields__), inside)
        for place, tier in enumerate(meter.get("tiers") or []):
            check_spelling(tier, TierInput.__struct_fields__, f"{inside}tiers[{place}].")


async def answers(database: Database, tenant_id: str, rows: list[Row], *, listed: bool) -> list[ProductAnswer]:
    """Products on the wire, with the names of their meters and credits."""
    prices = [newest_price(row) for row in rows]
    ids = list({meter.meter_id for price in prices for meter in price.meters})
    meters = {row["meter_id"]: row for row in await database.fetch(SQL["meters_by_id"], tenant_id, ids)}
    ids = list({one.credit_entitlement_id for price in prices for one in price.credits})
    found = await database.fetch(SQL["credit_entitlements_by_id"], tenant_id, ids) if ids else []
    entitlements = {row["credit_entitlement_id"]: row for row in found}
    return [
        _answer(
            tenant_id,
            row,
            price_answer(price, meters),
            included_answer(row["product_id"], price, entitlements),
            listed=listed,
        )
        for row, price in zip(rows, prices, strict=True)
    ]


def _answer(
    tenant_id: str, row: Row, price: PriceAnswer, included: list[IncludedCreditsAnswer], *, listed: bool
) -> ProductAnswer:
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
        credit_entitlements=included,
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
    product_id = await declare_product(service, request.auth, data, metadata_text(request))
    return await _one(service, request.auth.tenant_id, product_id)


async def declare_product(service: Service, caller: Caller, data: ProductCreate, metadata: str = "{}") -> str:
    """Declare a product; its id. ``metadata`` is a flat JSON object as text. Raises ``Invalid``."""
    price, product_id = read_price(data.price), new_id("pdt")
    included = read_included(data.credit_entitlements or [], price.currency)
    price = msgspec.structs.replace(price, credits=included)
    category = tax_category(data.tax_category)
    async with transaction(service, caller, "product.create") as running:
        await need_meters(running, price)
        await need_burned(running, price)
        await need_included(running, price.credits, price.currency)
        running.add(
            Product.create(
                product_id,
                name=data.name,
                tax_category=category,
                description=data.description,
                metadata=metadata,
                price=price,
                at=running.now,
            )
        )
    return product_id


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
    metadata = None if members(request).get("metadata") is None else metadata_text(request)
    await change_product(service, request.auth, path_id(product_id, "product"), data, metadata)


async def change_product(
    service: Service, caller: Caller, product_id: str, data: ProductUpdate, metadata: str | None = None
) -> None:
    """Change a product's texts, or add a price version; without ``metadata`` it stays. Raises ``Invalid``."""
    effective_at = read_instant(data.effective_at, "effective_at")
    if effective_at is not None and data.price is msgspec.UNSET and data.credit_entitlements is None:
        raise Invalid("effective_at", "goes with a price or credit_entitlements")
    price = None if data.price is msgspec.UNSET else read_price(data.price)
    async with transaction(service, caller, "product.update") as running:
        product = await running.get(Product, product_id)
        product.describe(
            name=product.name if data.name is msgspec.UNSET else data.name,
            tax_category=(
                product.tax_category if data.tax_category is msgspec.UNSET else tax_category(data.tax_category)
            ),
            description=product.description if data.description is msgspec.UNSET else data.description,
            metadata=product.metadata if metadata is None else metadata,
            at=running.now,
        )
        new = await _new_price(running, product.newest_price, price, data.credit_entitlements)
        if new is not None:
            since = effective_at or await effective_from_now(running, product.object_id)
            product.reprice(new, since, running.now)


async def _new_price(
    running: Transaction, newest: Price, price: Price | None, given: list[IncludedCreditsInput] | None
) -> Price | None:
    """The next version of a product's price; ``None`` when neither part of it was sent. Raises ``Invalid``.

    Only what was sent has to be in use still: an archived meter or a deleted entitlement may stay where it was.
    """
    if price is not None:
        await need_meters(running, price)
        newest = msgspec.structs.replace(price, credits=newest.credits)
    if given is not None:
        included = read_included(given, newest.currency)
        await need_included(running, included, newest.currency)
        newest = msgspec.structs.replace(newest, credits=included)
    if price is not None:
        await need_burned(running, newest)
    return None if price is None and given is None else newest


@delete("/products/{product_id:str}", status_code=200, media_type=MediaType.TEXT, guards=[requires("write")])
async def archive_product(request: Asked, service: Serving, product_id: FromPath[str]) -> None:
    """Take it off sale; subscriptions go on."""
    await set_archived(service, request.auth, path_id(product_id, "product"), archived=True)


async def set_archived(service: Service, caller: Caller, product_id: str, *, archived: bool) -> None:
    """Take a product off sale, or put it on again. Raises ``NotFound``, and ``Gone`` when it is off already."""
    async with transaction(service, caller, "product.archive" if archived else "product.unarchive") as running:
        product = await running.get(Product, product_id)
        if archived:
            product.archive(running.now)
        else:
            product.unarchive(running.now)


@post("/products/{product_id:str}/unarchive", status_code=200, media_type=MediaType.TEXT, guards=[requires("write")])
async def unarchive_product(request: Asked, service: Serving, product_id: FromPath[str]) -> None:
    """Put it on sale again."""
    await set_archived(service, request.auth, path_id(product_id, "product"), archived=False)


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
