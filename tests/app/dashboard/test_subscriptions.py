"""The page of a subscription: it moves with usage, foretells the cycle's end, changes, pauses, cancels and closes."""

from __future__ import annotations

import asyncio
import json
import os
import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site
from tests.app.dashboard.subscribed import KEY, Subscribed, clocked, meter, product, subscribed


@pytest.fixture
async def made(site: Site) -> Subscribed:
    return await subscribed(site)


@pytest.fixture
async def page(open_page: OpenPage, made: Subscribed) -> Page:
    return await open_page(made.tenant)


def stat(page: Page, label: str) -> Locator:
    return page.locator(".stat", has=page.get_by_text(label, exact=True)).locator("dd")


async def test_usage_cost_and_forecast(page: Page, made: Subscribed) -> None:
    await page.goto(made.path)
    # 5.00, and 500 tokens beyond the threshold at 0.1 cents.
    await expect(stat(page, "Cost so far")).to_contain_text("5.50 USD")
    # In 31 days 1,500 tokens of ten become 4,650, of which 3,650 are paid.
    await expect(stat(page, "By the end of the cycle")).to_contain_text("8.65 USD")
    await expect(page.locator(".cycle-bar")).to_contain_text("32 % has passed, ends in 21 days")
    await expect(page.get_by_label("Part of the cycle that has passed")).to_have_attribute("value", "322")
    usage = page.get_by_role("region", name="Usage", exact=True)
    tokens = usage.get_by_role("row", name=re.compile("Tokens"))
    await expect(tokens).to_contain_text("1,500 token")
    await expect(tokens).to_contain_text("4,650 token")
    await expect(page.locator(".chart table.visually-hidden").first).to_contain_text("900")
    await check_accessibility(page)
    await shoot(page, "subscription-light")


async def test_numbers_move_without_reload(page: Page, made: Subscribed) -> None:
    await page.goto(made.path)
    await expect(page.locator("#live-status")).to_have_attribute("data-state", "live")
    await page.evaluate("window.stayed = true")
    await made.use(tokens=1500)
    await made.use("sms.sent")
    await expect(stat(page, "Cost so far").locator("[data-live-amount]")).to_have_text("7.00 USD")
    quantity = page.locator(f'[data-live-quantity="{made.subscription}/{KEY}/{made.tokens}"]')
    await expect(quantity).to_have_text("3,000")
    # What the service computes follows: 9,300 tokens by the end, and the line of the estimate.
    await expect(stat(page, "By the end of the cycle")).to_contain_text("13.30 USD")
    lines = page.get_by_role("region", name="Lines of the estimate")
    await expect(lines.get_by_role("row", name=re.compile("Tokens"))).to_contain_text("2,000")
    credits = page.get_by_role("region", name="Credits of this subscription")
    await expect(credits).to_contain_text("98 credit")
    assert await page.evaluate("window.stayed")


async def test_a_cycle_without_usage_says_how_to_send_some(site: Site, open_page: OpenPage) -> None:
    made = await subscribed(site, used=False)
    page = await open_page(made.tenant)
    await page.goto(made.path)
    command = page.locator(".curl code")
    await expect(command).to_contain_text("llm.completion")
    await expect(command).to_contain_text('"tokens": 1')
    typed = await command.inner_text()
    environment = {**os.environ, "TAXIMETER_API_KEY": made.tenant.key, "NO_PROXY": "*"}
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", typed, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    answer, _ = await process.communicate()
    assert json.loads(answer)["ingested_count"] == 1
    (event,) = (await made.tenant.api.get("/events")).json()["items"]
    assert re.fullmatch(r"first-\d+", event["event_id"])
    await expect(stat(page, "By the end of the cycle")).to_contain_text("5.00 USD")


async def test_an_ended_cycle_is_closed_and_leads_to_its_invoice(site: Site, page: Page, made: Subscribed) -> None:
    await made.move("2030-02-01T01:00:00Z")
    await page.goto(made.path)
    await expect(page.get_by_text("too early to tell")).to_be_visible()
    await page.get_by_role("link", name="Look at it first").click()
    await expect(stat(page, "By the end of the cycle")).to_contain_text("ended")
    await expect(page.locator(".cycle-bar")).to_contain_text("ended 1 hour ago")
    await check_accessibility(page)
    await page.get_by_role("button", name="Close the cycle").click()
    await page.wait_for_url(re.compile(r"/dashboard/invoices/inv_"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Invoice INV-000001")
    await expect(page.locator(".facts").first).to_contain_text("5.50 USD")
    await page.goto(made.path)
    await expect(page.get_by_role("link", name="INV-000001")).to_be_visible()
    await expect(page.get_by_role("button", name="Close the cycle")).to_have_count(0)


async def test_a_plan_is_previewed_and_changed(page: Page, made: Subscribed) -> None:
    await product(made.tenant, "Large API", {"meter_id": made.tokens, "price_per_unit": "0.05"})
    await product(made.tenant, "Euro API", price={"currency": "EUR"})
    await page.goto(f"{made.path}/plan")
    first = page.get_by_label("Product", exact=True)
    offered = await first.locator("option").all_inner_texts()
    assert offered == ["Choose a product", "API, 5.00 USD every month", "Large API, 5.00 USD every month"]
    await first.select_option(label="Large API, 5.00 USD every month")
    await page.get_by_role("button", name="Preview").click()
    preview = page.locator("#preview")
    # Ten days of 31 of the fee are 1.61, and 0.50 of usage.
    await expect(preview).to_contain_text("2.11 USD")
    await expect(preview).to_contain_text("Its fixed price is 5.00 USD")
    await check_accessibility(page)
    await shoot(page, "subscription-plan")
    await page.get_by_label("When").select_option(label="At the next billing date")
    await page.get_by_role("button", name="Preview").click()
    await expect(preview).to_contain_text("no cycle is cut")
    await page.get_by_role("button", name="Change the plan").click()
    await expect(page.get_by_text("The plan changes at the next billing date.")).to_be_visible()
    await page.get_by_role("button", name="Keep the plan").click()
    await expect(page.get_by_text("The plan stays as it is.")).to_be_visible()
    await expect(page.get_by_role("button", name="Keep the plan")).to_have_count(0)


async def test_a_wrong_plan_is_told_beside_its_field(page: Page, made: Subscribed) -> None:
    allow_errors(page, "422")
    await page.goto(f"{made.path}/plan")
    await page.get_by_label("Quantity").first.fill("0")
    await page.get_by_role("button", name="Change the plan").click()
    wrong = page.get_by_label("Quantity").first
    await expect(wrong).to_have_attribute("aria-invalid", "true")
    await expect(wrong).to_have_value("0")
    await expect(page.locator(".error").first).to_contain_text("quantity")
    await page.get_by_label("Product", exact=True).select_option("")
    await page.get_by_role("button", name="Change the plan").click()
    await expect(page.locator(".error").first).to_contain_text("choose a product")


async def test_it_is_paused_with_a_preview_and_resumed(page: Page, made: Subscribed) -> None:
    await page.goto(made.path)
    await page.get_by_role("link", name="Pause").click()
    await expect(page.get_by_role("region", name="Preview")).to_contain_text("2.11 USD")
    await check_accessibility(page)
    await page.get_by_role("button", name="Pause now").click()
    await expect(page.get_by_text("Paused since")).to_be_visible()
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("goes on with a new cycle")).to_be_visible()


async def test_it_is_cancelled_with_the_cycle_taken_back_and_cancelled_now(page: Page, made: Subscribed) -> None:
    await page.goto(f"{made.path}/cancel")
    await expect(page.get_by_role("region", name="Preview")).to_contain_text("2.11 USD")
    await check_accessibility(page)
    await shoot(page, "subscription-cancel")
    await page.get_by_role("button", name="Cancel the subscription").click()
    await expect(page.get_by_text("Ends with the open cycle,")).to_be_visible()
    await page.get_by_role("button", name="Let it go on").click()
    await expect(page.get_by_text("Ends with the open cycle,")).to_have_count(0)
    await page.goto(f"{made.path}/cancel")
    await page.get_by_label(re.compile("^Now")).check()
    await page.get_by_role("button", name="Cancel the subscription").click()
    await expect(page.locator(".pill", has_text="cancelled")).to_be_visible()
    await expect(page.get_by_role("link", name="Change plan")).to_have_count(0)
    allow_errors(page, "409")
    await page.goto(f"{made.path}/cancel")
    await expect(page.locator(".notice.bad")).to_contain_text("is cancelled")


async def test_a_reader_sees_it_without_what_changes_it(site: Site, open_page: OpenPage, made: Subscribed) -> None:
    page = await open_page(await site.tenant("read", of=made.tenant.tenant_id))
    await page.goto(made.path)
    await expect(stat(page, "Cost so far")).to_contain_text("5.50 USD")
    for name in ("Change plan", "Pause", "Cancel", "New alert"):
        await expect(page.get_by_role("link", name=name)).to_have_count(0)
    allow_errors(page, "403")
    await page.goto(f"{made.path}/plan")
    await expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()


async def test_a_subscription_of_another_tenant_is_not_found(site: Site, open_page: OpenPage, made: Subscribed) -> None:
    page = await open_page(await site.tenant())
    allow_errors(page, "404")
    await page.goto(made.path)
    await expect(page.get_by_role("heading", name="Not found")).to_be_visible()


@pytest.mark.parametrize(("dark", "phone"), [(True, False), (False, True)])
async def test_it_looks_well(open_page: OpenPage, made: Subscribed, dark: bool, phone: bool) -> None:
    page = await open_page(made.tenant, dark=dark, phone=phone)
    await page.goto(made.path)
    await expect(page.locator(".chart canvas").first).to_be_visible()
    await check_accessibility(page)
    if phone:
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await shoot(page, f"subscription-{'dark' if dark else 'phone'}")


async def test_subscribing_by_clicking(site: Site, open_page: OpenPage) -> None:
    tenant = await clocked(site)
    await tenant.post("/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada"})
    page = await open_page(tenant)
    await page.goto("/dashboard/customers/ada")
    await page.get_by_role("link", name="Subscribe to a product").click()
    await expect(page.get_by_role("heading", name="No products so far")).to_be_visible()
    calls = await meter(tenant, "Calls", "call", "call")
    await product(tenant, "API", {"meter_id": calls, "price_per_unit": "1"})
    await page.reload()
    await page.get_by_label("Product", exact=True).select_option(label="API, 5.00 USD every month")
    await page.get_by_label("Country").fill("Utopia")
    allow_errors(page, "422")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.locator("#country-error")).to_contain_text("two capitals")
    await expect(page.get_by_label("Product", exact=True)).not_to_have_value("")
    await check_accessibility(page)
    await page.get_by_label("Country").fill("us")
    await page.get_by_label("Start").fill("2030-01-01")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.get_by_text("The customer is subscribed.")).to_be_visible()
    await expect(stat(page, "Cost so far")).to_contain_text("5.00 USD")
    await expect(stat(page, "By the end of the cycle")).to_contain_text("too early to tell")
