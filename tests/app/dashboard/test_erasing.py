"""Erasing a person by clicking: only who types the id, and what the pages then say."""

from __future__ import annotations

from playwright.async_api import expect

from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


async def test_who_types_the_id_erases_and_the_pages_say_erased(open_page: OpenPage, tenant: Tenant) -> None:
    await tenant.post("/customers", {"customer_id": "ada/1", "email": "ada@example.com", "name": "Ada Lovelace"})
    page = await open_page(tenant)
    await page.goto("/dashboard/customers/ada%2F1")
    await page.get_by_role("link", name="Erase personal data").click()
    await expect(page.get_by_role("heading", name="Erase personal data", level=1)).to_be_visible()
    await check_accessibility(page)
    allow_errors(page, "422")
    await page.get_by_label("Type the customer's id to confirm").fill("ada")
    await page.get_by_role("button", name="Erase for ever").click()
    await expect(page.locator("#confirm-error")).to_contain_text("type the customer's id")
    assert (await tenant.api.get("/customers/ada%2F1")).json()["name"] == "Ada Lovelace"
    await check_accessibility(page)
    await shoot(page, "erase")
    await page.get_by_label("Type the customer's id to confirm").fill("ada/1")
    await page.get_by_role("button", name="Erase for ever").click()
    await expect(page.get_by_role("heading", name="ada/1", level=1)).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text="The personal data are erased.")).to_be_visible()
    await expect(page.get_by_text("Ada Lovelace")).to_have_count(0)
    await check_accessibility(page)
    await shoot(page, "erased")
    answered = (await tenant.api.get("/customers/ada%2F1")).json()
    assert (answered["name"], answered["email"]) == ("", "")
    await page.goto("/dashboard/customers")
    await expect(page.get_by_role("cell", name="erased", exact=True)).to_be_visible()


async def test_who_may_only_read_cannot(open_page: OpenPage, tenant: Tenant, site: Site) -> None:
    await tenant.post("/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada Lovelace"})
    page = await open_page(await site.tenant("read", of=tenant.tenant_id))
    await page.goto("/dashboard/customers/ada")
    await expect(page.get_by_role("heading", name="Ada Lovelace", level=1)).to_be_visible()
    await expect(page.get_by_role("link", name="Erase personal data")).to_have_count(0)
    allow_errors(page, "403")
    refused = await page.goto("/dashboard/customers/ada/erase")
    assert refused is not None
    assert refused.status == 403
