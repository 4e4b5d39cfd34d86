"""Invoices: found, explained line by line, marked, voided, saved as files; and the next one."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from app.audit.signing_key import make_key, public_text
from taximeter_verify import verify
from tests.app.dashboard.billed import Billed, billed
from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


@pytest.fixture
async def made(tenant: Tenant) -> Billed:
    """One large call of 1,600.5 tokens and a small one of 200, in last month's cycle."""
    made = await billed(tenant)
    await made.use("req-1", tokens=1600.5, model="large")
    await made.use("req-2", tokens=200, model="small")
    return made


async def test_a_newcomer_is_told_how_invoices_come_about(signed_in: Page, tenant: Tenant) -> None:
    await signed_in.goto("/dashboard/invoices")
    await expect(signed_in.get_by_role("heading", name="No invoices so far")).to_be_visible()
    command = signed_in.locator(".curl code")
    await expect(command).to_contain_text(f"{tenant.url}/cycles/close-due")
    await expect(command).to_contain_text("-X POST")
    await check_accessibility(signed_in)
    await signed_in.get_by_role("link", name="See the next invoices").click()
    await expect(signed_in.get_by_role("heading", name="No active subscription")).to_be_visible()


async def test_the_next_invoice_moves_without_reload(signed_in: Page, made: Billed) -> None:
    await signed_in.goto("/dashboard/invoices/next")
    row = signed_in.get_by_role("row", name=re.compile(made.subscription_id))
    # 5.00 fixed, a call at 0.03, and 500 tokens at 0.001 with 300.5 more at 0.0005.
    await expect(row).to_contain_text("5.68 USD")
    await check_accessibility(signed_in)
    await shoot(signed_in, "invoices-next")
    await row.get_by_role("link", name=made.subscription_id).click()
    total = signed_in.locator(".facts dd", has_text="USD")
    await expect(total).to_have_text("5.68 USD")
    await signed_in.evaluate("window.stayed = true")
    await made.use("req-3", tokens=1000, model="large")
    await signed_in.evaluate("document.dispatchEvent(new Event('taximeter:changed'))")
    await expect(total).to_have_text("6.21 USD")
    assert await signed_in.evaluate("window.stayed")
    await check_accessibility(signed_in)
    await shoot(signed_in, "invoice-preview")


async def test_an_invoice_explains_each_line(open_page: OpenPage, signed_in: Page, made: Billed) -> None:
    invoice = await made.close()
    await signed_in.goto("/dashboard/invoices")
    await check_accessibility(signed_in)
    await shoot(signed_in, "invoices-light")
    await signed_in.get_by_role("link", name=invoice["number"]).click()
    fixed, calls, tokens = (signed_in.locator(f"#line-{number}") for number in (1, 2, 3))
    amount = re.compile("Amount.*nothing is rounded.*5.00 USD", re.DOTALL)
    rows = [re.compile("Step"), re.compile("1 \u00d7 5.00 USD"), amount]
    await expect(fixed.get_by_role("row")).to_have_text(rows)
    await expect(calls).to_contain_text("1 \u00d7 0.03 USD")
    for text in (
        "1,800.5 token",
        "\u2212 1,000",
        "800.5 token",
        "500 \u00d7 0.001 USD",
        "300.5 \u00d7 0.0005 USD",
        "0.50 + 0.15025",
        "0.65025 rounded",
        "0.65 USD",
    ):
        await expect(tokens).to_contain_text(text)
    await expect(signed_in.locator(".sums")).to_contain_text("5.68")
    await expect(signed_in.locator("main")).to_contain_text(invoice["digest"])
    await check_accessibility(signed_in)
    await shoot(signed_in, "invoice-light")
    for name, options in (("dark", {"dark": True}), ("phone", {"phone": True})):
        other = await open_page(made.tenant, **options)
        await other.goto(f"/dashboard/invoices/{invoice['invoice_id']}")
        await check_accessibility(other)
        await shoot(other, f"invoice-{name}")


async def test_a_line_leads_to_the_events_behind_it(signed_in: Page, made: Billed) -> None:
    """Of an estimate; those of an invoice are on the pages of its explanation."""
    await signed_in.goto(f"/dashboard/invoices/next/{made.subscription_id}")
    await signed_in.locator("#line-3").get_by_role("link", name="Events behind this line").click()
    rows = signed_in.locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.filter(has_text="req-1")).to_contain_text("1,600.5 token")
    await made.use("req-3", tokens=7, model="large")
    await signed_in.reload()
    await expect(rows.filter(has_text="req-3")).to_contain_text("recorded later")
    await check_accessibility(signed_in)
    await signed_in.goto(f"/dashboard/invoices/next/{made.subscription_id}")
    await signed_in.locator("#line-2").get_by_role("link", name="Events behind this line").click()
    await expect(rows.filter(has_text="req-1")).to_have_count(1)
    await expect(rows.filter(has_text="req-2")).to_have_count(0)


async def test_an_adjustment_shows_both_computations(signed_in: Page, made: Billed) -> None:
    await made.close()
    await made.use("req-3", tokens=1000, model="small")
    await signed_in.goto(f"/dashboard/invoices/next/{made.subscription_id}")
    line = signed_in.locator(".line").filter(has_text="adjustment of the cycle")
    await expect(line.get_by_role("row", name=re.compile("^Used"))).to_have_text(
        re.compile(r"Used\s*1,800.5\s*2,800.5\s*\+1,000")
    )
    await expect(line.get_by_role("row", name=re.compile("^Amount"))).to_have_text(
        re.compile(r"Amount\s*0.65 USD\s*1.15 USD\s*\+0.50 USD")
    )
    await shoot(signed_in, "invoice-adjustment")


async def test_filters_and_pages_of_the_list(signed_in: Page, made: Billed) -> None:
    invoice = await made.close()
    await signed_in.goto("/dashboard/invoices")
    await signed_in.get_by_label("Status").select_option("paid")
    await signed_in.get_by_role("button", name="Filter").click()
    await expect(signed_in.locator("main")).to_contain_text("No invoice like that")
    await signed_in.goto("/dashboard/invoices?customer_id=ada&status=open")
    await expect(signed_in.get_by_role("link", name=invoice["number"])).to_be_visible()
    await expect(signed_in.get_by_label("Customer")).to_have_value("ada")
    await signed_in.goto("/dashboard/invoices?customer_id=bob")
    await expect(signed_in.get_by_role("link", name=invoice["number"])).to_have_count(0)


async def test_an_invoice_is_paid_opened_and_voided_by_clicking(signed_in: Page, made: Billed) -> None:
    invoice = await made.close()
    path = f"/dashboard/invoices/{invoice['invoice_id']}"
    await signed_in.goto(path)
    await signed_in.get_by_role("button", name="Mark paid").click()
    await expect(signed_in.get_by_text("The invoice is marked paid.")).to_be_visible()
    await expect(signed_in.locator("summary", has_text="Void")).to_have_count(0)
    await signed_in.get_by_role("button", name="Mark open").click()
    await expect(signed_in.get_by_text("The invoice is open again.")).to_be_visible()

    await signed_in.locator("summary", has_text="Void this invoice").click()
    await signed_in.get_by_label("Reason").fill("r" * 501)
    await signed_in.get_by_label(f"Yes, void {invoice['number']}").check()
    allow_errors(signed_in, "422")
    await signed_in.get_by_role("button", name="Void the invoice").click()
    await expect(signed_in.locator("#reason-error")).to_contain_text("must be a text of 1 to 500 characters")
    await expect(signed_in.get_by_label("Reason")).to_have_value("r" * 501)
    await signed_in.get_by_label("Reason").fill("sent to the wrong customer")
    await signed_in.get_by_label(f"Yes, void {invoice['number']}").uncheck()
    await signed_in.get_by_role("button", name="Void the invoice").click()
    await expect(signed_in.locator("#sure-error")).to_contain_text("tick the box")
    assert (await made.tenant.api.get(f"/invoices/{invoice['invoice_id']}")).json()["status"] == "open"
    await signed_in.get_by_label(f"Yes, void {invoice['number']}").check()
    await signed_in.get_by_role("button", name="Void the invoice").click()
    await expect(signed_in.get_by_text("The invoice is void.")).to_be_visible()
    assert (await made.tenant.api.get(f"/invoices/{invoice['invoice_id']}")).json()["status"] == "void"

    again = await made.close()
    await signed_in.goto(path)
    await signed_in.get_by_role("link", name=again["number"]).click()
    await signed_in.get_by_role("link", name="the voided invoice").click()
    await expect(signed_in).to_have_url(f"{made.tenant.url}{path}")


async def test_what_changed_meanwhile_is_told(signed_in: Page, made: Billed) -> None:
    invoice = await made.close()
    await signed_in.goto(f"/dashboard/invoices/{invoice['invoice_id']}")
    await made.tenant.post(f"/invoices/{invoice['invoice_id']}/void", {})
    allow_errors(signed_in, "409")
    await signed_in.get_by_role("button", name="Mark paid").click()
    await expect(signed_in.get_by_role("alert").filter(has_text="is void")).to_be_visible()


async def test_files_open_with_the_session_alone(signed_in: Page, made: Billed) -> None:
    invoice = await made.close()
    path, request = f"/dashboard/invoices/{invoice['invoice_id']}", signed_in.context.request
    pdf = await request.get(f"{path}/pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert (await pdf.body()).startswith(b"%PDF-")
    lines = await request.get(f"{path}/lines.csv")
    assert await lines.text() == (await made.tenant.api.get(f"/invoices/{invoice['invoice_id']}/lines.csv")).text
    listed = await request.get("/dashboard/invoices.csv?status=open")
    assert await listed.text() == (await made.tenant.api.get("/invoices.csv?status=open")).text
    assert invoice["number"] in await listed.text()


async def test_the_proof_is_saved_by_a_click_and_holds(site: Site, signed_in: Page, made: Billed) -> None:
    """With the session alone, and once the operator has made a key; before, the page says who can."""
    invoice = await made.close()
    path = f"/dashboard/invoices/{invoice['invoice_id']}"
    await signed_in.goto(path)
    proof = signed_in.get_by_role("link", name="Proof pack")
    allow_errors(signed_in, "409")
    await proof.click()
    await expect(signed_in.locator("main")).to_contain_text("its operator makes one with `taximeter audit key`")
    await signed_in.go_back()
    key = make_key(site.signing_key)
    try:
        async with signed_in.expect_download() as saving:
            await proof.click()
        saved = await saving.value
    finally:
        site.signing_key.unlink()
    told = f"python taximeter_verify.py {saved.suggested_filename}"
    await expect(signed_in.locator("code", has_text="taximeter_verify.py")).to_have_text(told)
    checker = verify(await saved.path())
    assert checker.document["number"] == invoice["number"]
    assert checker.proven.head["public_key"] == public_text(key)


async def test_a_read_key_sees_no_forms_that_write(site: Site, open_page: OpenPage, made: Billed) -> None:
    invoice = await made.close()
    page = await open_page(await site.tenant("read", of=made.tenant.tenant_id))
    await page.goto(f"/dashboard/invoices/{invoice['invoice_id']}")
    await expect(page.get_by_role("heading", name=f"Invoice {invoice['number']}")).to_be_visible()
    await expect(page.locator("main form")).to_have_count(0)
    token = await page.locator("input[name=_csrf_token]").first.get_attribute("value")
    refused = await page.context.request.post(
        f"/dashboard/invoices/{invoice['invoice_id']}/mark-paid", form={"_csrf_token": token or ""}
    )
    assert refused.status == 403
    assert (await made.tenant.api.get(f"/invoices/{invoice['invoice_id']}")).json()["status"] == "open"


async def test_another_tenant_finds_nothing(site: Site, open_page: OpenPage, made: Billed) -> None:
    invoice = await made.close()
    stranger = await open_page(await site.tenant())
    of_invoice = [f"{invoice['invoice_id']}{more}" for more in ("", "/pdf", "/proof")]
    for path in (*of_invoice, f"next/{made.subscription_id}"):
        answer = await stranger.context.request.get(f"/dashboard/invoices/{path}")
        assert answer.status == 404, path
