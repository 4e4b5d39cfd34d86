"""Invoices as files: a PDF to send, CSV for a spreadsheet."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from litestar import Response, Router, get
from litestar.params import FromPath, FromQuery

from app.http.auth import requires
from app.http.reading import Asked, PageNumber, PageSize, Serving, page, path_id
from app.invoicing import SQL, Bill, bill_of, find_bill
from app.limits import PAGE_SIZE_MAX
from app.printing import csv_of, find_paid, page_for, pdf_of
from app.service import Service
from domain.invoice import Status

PDF, CSV = "application/pdf", "text/csv"

LIST_FILE = "invoices.csv"
"""What the lines of many invoices are saved as."""


def _file(content: bytes, media_type: str, name: str, *, shown: bool) -> Response[bytes]:
    """A file with its name: shown by a browser, or saved."""
    disposition = f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(name, safe='')}"
    return Response(content, media_type=media_type, headers={"content-disposition": disposition})


async def pdf_file(service: Service, tenant_id: str, bill: Bill) -> Response[bytes]:
    """An invoice's PDF under its number, shown by a browser."""
    async with service.pool.acquire() as connection:
        whole = await page_for(connection, tenant_id, bill)
    return _file(await pdf_of(whole), PDF, f"{bill.document.number}.pdf", shown=True)


async def csv_file(bills: Sequence[Bill], name: str) -> Response[bytes]:
    """The lines of invoices as CSV, saved by a browser under a name."""
    return _file(await csv_of(bills), CSV, name, shown=False)


@get("/invoices/{invoice_id:str}/pdf", guards=[requires("read")], media_type=PDF)
async def get_invoice_pdf(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Response[bytes]:
    """An invoice to print or to send.

    Company and customer stand on it as they were when it was issued: it is the same whenever it is asked for, but for
    the stamp of its status.
    """
    async with service.pool.acquire() as connection:
        bill = await find_bill(connection, request.auth.tenant_id, path_id(invoice_id, "invoice"))
    return await pdf_file(service, request.auth.tenant_id, bill)


@get("/invoices/payments/{payment_id:str}", guards=[requires("read")], media_type=PDF)
async def get_payment_invoice(request: Asked, service: Serving, payment_id: FromPath[str]) -> Response[bytes]:
    """The invoice of a payment as a PDF.

    The id is an invoice's with `pay_` for `inv_`; that which creating a subscription answered means its first invoice.
    """
    async with service.pool.acquire() as connection:
        bill = await find_paid(connection, request.auth.tenant_id, path_id(payment_id, "payment"))
    return await pdf_file(service, request.auth.tenant_id, bill)


@get("/invoices/{invoice_id:str}/lines.csv", guards=[requires("read")], media_type=CSV)
async def get_invoice_lines(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Response[bytes]:
    """The lines of an invoice as CSV (RFC 4180, UTF-8), one row each.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    async with service.pool.acquire() as connection:
        bill = await find_bill(connection, request.auth.tenant_id, path_id(invoice_id, "invoice"))
    return await csv_file([bill], f"{bill.document.number}.csv")


@get("/invoices.csv", guards=[requires("read")], media_type=CSV)
async def list_invoice_lines(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str | None] = None,
    subscription_id: FromQuery[str | None] = None,
    status: FromQuery[Status | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE_MAX,
) -> Response[bytes]:
    """The lines of invoices, newest invoice first, as CSV; a page counts invoices."""
    rows = page(page_number, page_size)
    where = (customer_id, subscription_id, status, rows.size, rows.offset)
    found = await service.pool.fetch(SQL["invoices"], request.auth.tenant_id, *where)
    return await csv_file([bill_of(row) for row in found], LIST_FILE)


ROUTER = Router(
    "/",
    route_handlers=[get_invoice_pdf, get_payment_invoice, get_invoice_lines, list_invoice_lines],
    tags=["Invoices"],
)
