"""The page of the system: head, lag and rate, as they move."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.app.dashboard.browser import LOOKS, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Tenant
from tests.app.dashboard.test_overview import event


@pytest.mark.parametrize(("name", "dark", "phone"), LOOKS)
async def test_the_head_moves_without_a_reload(
    open_page: OpenPage, tenant: Tenant, name: str, dark: bool, phone: bool
) -> None:
    page = await open_page(tenant, dark=dark, phone=phone)
    await page.goto("/dashboard/system")
    head = (await tenant.api.get("/log/head")).json()
    position = page.locator(".stat", has_text="Head of the log").locator("dd")
    await expect(position).to_contain_text(str(head["position"]))
    await expect(page.get_by_text(head["digest"])).to_be_visible()
    await tenant.api.post("/events/ingest", json={"events": [event(number) for number in range(60)]})
    await expect(position).to_contain_text(str(head["position"] + 60))
    await expect(page.locator(".stat", has_text="Ingest rate").locator("dd")).to_contain_text("2.0")
    await expect(page.get_by_text("up to date")).to_be_visible()
    await expect(page.locator(".chart canvas")).to_be_visible()
    told = page.locator(".chart table.visually-hidden tbody td:nth-child(2)")
    await expect(told).to_have_count(60)
    await expect(told.get_by_text("60", exact=True)).to_be_attached(timeout=15_000)
    await check_accessibility(page)
    await shoot(page, f"system-{name}")
