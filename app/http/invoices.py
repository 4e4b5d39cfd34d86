"""Estimates, closing cycles, invoices."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery

from app.billing import close_cycle, estimate
from app.due import close_due
from app.http.auth import requires
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    AsOfQuery,
    PageNumber,
    PageSize,
    Position,
    Serving,
    check_known,
    members,
    page,
    path_id,
    read_as_of,
    read_instant,
)
from app.invoicing import SQL, Bill, bill_of, find_bill, mark, void
from app.limits import REASON_MAX_CHARS
from app.projecting import wait_for
from domain.errors import Invalid
from domain.invoice import Document, Status


class InvoiceList(msgspec.Struct):
    """A page of invoices, newest first."""

    items: list[Any]


class ClosedList(msgspec.Struct):
    """The invoices that closing everything due has made."""

    closed_count: int
    items: list[Any]


def answer(bill: Bill) -> dict[str, Any]:
    """An invoice on the wire: the document's fields as they were issued, and the status of today."""
    return {"status": bill.status, **msgspec.to_builtins(bill.document)}


def read_reason(value: object) -> str | None:
    """Why an invoice is voided, which need not be told. Raises ``Invalid``."""
    if value is None or (isinstance(value, str) and 1 <= len(value) <= REASON_MAX_CHARS):
        return value
    raise Invalid("reason", f"must be a text of 1 to {REASON_MAX_CHARS} characters")


@get("/subscriptions/{subscription_id:str}/estimate", guards=[requires("read")])
async def get_estimate(
    request: Asked,
    service: Serving,
    subscription_id: FromPath[str],
    cycle_start: FromQuery[str | None] = None,
    at_least: Position = 0,
    as_of: AsOfQuery = None,
) -> Document:
    """What the cycle would be invoiced if nothing more were recorded; by default the earliest that is not closed.

    ``at_least`` waits until so much of the log is counted. ``as_of`` asks what was known earlier; the answer's
    ``position`` says where.
    """
    await wait_for(service, request.auth.tenant_id, at_least)
    return await estimate(
        service,
        request.auth,
        path_id(subscription_id, "subscription"),
        read_instant(cycle_start, "cycle_start"),
        read_as_of(as_of),
    )


@post("/subscriptions/{subscription_id:str}/close-cycle", status_code=200, guards=[requires("write")])
async def post_close_cycle(request: Asked, service: Serving, subscription_id: FromPath[str]) -> dict[str, Any]:
    """Close the earliest cycle that is not closed, or the one with the body's ``cycle_start``; answers its invoice."""
    check_known(members(request), ("cycle_start",))
    start = members(request).get("cycle_start")
    if "cycle_start" in members(request) and not isinstance(start, str):
        raise Invalid("cycle_start", "must be an RFC 3339 timestamp")
    bill = await close_cycle(
        service,
        request.auth,
        path_id(subscription_id, "subscription"),
        read_instant(start, "cycle_start"),
    )
    return answer(bill)


@post("/cycles/close-due", status_code=200, guards=[requires("write")])
async def post_close_due(request: Asked, service: Serving) -> ClosedList:
    """Close every cycle whose grace period has passed."""
    items = [answer(bill) async for bill in close_due(service, request.auth)]
    return ClosedList(len(items), items)


@get("/invoices", guards=[requires("read")])
async def list_invoices(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str | None] = None,
    subscription_id: FromQuery[str | None] = None,
    status: FromQuery[Status | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> InvoiceList:
    """Invoices, newest first."""
    rows = page(page_number, page_size)
    where = (customer_id, subscription_id, status, rows.size, rows.offset)
    found = await service.pool.fetch(SQL["invoices"], request.auth.tenant_id, *where)
    return InvoiceList([answer(bill_of(row)) for row in found])


@get("/invoices/{invoice_id:str}", guards=[requires("read")])
async def get_invoice(request: Asked, service: Serving, invoice_id: FromPath[str]) -> dict[str, Any]:
    """One invoice."""
    async with service.pool.acquire() as connection:
        return answer(await find_bill(connection, request.auth.tenant_id, path_id(invoice_id, "invoice")))


@post("/invoices/{invoice_id:str}/mark-paid", status_code=200, guards=[requires("write")])
async def mark_invoice_paid(request: Asked, service: Serving, invoice_id: FromPath[str]) -> dict[str, Any]:
    """Mark an invoice paid."""
    check_known(members(request), ())
    return answer(await mark(service, request.auth, path_id(invoice_id, "invoice"), paid=True))


@post("/invoices/{invoice_id:str}/mark-open", status_code=200, guards=[requires("write")])
async def mark_invoice_open(request: Asked, service: Serving, invoice_id: FromPath[str]) -> dict[str, Any]:
    """Take back that an invoice is paid."""
    check_known(members(request), ())
    return answer(await mark(service, request.auth, path_id(invoice_id, "invoice"), paid=False))


@post("/invoices/{invoice_id:str}/void", status_code=200, guards=[requires("write")])
async def void_invoice(request: Asked, service: Serving, invoice_id: FromPath[str]) -> dict[str, Any]:
    """Void an open invoice. Its cycle is invoiced again after the grace period, or when it is closed by hand."""
    given = members(request)
    check_known(given, ("reason",))
    reason = read_reason(given.get("reason"))
    return answer(await void(service, request.auth, path_id(invoice_id, "invoice"), reason))


ROUTER = Router(
    "/",
    route_handlers=[
        get_estimate,
        post_close_cycle,
        post_close_due,
        list_invoices,
        get_invoice,
        mark_invoice_paid,
        mark_invoice_open,
        void_invoice,
    ],
    tags=["Invoices"],
)
