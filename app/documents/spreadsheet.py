"""Invoices as rows for a spreadsheet: CSV as in RFC 4180, one row per line, the same columns for ever.

New columns are only added at the end.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from domain.invoice import Document
from domain.money import major_text
from domain.rating import Line

COLUMNS = (
    "number",
    "invoice_id",
    "customer_id",
    "subscription_id",
    "currency",
    "cycle_start",
    "cycle_end",
    "kind",
    "product_id",
    "meter_id",
    "description",
    "consumed_units",
    "free_units",
    "credit_units",
    "paid_units",
    "price_per_unit",
    "amount_minor",
    "amount",
    "status",
    "type",
    "replaces",
    "invoice_tax_amount",
    "invoice_wallet_amount",
    "invoice_total_amount",
)
"""``price_per_unit`` and ``amount_minor`` are in minor units, all other amounts in major ones.

What begins with ``invoice_`` is of the whole invoice and stands on each of its rows; a sum over rows leaves it out, and
those whose ``status`` is void.
"""

_CALCULATES = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""


def lines_csv(documents: Iterable[tuple[Document, str]]) -> bytes:
    """Every line of these invoices, each with its status, under one head. UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for document, status in documents:
        for line in document.lines:
            writer.writerow([*_cells(document, line), status, *_of_invoice(document)])
    return text.getvalue().encode()


def _cells(document: Document, line: Line) -> Iterator[str]:
    texts = (
        document.number or "",
        document.invoice_id or "",
        document.customer_id,
        document.subscription_id,
        document.currency,
        line.cycle_start or document.cycle_start,
        line.cycle_end or document.cycle_end,
        line.kind,
        line.product_id,
        line.meter_id or "",
        line.description,
    )
    yield from map(harmless, texts)
    yield from (line.consumed_units, line.free_units, line.credit_units, line.paid_units, line.price_per_unit)
    yield str(line.amount)
    yield major_text(line.amount, document.currency)


def _of_invoice(document: Document) -> Iterator[str]:
    yield document.type
    yield document.replaces or ""
    for amount in (document.tax_amount, document.wallet_amount, document.total_amount):
        yield major_text(amount, document.currency)


def harmless(text: str) -> str:
    """Somebody else's text with an apostrophe before what a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_CALCULATES) else text
