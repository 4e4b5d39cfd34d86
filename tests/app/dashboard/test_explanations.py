"""The pages that explain an invoice: its steps, its facts, and the events behind each line."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from app.audit.line_events import Reason
from app.dashboard.explanations import OUTCOMES
from tests.app.dashboard.billed import Billed, billed
from tests.app.dashboard.browser import LOOKS, allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


@pytest.fixture
async def made(tenant: Tenant) -> Billed:
    """A large call that counts, a small one, one without tokens, one that is voided, and one that comes late."""
    made = await billed(tenant)
    await made.use("req-1", tokens=1600.5, model="large")
    await made.use("req-2", tokens=200, model="small")
    await made.use("req-3", model="large")
    await made.use("req-4", tokens=11, model="large")
    await tenant.post("/events/void", {"event_ids": ["req-4"]})
    await tenant.project()
    return made


def test_every_reason_has_words() -> None:
    assert OUTCOMES.keys() == {None, *Reason}


async def test_every_step_stands_on_a_page_that_fits_a_phone(
    open_page: OpenPage, signed_in: Page, made: Billed
) -> None:
    invoice = await made.close()
    path = f"/dashboard/invoices/{invoice['invoice_id']}"
    await signed_in.goto(path)
    await signed_in.get_by_role("link", name="Explain", exact=True).click()
    await expect(signed_in.locator(".notice.good")).to_contain_text("every line and sum comes to what was billed")
    tokens = signed_in.locator("#line-3")
    for text in (
        "in force from the beginning of time",
        made.tenant.caller.key_id,
        "product.create",
        "1,800.5 token",
        "1,800.5 \u2212 1,000",
        "the least of 800.5 and 500",
        "300.5 \u00d7 0.0005 USD",
        "0.65025 USD rounded",
        "0.65 USD",
    ):
        await expect(tokens).to_contain_text(text)
    await expect(signed_in.get_by_role("region", name="From the lines to the total")).to_contain_text("5.68 USD")
    for name, dark, phone in LOOKS:
        looked = await open_page(made.tenant, dark=dark, phone=phone)
        await looked.goto(f"{path}/explain")
        await check_accessibility(looked)
        await shoot(looked, f"explain-{name}")
        await looked.goto(f"{path}/explain/3")
        await check_accessibility(looked)
        await shoot(looked, f"explain-events-{name}")
        wide = await looked.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, name


async def test_each_event_says_whether_it_counted_and_why_not(signed_in: Page, made: Billed) -> None:
    invoice = await made.close()
    await made.use("req-5", tokens=7, model="large")
    await signed_in.goto(f"/dashboard/invoices/{invoice['invoice_id']}/explain")
    await signed_in.get_by_role("link", name="Events behind line 3").click()
    rows = signed_in.locator("tbody tr")
    await expect(rows).to_have_count(5)
    await expect(rows.filter(has_text="req-1")).to_contain_text(re.compile(r"1,600\.5 token\s*counted"))
    await expect(rows.filter(has_text="req-3")).to_contain_text("no usable value: tokens is missing")
    await expect(rows.filter(has_text="req-4")).to_contain_text("retracted at position")
    await expect(rows.filter(has_text="req-5")).to_contain_text("recorded later late")
    await signed_in.get_by_role("link", name="Left out").click()
    await expect(rows).to_have_count(3)
    await expect(signed_in.get_by_role("link", name="Left out")).to_have_attribute("aria-current", "page")
    await signed_in.goto(f"/dashboard/invoices/{invoice['invoice_id']}/explain/2")
    await expect(rows.filter(has_text="req-2")).to_contain_text(
        'filter.clauses[0]: model is "small", wanted: equals "large"'
    )
    await signed_in.goto(f"/dashboard/invoices/{invoice['invoice_id']}/explain/1")
    await expect(signed_in.locator("main")).to_contain_text("This line rests on no events of its own.")


async def test_pages_of_events_follow_each_other(signed_in: Page, made: Billed) -> None:
    for number in range(50):
        await made.use(f"more-{number:02}", tokens=number, model="large")
    invoice = await made.close()
    await signed_in.goto(f"/dashboard/invoices/{invoice['invoice_id']}/explain/3?show=counted")
    rows = signed_in.locator("tbody tr")
    await expect(rows).to_have_count(50)
    await signed_in.get_by_role("link", name="Later events").click()
    await expect(rows).to_have_count(2)
    await expect(rows.last).to_contain_text("more-49")
    await signed_in.get_by_role("link", name="First events").click()
    await expect(rows.first).to_contain_text("req-1")


async def test_what_is_not_there_is_said(site: Site, open_page: OpenPage, signed_in: Page, made: Billed) -> None:
    invoice = await made.close()
    path = f"/dashboard/invoices/{invoice['invoice_id']}/explain"
    allow_errors(signed_in, "404", "422")
    for asked, status in ((f"{path}/9", 404), (f"{path}/3?after=1", 422), (f"{path}/3?show=some", 422)):
        answered = await signed_in.goto(asked)
        assert answered is not None
        assert answered.status == status, asked
    stranger = await open_page(await site.tenant())
    assert (await stranger.context.request.get(path)).status == 404
