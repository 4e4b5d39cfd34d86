"""The invoices pages: what was issued, what happens to it, and what is to be issued next."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Redirect, Stream, Template

from app.billing import estimate
from app.dashboard.event_search import SQL as OWN_SQL
from app.dashboard.event_trail import CATALOG
from app.dashboard.forms import Form, read_form
from app.dashboard.invoice_lines import shown_document
from app.dashboard.page import curl_command, fragment, may_write, page
from app.http.invoice_files import LIST_FILE, csv_file, pdf_file
from app.http.invoice_proof import JSON_LINES, proof_file
from app.http.invoices import read_reason
from app.http.problems import STATUS
from app.http.reading import Asked, PageNumber, Serving, path_id, read_instant
from app.http.reading import page as page_rows
from app.invoicing import SQL, Bill, bill_of, find_bill, mark, void
from app.limits import PAGE_SIZE_MAX
from app.printing import page_for
from app.service import Service
from domain.errors import Conflict, Invalid
from domain.invoice import DocumentType, Status

LIST_ROWS = 25
"""Invoices on a page."""

NEXT_ROWS = 10
"""Subscriptions on a page of estimates: each is computed when its row comes into view."""

TONES = {"open": "info", "paid": "good", "void": "quiet"}
"""How the pill of a status looks."""

TYPES = {
    DocumentType.invoice: "Invoice",
    DocumentType.adjustment: "Adjustment invoice",
    DocumentType.credit_note: "Credit note",
}
"""What a document is, in words."""

DONE = {
    "mark-paid": "The invoice is marked paid.",
    "mark-open": "The invoice is open again.",
    "void": "The invoice is void. Its cycle is invoiced again after the grace period, or when it is closed by hand.",
}
"""What a form has done, told after it."""

StatusAsked: TypeAlias = Annotated[str, QueryParameter(pattern="^(open|paid|void)?$")]
"""A status; empty for any."""


@get("/dashboard/invoices")
async def invoice_list(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str] = "",
    status: StatusAsked = "",
    page_number: PageNumber = 0,
) -> Template:
    """Invoices, newest first."""
    form = Form(customer_id=customer_id.strip(), status=status)
    rows = page_rows(page_number, LIST_ROWS)
    where = (form.text("customer_id") or None, None, status or None)
    found = await service.pool.fetch(SQL["invoices"], request.auth.tenant_id, *where, rows.size + 1, rows.offset)
    return page(
        request,
        "invoices/list.html",
        title="Invoices",
        nav="invoices",
        form=form,
        bills=[bill_of(row) for row in found[: rows.size]],
        page_number=page_number,
        has_more=len(found) > rows.size,
        query={name: form.text(name) for name in ("customer_id", "status") if form.text(name)},
        tones=TONES,
        types=TYPES,
        curl=curl_command(request, "POST", "/cycles/close-due"),
    )


@get("/dashboard/invoices.csv", media_type="text/csv")
async def invoice_list_csv(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str] = "",
    status: StatusAsked = "",
    page_number: PageNumber = 0,
) -> Response[bytes]:
    """The lines of the newest invoices as CSV: as many as a page of the API."""
    rows = page_rows(page_number, PAGE_SIZE_MAX)
    where = (customer_id or None, None, status or None, rows.size, rows.offset)
    found = await service.pool.fetch(SQL["invoices"], request.auth.tenant_id, *where)
    return await csv_file([bill_of(row) for row in found], LIST_FILE)


@get("/dashboard/invoices/{invoice_id:str}")
async def invoice_page(
    request: Asked, service: Serving, invoice_id: FromPath[str], done: FromQuery[str] = ""
) -> Template:
    """One invoice, each line explained."""
    return await _invoice(request, service, path_id(invoice_id, "invoice"), Form(), done=DONE.get(done, ""))


async def _invoice(
    request: Asked, service: Service, invoice_id: str, form: Form, status: int = 200, done: str = ""
) -> Template:
    tenant_id = request.auth.tenant_id
    async with service.pool.acquire() as connection:
        bill = await find_bill(connection, tenant_id, invoice_id)
        document = bill.document
        printed = await page_for(connection, tenant_id, bill)
        replacing = None
        if bill.status == Status.void:
            where = (tenant_id, document.subscription_id, invoice_id)
            replacing = await connection.fetchrow(OWN_SQL["replacing_invoice"], *where)
        shown = await shown_document(connection, tenant_id, document)
    return page(
        request,
        "invoices/invoice.html",
        title=f"{TYPES[document.type]} {document.number}",
        nav="invoices",
        status=status,
        bill=bill,
        buyer=printed.buyer,
        remarks=printed.remarks,
        replacing=replacing,
        form=form,
        done=done,
        tones=TONES,
        **shown,
    )


@post("/dashboard/invoices/{invoice_id:str}/mark-paid", guards=[may_write], status_code=200)
async def mark_paid(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Template | Redirect:
    """Mark an invoice paid."""
    return await _mark(request, service, path_id(invoice_id, "invoice"), paid=True)


@post("/dashboard/invoices/{invoice_id:str}/mark-open", guards=[may_write], status_code=200)
async def mark_open(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Template | Redirect:
    """Take back that an invoice is paid."""
    return await _mark(request, service, path_id(invoice_id, "invoice"), paid=False)


async def _mark(request: Asked, service: Service, invoice_id: str, *, paid: bool) -> Template | Redirect:
    form = Form()
    try:
        await mark(service, request.auth, invoice_id, paid=paid)
    except Conflict as error:
        form.refuse(error)
        return await _invoice(request, service, invoice_id, form, STATUS[type(error)])
    return _back(invoice_id, "mark-paid" if paid else "mark-open")


def _back(invoice_id: str, done: str) -> Redirect:
    return Redirect(f"/dashboard/invoices/{invoice_id}?done={done}", status_code=303)


@post("/dashboard/invoices/{invoice_id:str}/void", guards=[may_write], status_code=200)
async def void_invoice(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Template | Redirect:
    """Void an open invoice, with a reason when there is one."""
    invoice_id, form = path_id(invoice_id, "invoice"), await read_form(request)
    try:
        if not form.checked("sure"):
            raise Invalid("sure", "tick the box to void the invoice; it cannot be taken back")
        await void(service, request.auth, invoice_id, read_reason(form.text("reason") or None))
    except (Conflict, Invalid) as error:
        form.refuse(error)
        return await _invoice(request, service, invoice_id, form, STATUS[type(error)])
    return _back(invoice_id, "void")


@get("/dashboard/invoices/{invoice_id:str}/pdf", media_type="application/pdf")
async def invoice_pdf(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Response[bytes]:
    """An invoice to print or to send."""
    return await pdf_file(service, request.auth.tenant_id, await _bill(request, service, invoice_id))


@get("/dashboard/invoices/{invoice_id:str}/lines.csv", media_type="text/csv")
async def invoice_csv(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Response[bytes]:
    """The lines of an invoice as CSV."""
    bill = await _bill(request, service, invoice_id)
    return await csv_file([bill], f"{bill.document.number}.csv")


@get("/dashboard/invoices/{invoice_id:str}/proof", media_type=JSON_LINES)
async def invoice_proof(request: Asked, service: Serving, invoice_id: FromPath[str]) -> Stream:
    """An invoice with everything that proves it, up to the log's end."""
    return await proof_file(request, service, invoice_id)


async def _bill(request: Asked, service: Service, invoice_id: str) -> Bill:
    async with service.pool.acquire() as connection:
        return await find_bill(connection, request.auth.tenant_id, path_id(invoice_id, "invoice"))


@get("/dashboard/invoices/next")
async def next_list(
    request: Asked, service: Serving, customer_id: FromQuery[str] = "", page_number: PageNumber = 0
) -> Template:
    """The subscriptions that are to be invoiced next, newest first; each row asks for its estimate by itself."""
    rows, wanted = page_rows(page_number, NEXT_ROWS), customer_id.strip()
    where = (wanted or None, None, "active", None, None, None, rows.size + 1, rows.offset)
    found = await service.pool.fetch(CATALOG["subscriptions"], request.auth.tenant_id, *where)
    return page(
        request,
        "invoices/next.html",
        title="Next invoices",
        nav="invoices",
        form=Form(customer_id=wanted),
        rows=found[: rows.size],
        page_number=page_number,
        has_more=len(found) > rows.size,
        query={"customer_id": wanted} if wanted else {},
    )


@get("/dashboard/invoices/next/{subscription_id:str}/total")
async def next_total(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template:
    """The cells of a row of the list: the cycle and what it comes to so far, or why there is no estimate."""
    found: dict[str, Any] = {"document": None, "problem": ""}
    try:
        found["document"] = await estimate(service, request.auth, path_id(subscription_id, "subscription"))
    except Conflict as error:
        found["problem"] = error.message
    return fragment(request, "invoices/total.html", **found)


@get("/dashboard/invoices/next/{subscription_id:str}")
async def next_invoice(
    request: Asked, service: Serving, subscription_id: FromPath[str], cycle_start: FromQuery[str | None] = None
) -> Template:
    """The invoice that closing the cycle would give if nothing more were recorded, each line explained."""
    subscription_id = path_id(subscription_id, "subscription")
    document = await estimate(service, request.auth, subscription_id, read_instant(cycle_start, "cycle_start"))
    async with service.pool.acquire() as connection:
        shown = await shown_document(connection, request.auth.tenant_id, document)
    return page(request, "invoices/preview.html", title="Next invoice", nav="invoices", asked=request.url.path, **shown)


ROUTER = Router(
    "/",
    route_handlers=[
        invoice_list,
        invoice_list_csv,
        next_list,
        next_total,
        next_invoice,
        invoice_page,
        mark_paid,
        mark_open,
        void_invoice,
        invoice_pdf,
        invoice_csv,
        invoice_proof,
    ],
)
