"""Simulations in a browser: a price is changed, and the picture says who would pay more and who less."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.app.dashboard.billed import last_month
from tests.app.dashboard.browser import LOOKS, allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Tenant
from tests.app.dashboard.test_products import declare_meter, declare_product

CALLS = {"ada": 3, "bob": 40, "cyd": 9, "dan": 0, "eve": 14}


async def a_month(tenant: Tenant) -> str:
    """Five customers with calls at a cent beyond five and a fee of $5, invoiced for last month; the product."""
    assert (await tenant.api.patch("/settings", json={"event_age_max": "none"})).is_success
    meter_id = await declare_meter(tenant)
    product_id = await declare_product(tenant, {"meter_id": meter_id, "price_per_unit": "1", "free_threshold": 5})
    start = last_month()
    for customer_id, calls in CALLS.items():
        await tenant.post(
            "/customers", {"customer_id": customer_id, "email": f"{customer_id}@example.com", "name": customer_id}
        )
        order = {"customer": {"customer_id": customer_id}, "billing": {"country": "US"}, "product_id": product_id}
        made = await tenant.post("/subscriptions", {**order, "quantity": 1, "anchor_date": start.isoformat()})
        events = [
            {
                "event_id": f"{customer_id}-{number}",
                "customer_id": customer_id,
                "event_name": "api.call",
                "timestamp": f"{start.isoformat()}T12:00:00Z",
            }
            for number in range(calls)
        ]
        if events:
            await tenant.post("/events/ingest", {"events": events})
        await tenant.post(f"/subscriptions/{made['subscription_id']}/close-cycle", {})
    await tenant.project()
    return product_id


async def propose(page: Page, product_id: str, fee: str, price: str) -> None:
    await page.goto(f"/dashboard/products/{product_id}")
    await page.get_by_role("link", name="Simulate prices").click()
    await page.get_by_label("Fixed price").fill(fee)
    await page.get_by_label("Price per call").fill(price)
    await page.get_by_label("Cycles that end from").fill(last_month().isoformat())
    await page.get_by_role("button", name="Simulate", exact=True).click()


@pytest.mark.parametrize(("name", "dark", "phone"), LOOKS)
async def test_another_price_shows_who_pays_more(
    open_page: OpenPage, tenant: Tenant, name: str, dark: bool, phone: bool
) -> None:
    product_id = await a_month(tenant)
    page = await open_page(tenant, dark=dark, phone=phone)
    # 20 cents less in each of two cycles, and a cent more a call: 35 paid calls are not enough to pay more.
    await propose(page, product_id, "4.80", "0.02")
    outcome = page.locator("#outcome")
    await expect(outcome.locator(".legend")).to_contain_text("5 pay less")
    await expect(outcome.locator(".legend")).to_contain_text("0 pay more")
    await propose(page, product_id, "4.80", "0.05")
    await expect(outcome.locator(".legend")).to_contain_text("1 pay more")
    bob = outcome.locator("tr", has_text="bob")
    # 35 paid calls: $10.35 for both cycles before, $11.35 after.
    await expect(bob).to_contain_text("10.35 USD")
    await expect(bob.locator("td").last).to_have_text("1.00 USD")
    await expect(bob.locator("rect.more")).to_have_attribute("width", "100.00")
    await expect(outcome.get_by_text("5 of 5 invoices of the span came out again to the last line")).to_be_visible()
    await check_accessibility(page)
    await shoot(page, f"simulation-{name}")


async def test_what_is_no_price_is_refused_on_the_page(open_page: OpenPage, tenant: Tenant) -> None:
    product_id = await declare_product(tenant, {"meter_id": await declare_meter(tenant), "price_per_unit": "1"})
    page = await open_page(tenant)
    await page.goto(f"/dashboard/simulations/{product_id}")
    await page.get_by_role("button", name="Add meter").click()
    await expect(page.get_by_label("Price model")).to_have_count(2)
    await expect(page.get_by_label("Calculate with")).to_have_count(0)
    await page.get_by_label("Fixed price").fill("five")
    allow_errors(page, "422")
    await page.get_by_role("button", name="Simulate", exact=True).click()
    await expect(page.locator("#notices")).to_contain_text("Price.fixed_price: must be a number")
    await page.goto("/dashboard/simulations")
    await expect(page.get_by_role("link", name="API")).to_be_visible()
    await check_accessibility(page)
