"""The overview: what to do first, and what happens now."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import PIPE
from datetime import UTC, datetime

import pytest
from playwright.async_api import Page, expect

from tests.app.dashboard.browser import LOOKS, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


def event(number: int, **more: object) -> dict[str, object]:
    return {"event_id": f"call-{number}", "customer_id": "ada", "event_name": "api.call", **more}


async def shop(tenant: Tenant) -> None:
    """A meter, a product, a customer and a subscription, at 50 cents a call beyond two."""
    meter = await tenant.post(
        "/meters",
        {
            "name": "Calls",
            "event_name": "api.call",
            "measurement_unit": "call",
            "aggregation": {"type": "count"},
        },
    )
    price = {
        "type": "usage_based_price",
        "currency": "USD",
        "fixed_price": 123_400,
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
        "subscription_period_count": 1,
        "subscription_period_interval": "Year",
        "meters": [{"meter_id": meter["id"], "price_per_unit": "50", "free_threshold": 2}],
    }
    product = await tenant.post("/products", {"name": "API", "tax_category": "saas", "price": price})
    await tenant.post("/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada"})
    await tenant.post(
        "/subscriptions",
        {
            "customer": {"customer_id": "ada"},
            "billing": {"country": "US"},
            "product_id": product["product_id"],
            "quantity": 1,
            "anchor_date": f"{datetime.now(UTC):%Y-%m}-01",
        },
    )


async def test_a_newcomer_is_told_what_to_do_with_commands_that_work(signed_in: Page, tenant: Tenant) -> None:
    await signed_in.goto("/")
    await expect(signed_in.get_by_role("heading", name="First steps")).to_be_visible()
    await check_accessibility(signed_in)
    await shoot(signed_in, "overview-empty-light")
    commands = await signed_in.locator("pre code").all_text_contents()
    assert len(commands) == 3
    for command in commands:
        environment = {"TAXIMETER_API_KEY": tenant.key, "PATH": "/usr/bin:/bin"}
        ran = await asyncio.create_subprocess_exec("bash", "-c", command, env=environment, stdout=PIPE, stderr=PIPE)
        said, _ = await ran.communicate()
        assert ran.returncode == 0
        assert b'"code"' not in said, said
    for title in ("Send a usage event", "Declare a meter", "Add a customer"):
        await expect(signed_in.get_by_role("heading", name=f"{title} (done)")).to_be_visible()
    await expect(signed_in.get_by_role("heading", name="Make a product", exact=True)).to_be_visible()
    await expect(signed_in.locator("#happening .chart canvas")).to_be_visible()
    await expect(signed_in.locator("#happening .stat", has_text="Events in 24 hours").locator("dd")).to_have_text("1")


@pytest.mark.parametrize(("name", "dark", "phone"), LOOKS)
async def test_what_happens_now_moves_without_a_reload(
    open_page: OpenPage, tenant: Tenant, name: str, dark: bool, phone: bool
) -> None:
    await shop(tenant)
    await tenant.api.post("/events/ingest", json={"events": [event(number) for number in range(1, 6)]})
    page = await open_page(tenant, dark=dark, phone=phone)
    await page.goto("/")
    day = page.locator(".stat", has_text="Events in 24 hours").locator("dd")
    await expect(day).to_have_text("5")
    # 3 paid calls at 50 cents, and the fixed price.
    await expect(page.locator("#estimated .money")).to_have_text("1,235.50 USD")
    await expect(page.locator(".chart canvas")).to_be_visible()
    await check_accessibility(page)
    await shoot(page, f"overview-{name}")
    await tenant.api.post("/events/ingest", json={"events": [event(6)]})
    await expect(day).to_have_text("6")
    await expect(page.get_by_role("cell", name="call-6")).to_be_visible()
    await expect(page.locator("#estimated .money")).to_have_text("1,236.00 USD", timeout=15_000)
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, "the page itself never scrolls sideways"


async def test_the_chart_is_told_as_a_table_too(signed_in: Page, tenant: Tenant) -> None:
    await shop(tenant)
    await tenant.api.post("/events/ingest", json={"events": [event(1), event(2)]})
    await signed_in.goto("/")
    rows = signed_in.locator(".chart table.visually-hidden tbody tr")
    await expect(rows).to_have_count(24)
    await expect(rows.last.locator("td").last).to_have_text("2")
    await expect(signed_in.locator(".chart caption")).to_have_text(re.compile("last 24 hours"))


async def test_a_reader_sees_no_way_to_write(open_page: OpenPage, site: Site) -> None:
    page = await open_page(await site.tenant(scope="read"))
    await page.goto("/")
    await expect(page.get_by_text("read only")).to_be_visible()
    await expect(page.get_by_role("link", name="New meter")).to_have_count(0)
