"""Invoices: numbers without a gap, documents that never change."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from domain.invoice import Document, Invoice, InvoiceNumbers, assign_number, compose, number_text
from domain.rating import Rated

AT = datetime(2026, 3, 10, tzinfo=UTC)


def document(**more: str) -> Document:
    return compose(
        customer_id="ada",
        subscription_id="sub_1",
        currency="USD",
        cycle=("2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z"),
        rated=Rated(lines=(), subtotal_amount=0, total_amount=0),
        position=7,
        **more,
    )


def test_numbers_are_the_versions_of_their_stream() -> None:
    first, opening = assign_number(0, "inv_1", AT)
    second, following = assign_number(1, "inv_2", AT)
    assert (first, second) == (1, 2)
    numbers = following.mutate(opening.mutate(None))
    assert isinstance(numbers, InvoiceNumbers)
    assert (numbers.version, numbers.invoice_id) == (2, "inv_2")


def test_a_number_has_the_tenants_prefix_and_never_loses_digits() -> None:
    assert number_text("INV-", 7) == "INV-000007"
    assert number_text("", 12_345_678) == "12345678"


def test_the_document_is_kept_as_the_bytes_that_were_issued() -> None:
    issued = document(invoice_id="inv_1", number="INV-000001", digest="00", issued_at="2026-03-10T00:00:00.000000Z")
    invoice = Invoice.issue("inv_1", issued, AT)
    assert invoice.document.encode() == msgspec.json.encode(issued)
    assert invoice.read() == issued


def test_an_estimate_is_the_same_document_without_a_number() -> None:
    estimate = document()
    assert (estimate.number, estimate.digest, estimate.issued_at, estimate.position) == (None, None, None, 7)
