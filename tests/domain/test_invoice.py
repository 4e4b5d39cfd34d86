"""Invoices: numbers without a gap, documents that never change, a status beside them, what the wallet pays."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from domain.errors import Conflict
from domain.invoice import (
    Document,
    Invoice,
    InvoiceNumbers,
    Issue,
    Status,
    Subject,
    assign_number,
    compose,
    number_text,
)
from domain.rating import Rated, TaxLine

AT = datetime(2026, 3, 10, tzinfo=UTC)
SUBJECT = Subject(
    customer_id="ada",
    subscription_id="sub_1",
    currency="USD",
    cycle=("2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z"),
)
ISSUE = Issue(invoice_id="inv_1", number="INV-000001", digest="00", issued_at="2026-03-10T00:00:00.000000Z")


def rated(subtotal: int, tax: int = 0) -> Rated:
    lines = (TaxLine(name="VAT", percent="20", amount=tax, included=False),) if tax else ()
    return Rated(lines=(), subtotal_amount=subtotal, tax_lines=lines, tax_amount=tax)


def document(subtotal: int = 0, tax: int = 0, *, wallet: int = 0, issue: Issue | None = ISSUE) -> Document:
    return compose(SUBJECT, rated(subtotal, tax), wallet_balance=wallet, position=7, issue=issue)


def issued() -> Invoice:
    return Invoice.issue("inv_1", document(), AT)


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
    invoice = issued()
    assert invoice.document.encode() == msgspec.json.encode(document())
    assert invoice.read() == document()


def test_an_estimate_is_the_same_document_without_a_number() -> None:
    estimate = document(issue=None)
    assert (estimate.number, estimate.digest, estimate.issued_at, estimate.position) == (None, None, None, 7)


@pytest.mark.parametrize(
    ("subtotal", "tax", "balance", "from_wallet", "total"),
    [
        (1000, 0, 0, 0, 1000),
        (1000, 0, 300, 300, 700),
        (1000, 200, 1100, 1100, 100),
        (1000, 0, 5000, 1000, 0),
        (0, 0, 5000, 0, 0),
        (-400, 0, 0, -400, 0),
        (-400, -80, 5000, -480, 0),
    ],
)
def test_the_wallet_pays_what_it_can_and_takes_what_is_owed(
    subtotal: int, tax: int, balance: int, from_wallet: int, total: int
) -> None:
    whole = document(subtotal, tax, wallet=balance)
    assert (whole.wallet_amount, whole.total_amount) == (from_wallet, total)
    assert whole.total_amount == whole.subtotal_amount + whole.tax_amount - whole.wallet_amount


def test_an_invoice_is_marked_paid_and_open_again() -> None:
    invoice = issued()
    invoice.mark(paid=True, at=AT)
    invoice.mark(paid=True, at=AT)
    assert (invoice.status, invoice.version) == (Status.paid, 2)
    invoice.mark(paid=False, at=AT)
    assert invoice.status is Status.open


def test_a_paid_invoice_is_not_voided() -> None:
    invoice = issued()
    invoice.mark(paid=True, at=AT)
    with pytest.raises(Conflict, match="mark it open before"):
        invoice.void("wrong address", AT)


def test_a_void_invoice_stays_void() -> None:
    invoice = issued()
    invoice.void("wrong address", AT)
    assert (invoice.status, invoice.document) == (Status.void, issued().document)
    for change in (lambda: invoice.void(None, AT), lambda: invoice.mark(paid=True, at=AT)):
        with pytest.raises(Conflict, match="is void"):
            change()
