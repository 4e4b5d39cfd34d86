"""The page of changes: from an object to who changed it, what it was before, and where that stands in the log."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.app.dashboard.browser import LOOKS, allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Tenant


async def described(tenant: Tenant) -> str:
    """A meter that got another name through the API."""
    body = {"name": "Calls", "event_name": "call", "aggregation": {"type": "count"}, "measurement_unit": "call"}
    meter_id = (await tenant.post("/meters", body))["id"]
    assert (await tenant.api.patch(f"/meters/{meter_id}", json={"name": "API calls"})).is_success
    return meter_id


async def test_from_a_meter_to_who_changed_it_in_the_dashboard_and_before(signed_in: Page, tenant: Tenant) -> None:
    meter_id = await described(tenant)
    await signed_in.goto(f"/dashboard/meters/{meter_id}")
    await signed_in.get_by_role("button", name="Archive").click()
    await expect(signed_in.get_by_text("Archived: it counts nothing")).to_be_visible()
    await signed_in.get_by_role("link", name="Changes").click()
    rows = signed_in.locator("tbody tr")
    await expect(rows).to_have_count(3)
    await expect(rows.nth(0)).to_contain_text("Dashboard")
    await expect(rows.nth(0)).to_contain_text("meter.archived")
    await expect(rows.nth(0).locator("li")).to_contain_text("archived:")
    await expect(rows.nth(0)).to_contain_text("127.0.0.1")
    await expect(rows.nth(0)).to_contain_text(tenant.caller.key_id)
    await expect(rows.nth(1)).to_contain_text("API")
    await expect(rows.nth(1).locator("del")).to_contain_text("Calls")
    await expect(rows.nth(1).locator("li")).to_contain_text("API calls")
    position = (await tenant.api.get("/log/head")).json()["position"]
    await expect(rows.nth(0).locator("td").nth(3)).to_have_text(str(position))
    await signed_in.get_by_label("Asked for by").select_option("Dashboard")
    await signed_in.get_by_role("button", name="Search").click()
    await expect(rows).to_have_count(1)
    await signed_in.get_by_role("link", name=meter_id).click()
    await expect(signed_in.get_by_role("heading", name="API calls", level=1)).to_be_visible()


async def test_what_cannot_be_looked_for_is_said_beside_the_field(signed_in: Page) -> None:
    await signed_in.goto("/dashboard/system")
    await signed_in.get_by_role("link", name="Changes").click()
    await expect(signed_in.get_by_text("No change like that.")).to_be_visible()
    allow_errors(signed_in, "422")
    await signed_in.get_by_label("Since").fill("yesterday")
    await signed_in.get_by_role("button", name="Search").click()
    await expect(signed_in.locator("#since-error")).to_contain_text("since")
    await check_accessibility(signed_in)


@pytest.mark.parametrize(("name", "dark", "phone"), LOOKS)
async def test_it_looks_well_and_goes_on_behind_a_page(
    open_page: OpenPage, tenant: Tenant, name: str, dark: bool, phone: bool
) -> None:
    await described(tenant)
    for number in range(20):
        await tenant.post("/customers", {"customer_id": f"c{number}", "email": "a@example.com", "name": "A"})
    page = await open_page(tenant, dark=dark, phone=phone)
    await page.goto("/dashboard/changes")
    await expect(page.locator("tbody tr")).to_have_count(20)
    await page.get_by_role("link", name="Older").click()
    await expect(page.locator("tbody tr")).to_have_count(2)
    await check_accessibility(page)
    await shoot(page, f"changes-{name}")
