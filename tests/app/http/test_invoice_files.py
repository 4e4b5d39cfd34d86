"""Invoices as files, through the whole HTTP application."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Any

import dodopayments
import httpx
import pytest

from tests.app.documents.sheets import COMPANY, logo, texts


@pytest.fixture
async def invoice(api: Any, make: Any) -> dict[str, Any]:
    """A closed cycle of a company's customer."""
    assert (await api.patch("/settings", json={"company": COMPANY, "number_prefix": "A/\u00fc "})).status_code == 200
    meter = await make.meter()
    product = await make.product(meter["id"])
    await make.customer(customer_id="ada", name="Ada Lovelace Ltd")
    billing = {"street": "1 Road", "city": "Springfield", "state": "IL", "zipcode": "62701", "country": "US"}
    made = await make.subscription("ada", product["product_id"], billing=billing)
    await api.ingest(*(make.event(number) for number in range(7)))
    await api.project()
    api.clock.advance(days=30)
    closed = await api.post(f"/subscriptions/{made['subscription_id']}/close-cycle")
    assert closed.status_code == 200, closed.text
    return closed.json()


async def pdf_text(api: Any, path: str) -> str:
    answered = await api.get(path)
    assert answered.status_code == 200, answered.text
    assert answered.headers["content-type"] == "application/pdf"
    return " ".join(texts(answered.content))


async def test_an_invoice_is_a_pdf(api: Any, invoice: dict[str, Any]) -> None:
    answered = await api.get(f"/invoices/{invoice['invoice_id']}.pdf")
    assert answered.headers["content-disposition"] == "inline; filename*=UTF-8''A%2F%C3%BC%20000001.pdf"
    (text,) = texts(answered.content)
    for part in (
        "A/\u00fc 000001",
        "Example Metering GmbH",
        "Ada Lovelace Ltd",
        "62701 Springfield, IL",
        "2026-03-01 to 2026-03-31",
        "Used 7 = 2 free, 5 to pay",
        "Total USD 5.03",
        f"Log position {invoice['position']}, digest {invoice['digest'][:16]}",
    ):
        assert part in text, text


async def test_it_stays_the_same_whatever_changes_later(api: Any, invoice: dict[str, Any]) -> None:
    path = f"/invoices/{invoice['invoice_id']}.pdf"
    before = await api.get(path)
    api.clock.advance(days=1)
    changed = {**COMPANY, "name": "Another Ltd", "logo": logo()}
    assert (await api.patch("/settings", json={"company": changed, "number_prefix": "B"})).status_code == 200
    moved = {"name": "Countess", "time_zone": "Asia/Tokyo"}
    assert (await api.patch("/customers/ada", json=moved)).status_code == 200
    subscription = f"/subscriptions/{invoice['subscription_id']}"
    assert (await api.patch(subscription, json={"billing": {"country": "DE"}})).status_code == 200
    assert (await api.get(path)).content == before.content


async def test_an_erased_customer_has_no_name_on_it(api: Any, invoice: dict[str, Any]) -> None:
    await api.service.pool.execute(
        "update kept.customer_key set secret = null where tenant_id = $1", api.caller.tenant_id
    )
    text = await pdf_text(api, f"/invoices/{invoice['invoice_id']}.pdf")
    assert "Bill to ada" in text
    assert "Lovelace" not in text
    assert "Springfield" not in text


async def test_its_status_is_stamped_on_it(api: Any, invoice: dict[str, Any]) -> None:
    path = f"/invoices/{invoice['invoice_id']}"
    assert "PAID" not in await pdf_text(api, f"{path}.pdf")
    assert (await api.post(f"{path}/mark-paid")).status_code == 200
    assert "PAID" in await pdf_text(api, f"{path}.pdf")
    assert (await api.post(f"{path}/mark-open")).status_code == 200
    assert (await api.post(f"{path}/void")).status_code == 200
    assert "VOID" in await pdf_text(api, f"{path}.pdf")


async def test_a_new_issue_names_the_number_of_the_void_one(api: Any, invoice: dict[str, Any]) -> None:
    assert (await api.post(f"/invoices/{invoice['invoice_id']}/void")).status_code == 200
    again = await api.post(
        f"/subscriptions/{invoice['subscription_id']}/close-cycle", json={"cycle_start": invoice["cycle_start"]}
    )
    assert again.status_code == 200, again.text
    text = await pdf_text(api, f"/invoices/{again.json()['invoice_id']}.pdf")
    assert "Replaces A/\u00fc 000001" in text


async def test_the_taxes_in_force_are_on_it(api: Any, make: Any) -> None:
    taxes = [{"name": "VAT", "percent": "19"}, {"name": "Levy", "percent": "1.50", "included": True}]
    assert (await api.patch("/settings", json={"tax_lines": taxes})).status_code == 200
    await make.customer(customer_id="ada")
    product = await make.product()
    made = await make.subscription("ada", product["product_id"])
    api.clock.advance(days=30)
    closed = (await api.post(f"/subscriptions/{made['subscription_id']}/close-cycle")).json()
    assert (closed["subtotal_amount"], closed["tax_amount"], closed["total_amount"]) == (500, 95, 595)
    text = await pdf_text(api, f"/invoices/{closed['invoice_id']}.pdf")
    assert "VAT 19% 0.95 Total USD 5.95 Contains Levy 1.5% 0.07" in text


@pytest.mark.parametrize("what", ["invoice", "subscription"])
async def test_a_payment_is_the_invoice_of_the_same_name(api: Any, invoice: dict[str, Any], what: str) -> None:
    whole = (await api.get(f"/invoices/{invoice['invoice_id']}.pdf")).content
    suffix = invoice[f"{what}_id"].partition("_")[2]
    assert (await api.get(f"/invoices/payments/pay_{suffix}")).content == whole


async def test_a_subscriptions_payment_is_its_first_invoice_that_holds(api: Any, invoice: dict[str, Any]) -> None:
    suffix = invoice["subscription_id"].partition("_")[2]
    path, payment = f"/subscriptions/{invoice['subscription_id']}", f"/invoices/payments/pay_{suffix}"
    api.clock.advance(days=31)
    later = (await api.post(f"{path}/close-cycle")).json()
    assert invoice["number"] in await pdf_text(api, payment)
    assert (await api.post(f"/invoices/{invoice['invoice_id']}/void")).status_code == 200
    assert later["number"] in await pdf_text(api, payment)


async def test_the_sdk_gets_the_file(api: Any, invoice: dict[str, Any]) -> None:
    bearer = api.headers["Authorization"].removeprefix("Bearer ")
    async with (
        httpx.AsyncClient(transport=api._transport) as http,
        dodopayments.AsyncDodoPayments(base_url="http://test/", bearer_token=bearer, http_client=http) as sdk,
    ):
        suffix = invoice["invoice_id"].partition("_")[2]
        got = await sdk.invoices.payments.retrieve(f"pay_{suffix}")
        assert (await got.read()).startswith(b"%PDF-")


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


async def test_the_lines_are_rows_of_a_spreadsheet(api: Any, invoice: dict[str, Any]) -> None:
    answered = await api.get(f"/invoices/{invoice['invoice_id']}/lines.csv")
    assert answered.headers["content-type"].replace(" ", "").lower() == "text/csv;charset=utf-8"
    assert answered.headers["content-disposition"] == "attachment; filename*=UTF-8''A%2F%C3%BC%20000001.csv"
    found = rows(answered.content)
    assert [(row["kind"], row["amount_minor"], row["amount"]) for row in found] == [
        ("fixed", "500", "5.00"),
        ("usage", "3", "0.03"),
    ]
    assert {row["number"] for row in found} == {invoice["number"]}


async def test_a_list_of_invoices_is_a_spreadsheet_too(api: Any, invoice: dict[str, Any]) -> None:
    api.clock.advance(days=31)
    await api.post(f"/subscriptions/{invoice['subscription_id']}/close-cycle")
    found = rows((await api.get("/invoices.csv")).content)
    assert [row["number"][-1] for row in found] == ["2", "2", "1", "1"]
    found = rows((await api.get("/invoices.csv", params={"page_size": 1, "page_number": 1})).content)
    assert [row["number"][-1] for row in found] == ["1", "1"]
    assert rows((await api.get("/invoices.csv", params={"status": "paid"})).content) == []
    assert rows((await api.get("/invoices.csv", params={"customer_id": "bob"})).content) == []
    assert (await api.get("/invoices.csv", params={"page_size": 101})).status_code == 422


PATHS = ["/invoices/{}.pdf", "/invoices/{}/lines.csv", "/invoices/payments/{}"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_foreign_or_missing_invoice_is_not_found(
    api: Any, stranger: Any, invoice: dict[str, Any], path: str
) -> None:
    own = invoice["invoice_id"].replace("inv_", "pay_") if "payments" in path else invoice["invoice_id"]
    assert (await api.get(path.format(own))).status_code == 200
    assert (await stranger.get(path.format(own))).status_code == 404
    for other in ("inv_none", "pay_", "x%00", "%FF", "a%2Fb"):
        answered = await api.get(path.format(other))
        assert answered.status_code == 404
        assert answered.json()["code"].endswith("NOT_FOUND")


@pytest.mark.parametrize("path", [*PATHS, "/invoices.csv"])
async def test_files_need_a_key_that_may_read(open_client: Any, path: str) -> None:
    ingesting = await open_client(scope="ingest")
    assert (await ingesting.get(path.format("x"))).status_code == 403
    nobody = await open_client(authorization="")
    assert (await nobody.get(path.format("x"))).status_code == 401


async def test_many_at_once_are_drawn_one_after_another(api: Any, invoice: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(api.get(f"/invoices/{invoice['invoice_id']}.pdf") for _ in range(8)))
    assert {answered.status_code for answered in answers} == {200}
    assert len({answered.content for answered in answers}) == 1
