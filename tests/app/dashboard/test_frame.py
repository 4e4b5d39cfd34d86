"""What every page has: headers, theme, navigation, error pages; and that pages need nothing of elsewhere."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.async_api import Page, expect

from app.dashboard.wording import money, number, size
from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


@pytest.mark.parametrize("path", ["/", "/dashboard/sign-in", "/dashboard/nowhere", "/dashboard/static/app.css"])
async def test_every_answer_tells_the_browser_what_to_refuse(site: Site, path: str) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert ("immutable" if "static" in path else "no-store") in headers["cache-control"]


async def test_no_page_has_anything_inline(site: Site, tenant: Tenant, signed_in: Page) -> None:
    for path in ("/", "/dashboard/system", "/dashboard/nowhere"):
        allow_errors(signed_in, "status of 404")
        answered = await signed_in.request.get(path)
        text = await answered.text()
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), path
        assert tenant.key not in text


async def test_the_dashboard_is_not_part_of_the_api(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        paths = (await client.get("/schema/openapi.json")).json()["paths"]
    assert "/" not in paths
    assert not [path for path in paths if path.startswith("/dashboard")]


async def test_the_theme_is_the_systems_until_somebody_chooses(open_page: OpenPage, tenant: Tenant) -> None:
    page = await open_page(tenant, dark=True)
    await page.goto("/dashboard/system")
    ground = "getComputedStyle(document.body).backgroundColor"
    toggle = page.get_by_role("button", name="Dark theme")
    await expect(toggle).to_have_attribute("aria-pressed", "true")
    dark = await page.evaluate(ground)
    await toggle.click()
    await expect(toggle).to_have_attribute("aria-pressed", "false")
    light = await page.evaluate(ground)
    assert dark != light
    await page.goto("/")
    await expect(page.get_by_role("button", name="Dark theme")).to_have_attribute("aria-pressed", "false")
    assert await page.evaluate(ground) == light
    await page.emulate_media(color_scheme="light")
    await page.get_by_role("button", name="Dark theme").click()
    assert await page.evaluate(ground) == dark


async def test_the_keyboard_gets_everywhere(signed_in: Page) -> None:
    await signed_in.goto("/dashboard/system")
    await signed_in.keyboard.press("Tab")
    await expect(signed_in.get_by_role("link", name="Skip to content")).to_be_focused()
    await signed_in.keyboard.press("Enter")
    await expect(signed_in.get_by_role("main")).to_be_focused()
    # Not a reload: the address now names the content, and the next key would begin there, where the page has a link.
    await signed_in.goto("/dashboard/system")
    names = []
    for _ in range(12):
        await signed_in.keyboard.press("Tab")
        names.append(await signed_in.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel"))
        outlined = await signed_in.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outlined != "none", names
    wanted = ["Overview", "Meters", "Products", "Customers", "Events"]
    wanted += ["Alerts", "Invoices", "System", "Dark theme", "Sign out"]
    assert names[2:12] == wanted
    await expect(signed_in.get_by_role("link", name="System")).to_have_attribute("aria-current", "page")


async def test_the_menu_opens_on_a_phone(open_page: OpenPage, tenant: Tenant) -> None:
    page = await open_page(tenant, phone=True)
    await page.goto("/dashboard/system")
    menu = page.get_by_role("button", name="Menu")
    await expect(page.get_by_role("link", name="Overview")).to_be_hidden()
    await menu.click()
    await expect(menu).to_have_attribute("aria-expanded", "true")
    await expect(page.get_by_role("link", name="Overview")).to_be_visible()
    await check_accessibility(page)
    await shoot(page, "menu-phone")
    await page.get_by_role("link", name="Overview").click()
    await expect(page).to_have_title("Overview · Taximeter")


async def test_a_page_that_is_not_there_says_so(signed_in: Page) -> None:
    allow_errors(signed_in, "status of 404")
    answered = await signed_in.goto("/dashboard/no/such%20page")
    assert answered is not None
    assert answered.status == 404
    await expect(signed_in.get_by_role("heading", name="Not found")).to_be_visible()
    await check_accessibility(signed_in)
    await shoot(signed_in, "not-found-light")


async def test_an_error_of_a_part_is_a_notice_on_the_page(signed_in: Page) -> None:
    allow_errors(signed_in, "status of 404", "Response Status Error Code 404")
    await signed_in.goto("/dashboard/system")
    await signed_in.evaluate("htmx.ajax('GET', '/dashboard/gone', '#state')")
    await expect(signed_in.get_by_role("alert")).to_contain_text("Not found. There is no page /dashboard/gone")
    await expect(signed_in.get_by_role("heading", name="System")).to_be_visible()


async def test_commands_are_copied(signed_in: Page, tenant: Tenant) -> None:
    await signed_in.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await signed_in.goto("/")
    await signed_in.get_by_role("button", name="Copy").first.click()
    await expect(signed_in.get_by_role("button", name="Copied")).to_be_visible()
    copied = await signed_in.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl {tenant.url}/events/ingest")


async def test_numbers_and_money_read_the_same_in_both_places(signed_in: Page) -> None:
    await signed_in.goto("/dashboard/system")
    for text in ("0", "-1234567.50", "999", "1000", "0.000001", "12345678901234567890.5"):
        assert await signed_in.evaluate("(text) => taximeter.number(text)", text) == number(text)
    for minor, currency in ((0, "USD"), (-5, "USD"), (123456789, "USD"), (1234, "JPY"), (-1, "BHD"), (10**11, "CLF")):
        assert await signed_in.evaluate("([m, c]) => taximeter.money(m, c)", [minor, currency]) == money(
            minor, currency
        )


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 bytes"), (8_400, "8 kB"), (9_000_000, "9 MB"), (1_250_000_000, "1.2 GB")]
)
def test_sizes_have_a_unit_that_fits(count: int, text: str) -> None:
    assert size(count) == text
