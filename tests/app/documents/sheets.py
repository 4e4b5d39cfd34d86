"""Invoices to print, with whatever a test wants different, and what a reader sees of them."""

from __future__ import annotations

import base64
import io
from typing import Any

import pypdfium2
from PIL import Image

from app.documents.page import Buyer, Page, page_of
from domain.invoice import Document
from domain.rating import Line, LineKind

COMPANY = {
    "name": "Example Metering GmbH",
    "address": "Unter den Linden 1\n10117 Berlin\n\nGermany",
    "tax_id": "DE123456789",
    "email": "billing@example.com",
    "phone": "+49 30 1234567",
    "website": "example.com",
}
BUYER = Buyer(
    customer_id="ada",
    time_zone="UTC",
    personal={"name": "Ada Lovelace Ltd", "email": "ada@example.org"},
    billing={"street": "12 St James's Square", "city": "London", "zipcode": "SW1Y 4JH", "country": "GB"},
)


def line(**changes: Any) -> Line:
    """Seven calls, two of them free."""
    fields: dict[str, Any] = {
        "kind": LineKind.usage,
        "product_id": "api",
        "meter_id": "calls",
        "description": "API: Calls, 0.005 USD per call",
        "consumed_units": "7",
        "free_units": "2",
        "credit_units": "0",
        "paid_units": "5",
        "price_per_unit": "0.5",
        "amount": 3,
    }
    return Line(**(fields | changes))


def document(*lines: Line, **changes: Any) -> Document:
    """An issued invoice of March."""
    subtotal = sum(one.amount for one in lines)
    fields: dict[str, Any] = {
        "invoice_id": "inv_1",
        "number": "INV-000042",
        "customer_id": "ada",
        "subscription_id": "sub_1",
        "currency": "USD",
        "cycle_start": "2026-03-01T00:00:00.000000Z",
        "cycle_end": "2026-04-01T00:00:00.000000Z",
        "lines": lines,
        "subtotal_amount": subtotal,
        "wallet_amount": 0,
        "tax_amount": 0,
        "total_amount": subtotal,
        "position": 12345,
        "digest": "ab12cd34" * 8,
        "issued_at": "2026-04-01T01:00:00.000000Z",
    }
    return Document(**(fields | changes))


def page(*lines: Line, status: str = "open", company: Any = COMPANY, buyer: Buyer = BUYER, **changes: Any) -> Page:
    """The page of an invoice with these lines."""
    return page_of(document(*lines, **changes), status, company, buyer, None)


def texts(pdf: bytes) -> list[str]:
    """The text of every page, white space made single."""
    opened = pypdfium2.PdfDocument(pdf)
    try:
        return [" ".join(one.get_textpage().get_text_range().split()) for one in opened]
    finally:
        opened.close()


def logo(width: int = 4, height: int = 2, form: str = "PNG") -> str:
    """A picture as a data URI."""
    content = io.BytesIO()
    Image.new("RGB", (width, height), (30, 90, 200)).save(content, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"
