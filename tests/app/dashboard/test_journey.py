"""The whole way in one browser: from signing in with a key to reading the invoice, numbers moving without a reload."""

from __future__ import annotations

import re

from playwright.async_api import Locator, Page, expect

from tests.app.dashboard.browser import check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant
from tests.app.dashboard.subscribed import clocked
from tests.app.dashboard.test_live_values import WATCHED_SOCKETS


def stat(page: Page, label: str) -> Locator:
    return page.locator(".stat", has=page.get_by_text(label, exact=True)).locator("dd")


async def use(tenant: Tenant, *numbers: int) -> None:
    """Calls of Ada's, sent over HTTP."""
    events = [
        {
            "event_id": f"call-{number}",
            "customer_id": "ada",
            "event_name": "api.call",
            "timestamp": "2030-01-01T00:00:00Z",
        }
        for number in numbers
    ]
    assert (await tenant.post("/events/ingest", {"events": events}))["ingested_count"] == len(numbers)


async def sign_in(page: Page, key: str) -> None:
    await page.goto("/")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_be_visible()


async def make_meter(page: Page) -> None:
    await page.goto("/dashboard/meters/new")
    await page.get_by_label("Event name").fill("api.call")
    await page.get_by_label("Name", exact=True).fill("Calls")
    await page.get_by_label("Measurement unit").fill("call")
    await page.get_by_role("button", name="Create meter").click()
    await expect(page.get_by_role("heading", name="Calls", level=1)).to_be_visible()


async def make_product(page: Page) -> None:
    await page.goto("/dashboard/products/new")
    await page.get_by_label("Name", exact=True).fill("API")
    await page.get_by_label("Fixed price").fill("5.00")
    await page.get_by_role("button", name="Add meter").click()
    await page.get_by_label("Meter", exact=True).select_option(label="Calls")
    await page.get_by_label("Price per call").fill("0.25")
    await page.get_by_label("Free threshold (call)").fill("2")
    await page.get_by_role("button", name="Create product").click()
    await expect(page.get_by_role("heading", name="API", level=1)).to_be_visible()


async def subscribe(page: Page) -> None:
    await page.goto("/dashboard/customers/ada")
    await page.get_by_role("link", name="Subscribe to a product").click()
    await page.get_by_label("Product", exact=True).select_option(label="API, 5.00 USD every month")
    await page.get_by_label("Country").fill("US")
    await page.get_by_label("Start").fill("2030-01-01")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.get_by_text("The customer is subscribed.")).to_be_visible()


async def test_from_the_key_to_the_invoice(site: Site, open_page: OpenPage) -> None:
    tenant = await clocked(site)
    page = await open_page()
    await page.add_init_script(WATCHED_SOCKETS)
    await sign_in(page, tenant.key)
    await make_meter(page)
    await make_product(page)
    await tenant.post("/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada Lovelace"})
    await subscribe(page)

    await expect(page.locator("#live-status")).to_have_text("live")
    await page.evaluate("window.stayed = true")
    await use(tenant, 1, 2, 3)
    cost, chart = stat(page, "Cost so far").locator("[data-live-amount]"), page.locator(".chart table.visually-hidden")
    quantity = page.locator("[data-live-quantity]").first
    # 5.00, and one call beyond two free ones.
    await expect(quantity).to_have_text("3")
    await expect(cost).to_have_text("5.25 USD")
    await expect(chart.first).to_contain_text("3")

    await page.evaluate("sockets.at(-1).close()")
    await expect(page.locator("#live-status")).to_have_text("reconnecting")
    await use(tenant, 4, 5)
    await expect(page.locator("#live-status")).to_have_text("live")
    await expect(quantity).to_have_text("5")
    await expect(cost).to_have_text("5.75 USD")
    await expect(chart.first).to_contain_text("5")
    assert await page.evaluate("window.stayed"), "nothing of this took a reload"

    path = page.url
    await tenant.post("/test-clock/advance", {"to": "2030-02-01T01:00:00Z"})
    await page.goto(path)
    await page.get_by_role("link", name="Look at it first").click()
    await page.get_by_role("button", name="Close the cycle").click()
    await page.wait_for_url(re.compile(r"/dashboard/invoices/inv_"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Invoice INV-000001")
    await expect(page.locator(".facts").first).to_contain_text("5.75 USD")
    await check_accessibility(page)
    await shoot(page, "journey-invoice")
