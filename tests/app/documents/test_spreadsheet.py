"""The lines of invoices as CSV."""

from __future__ import annotations

import csv
import io

import pytest

from app.documents.spreadsheet import COLUMNS, lines_csv
from domain.invoice import Document
from tests.app.documents.sheets import document, line


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def csv_of(*documents: Document) -> bytes:
    return lines_csv([(document, "open") for document in documents])


def test_the_columns_are_for_ever() -> None:
    assert lines_csv([]) == (
        b"number,invoice_id,customer_id,subscription_id,currency,cycle_start,cycle_end,kind,product_id,meter_id,"
        b"description,consumed_units,free_units,credit_units,paid_units,price_per_unit,amount_minor,amount,"
        b"status,type,replaces,invoice_tax_amount,invoice_wallet_amount,invoice_total_amount\r\n"
    )


def test_a_row_is_a_line_of_its_invoice() -> None:
    found = rows(csv_of(document(line(), line(meter_id=None, amount=-1234)), document(line(), number="B-1")))
    assert [row["number"] for row in found] == ["INV-000042", "INV-000042", "B-1"]
    assert list(found[0]) == list(COLUMNS)
    assert list(found[0].values()) == [
        "INV-000042",
        "inv_1",
        "ada",
        "sub_1",
        "USD",
        "2026-03-01T00:00:00.000000Z",
        "2026-04-01T00:00:00.000000Z",
        "usage",
        "api",
        "calls",
        "API: Calls, 0.005 USD per call",
        "7",
        "2",
        "0",
        "5",
        "0.5",
        "3",
        "0.03",
        "open",
        "invoice",
        "",
        "0.00",
        "0.00",
        "-12.31",
    ]
    assert (found[1]["meter_id"], found[1]["amount_minor"], found[1]["amount"]) == ("", "-1234", "-12.34")


def test_an_adjustment_names_the_cycle_that_it_corrects() -> None:
    start, end = "2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z"
    (row,) = rows(csv_of(document(line(cycle_start=start, cycle_end=end))))
    assert (row["cycle_start"], row["cycle_end"]) == (start, end)


@pytest.mark.parametrize("text", ['say "hi"', "a,b", "two\r\nlines", "tr\u00e4ge \u6f22", "a=b", " =1"])
def test_a_text_comes_back_as_it_was(text: str) -> None:
    (row,) = rows(csv_of(document(line(description=text))))
    assert row["description"] == text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_text_is_never_a_formula(text: str) -> None:
    (row,) = rows(csv_of(document(line(description=text), customer_id=text, number=text)))
    assert row["description"] == row["customer_id"] == row["number"] == f"'{text}"


def test_a_negative_number_stays_a_number() -> None:
    (row,) = rows(csv_of(document(line(consumed_units="-5", amount=-1))))
    assert (row["consumed_units"], row["amount_minor"]) == ("-5", "-1")
