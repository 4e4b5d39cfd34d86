"""What a customer has with the business: credits with their ledger, and the wallet with its entries."""

from __future__ import annotations

from typing import Any

from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app.credit_entries import add_entry
from app.crediting import account_view
from app.dashboard.customers import SQL
from app.dashboard.form_tree import read_as
from app.dashboard.forms import Form, read_form
from app.dashboard.page import curl_command, may_write, page
from app.dashboard.product_tree import minor_of
from app.dashboard.wording import segment
from app.http import credit_balances, wallets
from app.http.credit_entitlements import WHAT
from app.http.credit_history import entries_of, grants_of
from app.http.customers import find_customer
from app.http.included_credits import read_terms
from app.http.reading import Asked, PageNumber, Serving, path_id
from app.http.reading import page as page_rows
from app.reading_log import reading
from app.service import Service
from app.wallets import move_money
from domain.credit_ledger import movements
from domain.errors import Conflict, Insufficient, Invalid, Refusal
from domain.money import UnknownCurrency, decimals
from domain.settlement import balance

ENTRY_ROWS = 25
"""Entries of a ledger on a page."""

GRANTS_SHOWN = 10
"""Grants above the ledger: those that began last."""

CHOICE_MAX = 100
"""Entitlements, products or meters that a form offers."""

FIELDS = ("entry_type", "amount", "reason", "currency", "expires_on")

FIRST_ENTITLEMENT = {
    "name": "SMS",
    "unit": "message",
    "precision": 0,
    "overage_enabled": False,
    "rollover_enabled": False,
}
"""The body of a command that makes an entitlement, for who has none."""

ENTRY_NAMES = {
    "credit_added": "Granted",
    "credit_deducted": "Used",
    "credit_expired": "Lapsed",
    "credit_rolled_over": "Rolled over",
    "rollover_forfeited": "Not rolled over",
    "overage_charged": "Overage",
    "overage_reset": "Overage settled",
    "refund": "Given back",
}
"""What a movement of credits is, in words."""

WALLET_DONE = "The wallet is changed."
CREDITS_DONE = "The credits are recorded."


@get("/dashboard/customers/{customer_id:str}/credits", guards=[may_write])
async def credit_choice(request: Asked, service: Serving, customer_id: FromPath[str]) -> Template:
    """The entitlements of which a customer can be given credits."""
    customer_id, tenant_id = path_id(customer_id, "customer"), request.auth.tenant_id
    async with service.pool.acquire() as connection:
        await find_customer(connection, tenant_id, customer_id)
        rows = await connection.fetch(SQL["entitlement_choice"], tenant_id, CHOICE_MAX)
    choice = [(row["credit_entitlement_id"], read_terms(row)) for row in rows]
    return page(
        request,
        "customers/credit_choice.html",
        title="Credits",
        nav="customers",
        customer_id=customer_id,
        choice=choice,
        curl=curl_command(request, "POST", "/credit-entitlements", FIRST_ENTITLEMENT),
    )


@get("/dashboard/customers/{customer_id:str}/credits/{entitlement_id:str}")
async def credits_page(
    request: Asked,
    service: Serving,
    customer_id: FromPath[str],
    entitlement_id: FromPath[str],
    page_number: PageNumber = 0,
    done: FromQuery[bool] = False,
) -> Template:
    """A customer's credits of an entitlement: the balance, the grants and the ledger."""
    account = path_id(entitlement_id, WHAT), path_id(customer_id, "customer")
    return await _credits(request, service, account, Form(entry_type="credit"), page_number=page_number, done=done)


async def _credits(
    request: Asked,
    service: Service,
    account: tuple[str, str],
    form: Form,
    *,
    status: int = 200,
    page_number: int = 0,
    done: bool = False,
) -> Template:
    rows = page_rows(page_number, ENTRY_ROWS)
    async with reading(service, request.auth, latest=True) as known:
        await find_customer(known.database, known.tenant_id, account[1])
        view = await account_view(known, *account)
    moved = list(reversed(movements(view.account, view.settlement, view.at)))
    return page(
        request,
        "customers/credits.html",
        title=view.entitlement.terms.name,
        nav="customers",
        status=status,
        form=form,
        fields=FIELDS,
        customer_id=account[1],
        entitlement_id=account[0],
        terms=view.entitlement.terms,
        balance=balance(view.settlement, view.at),
        grants=grants_of(view)[:GRANTS_SHOWN],
        entries=entries_of(view, request.auth.tenant_id, moved[rows.offset : rows.offset + rows.size]),
        entry_names=ENTRY_NAMES,
        done=CREDITS_DONE if done else "",
        page_number=page_number,
        has_more=len(moved) > rows.offset + rows.size,
    )


@post("/dashboard/customers/{customer_id:str}/credits/{entitlement_id:str}", guards=[may_write], status_code=200)
async def enter_credits(
    request: Asked, service: Serving, customer_id: FromPath[str], entitlement_id: FromPath[str]
) -> Template | Redirect:
    """Add credits by hand, or take some out."""
    form, account = await read_form(request), (path_id(entitlement_id, WHAT), path_id(customer_id, "customer"))
    body = {name: form.text(name) for name in ("amount", "entry_type", "reason") if form.text(name)}
    if form.text("expires_on"):
        body["expires_at"] = f"{form.text('expires_on')}T00:00:00Z"
    try:
        data = read_as({"amount": "", **body}, credit_balances.EntryCreate)
        await add_entry(service, request.auth, credit_balances.order_of(data, *account))
    except (Invalid, Conflict, Insufficient) as error:
        _refuse(form, error)
        return await _credits(request, service, account, form, status=422)
    path = f"/dashboard/customers/{segment(account[1])}/credits/{segment(account[0])}"
    return Redirect(f"{path}?done=true", status_code=303)


def _refuse(form: Form, error: Refusal) -> None:
    """Note an error; one of no field is that there is not enough: of the amount."""
    if error.field is None:
        form.wrong("amount", error.message)
    else:
        form.refuse(error, expires_at="expires_on")


@get("/dashboard/customers/{customer_id:str}/wallet")
async def wallet_page(
    request: Asked,
    service: Serving,
    customer_id: FromPath[str],
    page_number: PageNumber = 0,
    done: FromQuery[bool] = False,
) -> Template:
    """A customer's wallets and what moved them."""
    form = Form(entry_type="credit", currency="USD")
    return await _wallet(request, service, path_id(customer_id, "customer"), form, page_number=page_number, done=done)


async def _wallet(
    request: Asked,
    service: Service,
    customer_id: str,
    form: Form,
    *,
    status: int = 200,
    page_number: int = 0,
    done: bool = False,
) -> Template:
    rows = page_rows(page_number, ENTRY_ROWS)
    async with reading(service, request.auth, latest=True) as known:
        await find_customer(known.database, known.tenant_id, customer_id)
        held = await wallets.wallets_of(known.database, known.tenant_id, customer_id)
        entries = await wallets.wallet_entries(known, customer_id)
    return page(
        request,
        "customers/wallet.html",
        title="Wallet",
        nav="customers",
        status=status,
        form=form,
        fields=FIELDS,
        customer_id=customer_id,
        wallets=held,
        done=WALLET_DONE if done else "",
        entries=entries[rows.offset : rows.offset + rows.size],
        page_number=page_number,
        has_more=len(entries) > rows.offset + rows.size,
    )


@post("/dashboard/customers/{customer_id:str}/wallet", guards=[may_write], status_code=200)
async def move_wallet(request: Asked, service: Serving, customer_id: FromPath[str]) -> Template | Redirect:
    """Pay into a wallet by hand, or take out."""
    form, customer_id = await read_form(request), path_id(customer_id, "customer")
    try:
        data = read_as(_wallet_body(form), wallets.WalletEntryCreate)
        await move_money(service, request.auth, wallets.order_of(data, customer_id))
    except (Invalid, Conflict, Insufficient) as error:
        _refuse(form, error)
        return await _wallet(request, service, customer_id, form, status=422)
    return Redirect(f"/dashboard/customers/{segment(customer_id)}/wallet?done=true", status_code=303)


def _wallet_body(form: Form) -> dict[str, Any]:
    """The body of the command: the amount in minor units. Raises ``Invalid``."""
    currency = form.text("currency").upper()
    try:
        decimals(currency)
    except UnknownCurrency as error:
        raise Invalid("currency", str(error)) from None
    reason = form.text("reason") or None
    amount = minor_of(form.text("amount"), currency, "amount")
    return {"amount": amount, "currency": currency, "entry_type": form.text("entry_type"), "reason": reason}


ROUTER = Router("/", route_handlers=[credit_choice, credits_page, enter_credits, wallet_page, move_wallet])
