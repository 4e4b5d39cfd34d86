"""What stands on an invoice's page."""

from __future__ import annotations

import pytest

from app.documents.page import Buyer, grouped, page_of, span_text
from domain.invoice import DocumentType
from domain.money import DECIMALS
from domain.rating import Computation, LineKind, TaxLine
from domain.tier import TierUse
from tests.app.documents.sheets import BUYER, COMPANY, document, line, page


def test_it_names_who_sends_it_and_who_gets_it() -> None:
    shown = page(line())
    assert shown.seller.name == "Example Metering GmbH"
    assert shown.seller.details == (
        "Unter den Linden 1",
        "10117 Berlin",
        "Germany",
        "Tax id: DE123456789",
        "billing@example.com",
        "+49 30 1234567",
        "example.com",
    )
    assert shown.buyer.name == "Ada Lovelace Ltd"
    assert shown.buyer.details == ("12 St James's Square", "SW1Y 4JH London", "GB", "ada@example.org")


def test_an_erased_customer_is_an_id_and_a_silent_company_is_nothing() -> None:
    shown = page(line(), company={}, buyer=Buyer("ada", "UTC", {}, {}))
    assert (shown.buyer.name, shown.buyer.details) == ("ada", ("Personal data erased",))
    assert (shown.seller.name, shown.seller.details, shown.logo) == ("", (), None)


def test_fields_of_another_type_in_a_billing_address_are_shown_as_text_or_not_at_all() -> None:
    shown = page(buyer=Buyer("ada", "UTC", {"name": None}, {"street": 5, "city": None, "state": "CA"}))
    assert (shown.buyer.name, shown.buyer.details) == ("ada", ("5", "CA"))


def test_it_names_what_can_be_proven() -> None:
    shown = page(line())
    assert shown.proof == "Log position 12345, digest ab12cd34ab12cd34"
    assert dict(shown.facts) == {
        "Number": "INV-000042",
        "Issued": "2026-04-01",
        "Period": "2026-03-01 to 2026-03-31",
        "Customer": "ada",
        "Subscription": "sub_1",
    }


def test_a_line_shows_paid_units_and_below_them_what_was_not_paid() -> None:
    (row,) = page(line(consumed_units="1234567.5", free_units="1000", paid_units="1233567.5", amount=616784)).rows
    assert (row.quantity, row.unit_price, row.amount) == ("1,233,567.5", "0.005", "6,167.84")
    assert row.notes == ("Used 1,234,567.5 = 1,000 free, 1,233,567.5 to pay",)
    (row,) = page(line(free_units="0", credit_units="3", paid_units="4")).rows
    assert row.notes == ("Used 7 = 3 in credits, 4 to pay",)


def test_a_line_that_is_paid_whole_needs_no_note() -> None:
    fixed = line(kind=LineKind.fixed, consumed_units="2", free_units="0", paid_units="2", price_per_unit="4900")
    (row,) = page(fixed).rows
    assert (row.quantity, row.unit_price, row.notes) == ("2", "49.00", ())


def test_tiers_and_packages_are_shown_step_by_step() -> None:
    tiers = (
        TierUse(up_to="1000", units="1000", price_per_unit="0.5", fixed_price=100, amount="600"),
        TierUse(up_to=None, units="0.5", price_per_unit="0.25", fixed_price=0, amount="0.125"),
    )
    (row,) = page(line(consumed_units="1000.5", free_units="0", paid_units="1000.5", tiers=tiers)).rows
    assert row.notes == (
        "Up to 1,000: 1,000 \u00d7 0.005 + 1.00 = 6.00",
        "Above: 0.5 \u00d7 0.0025 = 0.00125",
    )
    (row,) = page(line(consumed_units="5", free_units="0", package_size="1000")).rows
    assert row.notes == ("Sold in packages of 1,000",)


def test_an_adjustment_shows_both_computations() -> None:
    before = Computation(consumed_units="10", free_units="2", credit_units="0", paid_units="8", amount=400)
    after = Computation(consumed_units="0", free_units="0", credit_units="0", paid_units="0", amount=0)
    adjustment = line(kind=LineKind.adjustment, paid_units="-8", amount=-400, before=before, after=after)
    (row,) = page(adjustment).rows
    assert (row.quantity, row.amount) == ("-8", "-4.00")
    assert row.notes == ("Invoiced before: 10 = 2 free, 8 to pay; 4.00", "As known now: 0; 0.00")


def test_added_tax_comes_before_the_total_and_contained_tax_after_it() -> None:
    taxes = (
        TaxLine(name="VAT", percent="19", amount=190, included=False),
        TaxLine(name="Levy", percent="2.5", amount=24, included=True),
    )
    shown = page(line(amount=1000), tax_lines=taxes, tax_amount=190, wallet_amount=90, total_amount=1100)
    assert [(entry.label, entry.amount, entry.strong) for entry in shown.sums] == [
        ("Subtotal", "10.00", False),
        ("VAT 19%", "1.90", False),
        ("Paid from wallet", "-0.90", False),
        ("Total USD", "11.00", True),
        ("Contains Levy 2.5%", "0.24", False),
    ]


def test_a_credit_note_says_where_the_money_goes() -> None:
    shown = page(line(amount=-500), type=DocumentType.credit_note, wallet_amount=-500, total_amount=0)
    assert shown.title == "Credit note"
    assert [(entry.label, entry.amount) for entry in shown.sums] == [
        ("Subtotal", "-5.00"),
        ("Credited to wallet", "5.00"),
        ("Total USD", "0.00"),
    ]
    assert shown.remarks == ("The amount credited to the wallet is taken off later invoices.",)


@pytest.mark.parametrize(("status", "stamp"), [("open", None), ("paid", "PAID"), ("void", "VOID")])
def test_only_a_status_that_changes_something_is_stamped(status: str, stamp: str | None) -> None:
    shown = page(line(), status=status)
    assert shown.stamp == stamp
    assert bool(shown.remarks) == (status == "void")


def test_a_new_issue_names_the_number_it_replaces() -> None:
    shown = page_of(document(line(), replaces="inv_0"), "open", COMPANY, BUYER, "INV-000041")
    assert dict(shown.facts)["Replaces"] == "INV-000041"


@pytest.mark.parametrize("currency", sorted(DECIMALS))
def test_every_currency_has_its_own_decimals(currency: str) -> None:
    shown = page(line(amount=-1234567), currency=currency)
    places = DECIMALS[currency]
    assert shown.rows[0].amount == {0: "-1,234,567", 2: "-12,345.67", 3: "-1,234.567", 4: "-123.4567"}[places]
    assert shown.rows[0].unit_price == {0: "0.5", 2: "0.005", 3: "0.0005", 4: "0.00005"}[places]


@pytest.mark.parametrize(
    ("plain", "shown"),
    [("0", "0"), ("999", "999"), ("1000", "1,000"), ("-1000.25", "-1,000.25"), ("-0.5", "-0.5"), ("-999", "-999")],
)
def test_thousands_are_parted_and_nothing_else(plain: str, shown: str) -> None:
    assert grouped(plain) == shown


@pytest.mark.parametrize(
    ("start", "end", "zone", "shown"),
    [
        ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "UTC", "2026-03-01 to 2026-03-01"),
        (
            "2026-02-28T23:00:00Z",
            "2026-03-31T22:00:00Z",
            "Europe/Berlin",
            "2026-03-01 to 2026-03-31 (Europe/Berlin)",
        ),
        # Beirut had no midnight on 29 March 2026: the day began at one o'clock.
        (
            "2026-02-28T22:00:00Z",
            "2026-03-28T22:00:00Z",
            "Asia/Beirut",
            "2026-03-01 to 2026-03-28 (Asia/Beirut)",
        ),
        (
            "2026-03-10T12:00:00Z",
            "2026-04-10T12:00:00.5Z",
            "UTC",
            "2026-03-10 12:00:00 UTC until 2026-04-10 12:00:00.500000 UTC",
        ),
        (
            "2026-03-01T00:00:00Z",
            "2026-03-15T08:30:00Z",
            "UTC",
            "2026-03-01 00:00:00 UTC until 2026-03-15 08:30:00 UTC",
        ),
    ],
)
def test_a_span_of_whole_days_is_shown_as_days(start: str, end: str, zone: str, shown: str) -> None:
    assert span_text(start, end, zone) == shown
