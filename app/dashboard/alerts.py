"""The pages of alerts: those that are set, those that fired, and the form for another."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app.alerting.rows import SQL, firing_of
from app.dashboard.alert_words import alerts_shown, firings_shown
from app.dashboard.customers import SQL as CUSTOMER_SQL
from app.dashboard.form_tree import read_as
from app.dashboard.forms import Form, read_form
from app.dashboard.guards import safe_path
from app.dashboard.page import curl_command, may_write, page
from app.dashboard.product_tree import minor_of
from app.dashboard.wording import segment
from app.http.alerts import WHAT, AlertCreate, remove_alert, set_alert
from app.http.customers import find_customer
from app.http.included_credits import read_terms
from app.http.reading import Asked, PageNumber, Serving, path_id
from app.http.reading import page as page_rows
from app.http.subscription_answers import find_subscription
from app.service import Service
from domain.alert import AlertKind
from domain.errors import Conflict, Gone, Invalid, NotFound
from domain.money import UnknownCurrency, decimals
from projections.database import Database

LIST_ROWS = 20
"""Alerts, and firings beside them, on a page."""

CHOICE_MAX = 200
"""Meters and entitlements that the form offers."""

KINDS = {
    AlertKind.quantity: "Units of a meter",
    AlertKind.free_percent: "Per cent of a meter's free threshold",
    AlertKind.credit_percent: "Per cent of the cycle's credits",
    AlertKind.amount: "Cost of the cycle, before the wallet",
}
"""What an alert looks at, in words."""

FIELDS = ("kind", "meter_id", "credit_entitlement_id", "threshold", "currency")

DONE = {"alert-deleted": "The alert is deleted. What it fired for stays."}


@get("/dashboard/alerts")
async def alert_list(
    request: Asked, service: Serving, page_number: PageNumber = 0, done: FromQuery[str] = ""
) -> Template:
    """All alerts and all that fired, newest first, a page of each."""
    rows, tenant_id = page_rows(page_number, LIST_ROWS), request.auth.tenant_id
    async with service.pool.acquire() as connection:
        found = await connection.fetch(SQL["alerts"], tenant_id, None, None, rows.size + 1, rows.offset)
        fired = await connection.fetch(SQL["firings"], tenant_id, None, None, None, rows.size + 1, rows.offset)
        return page(
            request,
            "alerts/list.html",
            title="Alerts",
            nav="alerts",
            alerts=await alerts_shown(connection, tenant_id, found[: rows.size]),
            firings=await firings_shown(connection, tenant_id, [firing_of(row) for row in fired[: rows.size]]),
            page_number=page_number,
            has_more=max(len(found), len(fired)) > rows.size,
            done=DONE.get(done, ""),
            curl=curl_command(
                request, "POST", "/alerts", {"customer_id": "ada", "kind": "amount", "threshold": "10000"}
            ),
        )


@get("/dashboard/alerts/new", guards=[may_write])
async def new_alert(
    request: Asked, service: Serving, customer_id: FromQuery[str] = "", subscription_id: FromQuery[str] = ""
) -> Template:
    """The form for an alert of a customer, or of one subscription."""
    form = Form(customer_id=customer_id, subscription_id=subscription_id, kind="quantity", currency="USD")
    return await _form(request, service, form)


@post("/dashboard/alerts/new", guards=[may_write], status_code=200)
async def create_alert(request: Asked, service: Serving) -> Template | Redirect:
    """Set the alert in the form; with an error the form again."""
    form = await read_form(request)
    try:
        async with service.pool.acquire() as connection:
            body = await _body(connection, request.auth.tenant_id, form)
        await set_alert(service, request.auth, read_as(body, AlertCreate))
    except (Invalid, NotFound, Conflict) as error:
        form.refuse(error)
        return await _form(request, service, form, 422)
    return Redirect(f"{_owner(form)}?done=alert", status_code=303)


def _owner(form: Form) -> str:
    """The page of what the alert is for."""
    if form.text("subscription_id"):
        return f"/dashboard/subscriptions/{segment(form.text('subscription_id'))}"
    return f"/dashboard/customers/{segment(form.text('customer_id'))}"


async def _body(database: Database, tenant_id: str, form: Form) -> dict[str, Any]:
    """The body of the command, without what the kind does not look at, money in minor units. Raises ``Invalid``."""
    kind, threshold = form.text("kind"), form.text("threshold")
    if not threshold:
        raise Invalid("threshold", "is required")
    body: dict[str, Any] = {
        name: form.text(name) for name in ("customer_id", "subscription_id", "kind") if form.text(name)
    }
    if kind in (AlertKind.quantity, AlertKind.free_percent):
        body["meter_id"] = form.text("meter_id") or None
    elif kind == AlertKind.credit_percent:
        body["credit_entitlement_id"] = form.text("credit_entitlement_id") or None
    elif kind == AlertKind.amount:
        threshold = str(minor_of(threshold, await _currency(database, tenant_id, form), "threshold"))
    return {**body, "threshold": threshold}


async def _currency(database: Database, tenant_id: str, form: Form) -> str:
    """The subscription's currency, else the one that was entered. Raises ``Invalid``."""
    if form.text("subscription_id"):
        return (await find_subscription(database, tenant_id, form.text("subscription_id")))["currency"]
    currency = form.text("currency").upper()
    try:
        decimals(currency)
    except UnknownCurrency as error:
        raise Invalid("currency", str(error)) from None
    return currency


async def _form(request: Asked, service: Service, form: Form, status: int = 200) -> Template:
    """Raises ``NotFound`` when what the alert is for is not there."""
    tenant_id = request.auth.tenant_id
    async with service.pool.acquire() as connection:
        if form.text("subscription_id"):
            await find_subscription(connection, tenant_id, form.text("subscription_id"))
        else:
            await find_customer(connection, tenant_id, form.text("customer_id"))
        meters = await connection.fetch(CUSTOMER_SQL["meter_choice"], tenant_id, CHOICE_MAX)
        entitlements = await connection.fetch(CUSTOMER_SQL["entitlement_choice"], tenant_id, CHOICE_MAX)
    return page(
        request,
        "alerts/new.html",
        title="New alert",
        nav="customers",
        status=status,
        form=form,
        fields=FIELDS,
        owner=_owner(form),
        kinds=[(kind.value, words) for kind, words in KINDS.items()],
        meters=[(row["meter_id"], f"{row['name']} ({row['measurement_unit']})") for row in meters],
        entitlements=[(row["credit_entitlement_id"], read_terms(row).name) for row in entitlements],
    )


@post("/dashboard/alerts/{alert_id:str}/delete", guards=[may_write], status_code=303)
async def delete_alert(request: Asked, service: Serving, alert_id: FromPath[str]) -> Redirect:
    """Delete an alert and go back to the page that it was seen on. One that is gone already is no error."""
    form, back = await read_form(request), "/dashboard/alerts"
    # Two tabs, or the button twice: it is as it was wished.
    with suppress(Gone):
        await remove_alert(service, request.auth, path_id(alert_id, WHAT))
    if form.text("back"):
        back = safe_path(form.text("back"))
    return Redirect(f"{back}?done=alert-deleted", status_code=303)


ROUTER = Router("/", route_handlers=[alert_list, new_alert, create_alert, delete_alert])
