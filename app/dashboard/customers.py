"""The pages of customers: found, made, and seen with everything that is theirs."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app.alerting.rows import SQL as ALERT_SQL
from app.alerting.rows import firing_of
from app.dashboard.alert_words import alerts_shown, firings_shown
from app.dashboard.form_tree import read_as
from app.dashboard.forms import Form, read_form
from app.dashboard.open_cycles import cycles_shown
from app.dashboard.page import curl_command, fragment, may_write, page
from app.dashboard.wording import segment
from app.http.credit_balances import customer_credits
from app.http.customers import CustomerAnswer, CustomerCreate, add_customer, answers, find_customer
from app.http.meters import SQL as CATALOG_SQL
from app.http.reading import Asked, PageNumber, Serving, path_id, read_instant
from app.http.reading import page as page_rows
from app.http.subscription_answers import SubscriptionAnswer
from app.http.subscription_answers import answers as subscription_answers
from app.http.wallets import wallets_of
from app.invoicing import SQL as INVOICE_SQL
from app.invoicing import bill_of
from app.reading_log import reading
from domain.errors import Conflict, Invalid
from domain.event import CUSTOMER_ID_MAX_CHARS
from domain.subscription import Subscription
from projections.aggregates import Aggregates
from projections.database import Database, Row
from projections.statements import load

SQL = load("app.sql", "dashboard_customers.sql")

LIST_ROWS = 20
"""Customers on a page. Each is watched for its cost, and one socket watches a hundred at most."""

LOOKED_THROUGH = 2_000
"""Customers whose sealed names one page opens while it searches: some fifty milliseconds of this process."""

CYCLES_PER_ROW = 3
"""Subscriptions of a customer whose cost the list shows."""

SUBSCRIPTIONS_SHOWN = 5
"""Subscriptions on a customer's page. Each costs an estimate and a forecast."""

INVOICES_SHOWN = 5
ALERTS_SHOWN = 5
"""The newest of each on a customer's page; lists of their own have the others."""

LAST_LETTER = "\U0010ffff"
"""Behind the beginning of an id it comes after every id that begins so."""

FIELDS = ("name", "email", "customer_id", "time_zone")

TONES = {"active": "good", "paused": "warn", "cancelled": "quiet", "expired": "quiet"}
"""How the pill of a subscription's status looks."""

DONE = {
    "created": "The customer is there. Usage that was recorded under its id before counts too.",
    "erased": "The personal data are erased. Usage and invoices stay, under the customer's id.",
    "alert": "The alert is set.",
    "alert-deleted": "The alert is deleted. What it fired for stays.",
}
"""What a form has done, told after it."""


class Found(msgspec.Struct, frozen=True):
    """Customers of one page; ``onward`` is the query that goes on behind them, empty at the end."""

    customers: list[CustomerAnswer]
    onward: dict[str, str]


@get("/dashboard/customers")
async def customer_list(
    request: Asked,
    service: Serving,
    q: FromQuery[str] = "",
    before: FromQuery[str | None] = None,
    before_id: FromQuery[str] = "",
) -> Template:
    """Customers, newest first. ``q`` finds the beginning of an id, and any part of a name or an e-mail."""
    sought, past = q.strip(), read_instant(before, "before")
    tenant_id = request.auth.tenant_id
    async with service.pool.acquire() as connection:
        found = await _find(connection, tenant_id, sought, (past, before_id))
        ids = [customer.customer_id for customer in found.customers]
        rows = await connection.fetch(SQL["newest_subscriptions"], tenant_id, ids, CYCLES_PER_ROW)
    by_customer: dict[str, list[Row]] = {}
    for row in rows:
        by_customer.setdefault(row["customer_id"], []).append(row)
    return page(
        request,
        "customers/list.html",
        title="Customers",
        nav="customers",
        form=Form(q=sought),
        customers=found.customers,
        subscriptions=by_customer,
        cycles_per_row=CYCLES_PER_ROW,
        onward=found.onward,
        continued=past is not None,
        curl=_first_customer(request),
    )


async def _find(database: Database, tenant_id: str, sought: str, past: tuple[datetime | None, str]) -> Found:
    """A page of customers, those with a matching id first."""
    if not sought:
        rows = await database.fetch(SQL["customers_before"], tenant_id, *past, LIST_ROWS + 1)
        onward = _onward(rows[LIST_ROWS - 1], "") if len(rows) > LIST_ROWS else {}
        return Found(await answers(database, tenant_id, rows[:LIST_ROWS]), onward)
    named: list[CustomerAnswer] = []
    if past[0] is None:
        span = (sought, sought + LAST_LETTER)
        named = await answers(
            database, tenant_id, await database.fetch(SQL["customers_between"], tenant_id, *span, LIST_ROWS)
        )
    rows = await database.fetch(SQL["customers_before"], tenant_id, *past, LOOKED_THROUGH)
    for customer, row in zip(await answers(database, tenant_id, rows), rows, strict=True):
        # Those whose ids begin so stand on the first page.
        if not customer.customer_id.startswith(sought) and _matches(customer, sought.casefold()):
            named.append(customer)
        if len(named) >= LIST_ROWS:
            return Found(named, _onward(row, sought))
    return Found(named, _onward(rows[-1], sought) if len(rows) == LOOKED_THROUGH else {})


def _matches(customer: CustomerAnswer, part: str) -> bool:
    return part in customer.name.casefold() or part in customer.email.casefold()


def _onward(row: Row, sought: str) -> dict[str, str]:
    query = {"q": sought} if sought else {}
    return {**query, "before": row["created_at"].isoformat(), "before_id": row["customer_id"]}


def _first_customer(request: Asked) -> str:
    body = {"customer_id": "ada", "email": "ada@example.com", "name": "Ada"}
    return curl_command(request, "POST", "/customers", body)


@get("/dashboard/customers/new", guards=[may_write])
async def new_customer(request: Asked, customer_id: FromQuery[str] = "") -> Template:
    """The form for a customer."""
    return _form(request, Form(customer_id=customer_id, time_zone="UTC"))


@post("/dashboard/customers/new", guards=[may_write], status_code=200)
async def create_customer(request: Asked, service: Serving) -> Template | Redirect:
    """Make the customer in the form; with an error the form again."""
    form = await read_form(request)
    try:
        for name, label in (("name", "what the customer is called"), ("email", "where invoices go")):
            if not form.text(name):
                raise Invalid(name, f"is required: {label}")
        body = {name: form.text(name) for name in FIELDS if form.text(name)}
        customer_id = await add_customer(service, request.auth, read_as(body, CustomerCreate))
    except Invalid as error:
        form.refuse(error)
        return _form(request, form, 422)
    except Conflict as error:
        form.wrong("customer_id", error.message)
        return _form(request, form, 409)
    return Redirect(f"/dashboard/customers/{segment(customer_id)}?done=created", status_code=303)


def _form(request: Asked, form: Form, status: int = 200) -> Template:
    return page(
        request,
        "customers/new.html",
        title="New customer",
        nav="customers",
        status=status,
        form=form,
        fields=FIELDS,
        zones=sorted(zoneinfo.available_timezones()),
        id_max=CUSTOMER_ID_MAX_CHARS,
    )


@get("/dashboard/customers/{customer_id:str}")
async def customer_page(
    request: Asked,
    service: Serving,
    customer_id: FromPath[str],
    page_number: PageNumber = 0,
    done: FromQuery[str] = "",
) -> Template:
    """One customer: subscriptions with their open cycles, credits, wallets, invoices, alerts."""
    customer_id = path_id(customer_id, "customer")
    async with reading(service, request.auth, latest=True) as known:
        row = await find_customer(known.database, known.tenant_id, customer_id)
        (customer,) = await answers(known.database, known.tenant_id, [row])
        return page(
            request,
            "customers/customer.html",
            title=customer.name or customer_id,
            nav="customers",
            customer=customer,
            credits=await customer_credits(known, customer_id),
            wallets=await wallets_of(known.database, known.tenant_id, customer_id),
            bills=await invoices_shown(known, customer_id, None),
            done=DONE.get(done, ""),
            **await _cycles(known, customer_id, page_number),
            **await alerts_of(known, customer_id, None),
        )


@get("/dashboard/customers/{customer_id:str}/cycles")
async def customer_cycles(
    request: Asked, service: Serving, customer_id: FromPath[str], page_number: PageNumber = 0
) -> Template:
    """The part of the page that moves with usage: the open cycles."""
    async with reading(service, request.auth, latest=True) as known:
        shown = await _cycles(known, path_id(customer_id, "customer"), page_number)
    return fragment(request, "customers/cycles.html", **shown)


async def _cycles(known: Aggregates, customer_id: str, page_number: int) -> dict[str, Any]:
    """A page of a customer's subscriptions, newest first, with those of their cycles that are not closed."""
    rows = page_rows(page_number, SUBSCRIPTIONS_SHOWN)
    where = (customer_id, None, None, None, None, None, rows.size + 1, rows.offset)
    found = await known.database.fetch(CATALOG_SQL["subscriptions"], known.tenant_id, *where)
    told = await subscription_answers(known.database, known.tenant_id, found[: rows.size])
    return {
        "customer_id": customer_id,
        "subscriptions": [
            (one, await cycles_shown(known, await known.get(Subscription, one.subscription_id))) for one in told
        ],
        "product_names": await product_names(known, told),
        "page_number": page_number,
        "has_more": len(found) > rows.size,
        "tones": TONES,
    }


async def product_names(known: Aggregates, subscriptions: Sequence[SubscriptionAnswer]) -> dict[str, str]:
    """What the products of subscriptions are called."""
    ids = {item.product_id for one in subscriptions for item in one.products}
    rows = await known.database.fetch(CATALOG_SQL["products_by_id"], known.tenant_id, list(ids))
    return {row["product_id"]: row["name"] for row in rows}


async def invoices_shown(known: Aggregates, customer_id: str | None, subscription_id: str | None) -> list[Any]:
    """The newest invoices of a customer, or of a subscription."""
    where = (customer_id, subscription_id, None, INVOICES_SHOWN, 0)
    rows = await known.database.fetch(INVOICE_SQL["invoices"], known.tenant_id, *where)
    return [bill_of(row) for row in rows]


async def alerts_of(known: Aggregates, customer_id: str, subscription_id: str | None) -> dict[str, Any]:
    """The newest alerts of a customer or a subscription, and what fired last, as the pages show them."""
    tenant_id, database = known.tenant_id, known.database
    where = (customer_id, subscription_id)
    rows = await database.fetch(ALERT_SQL["alerts"], tenant_id, *where, ALERTS_SHOWN, 0)
    fired = await database.fetch(ALERT_SQL["firings"], tenant_id, *where, None, ALERTS_SHOWN, 0)
    return {
        "alerts": await alerts_shown(database, tenant_id, rows),
        "firings": await firings_shown(database, tenant_id, [firing_of(row) for row in fired]),
    }


ROUTER = Router("/", route_handlers=[customer_list, new_customer, create_customer, customer_page, customer_cycles])
