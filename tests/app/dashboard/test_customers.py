"""Customers: found, made by clicking, and seen with what is theirs, as it moves."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant
from tests.app.dashboard.subscribed import KEY, Subscribed, subscribed


@pytest.fixture
async def made(site: Site) -> Subscribed:
    return await subscribed(site)


async def test_a_newcomer_is_told_how_to_make_one(signed_in: Page, tenant: Tenant) -> None:
    await signed_in.goto("/dashboard/customers")
    await expect(signed_in.get_by_role("heading", name="No customers so far")).to_be_visible()
    await expect(signed_in.locator(".curl code")).to_contain_text(f"{tenant.url}/customers")
    await check_accessibility(signed_in)
    await signed_in.locator(".empty").get_by_role("link", name="New customer").click()
    await signed_in.get_by_label("Name").fill("Ada Lovelace")
    await signed_in.get_by_label("E-mail").fill("ada@example.com")
    await signed_in.get_by_label("Customer id").fill("ada/1")
    await signed_in.get_by_label("Time zone").fill("Mars/Olympus")
    allow_errors(signed_in, "422", "409")
    await signed_in.get_by_role("button", name="Make the customer").click()
    await expect(signed_in.locator("#time_zone-error")).to_contain_text("time_zone")
    await expect(signed_in.get_by_label("Name")).to_have_value("Ada Lovelace")
    await check_accessibility(signed_in)
    await signed_in.get_by_label("Time zone").fill("Europe/Berlin")
    await signed_in.get_by_role("button", name="Make the customer").click()
    await expect(signed_in.get_by_role("heading", name="Ada Lovelace", level=1)).to_be_visible()
    await expect(signed_in.get_by_text("Usage that was recorded under its id before counts too.")).to_be_visible()
    assert signed_in.url.endswith("/dashboard/customers/ada%2F1?done=created")
    await signed_in.goto("/dashboard/customers/new?customer_id=ada%2F1")
    await signed_in.get_by_label("Name").fill("Another")
    await signed_in.get_by_label("E-mail").fill("a@example.com")
    await signed_in.get_by_role("button", name="Make the customer").click()
    await expect(signed_in.locator("#customer_id-error")).to_contain_text("already")


async def test_customers_are_found_by_id_name_and_email(signed_in: Page, tenant: Tenant) -> None:
    for customer_id, name in (("ada", "Ada Lovelace"), ("adam", "Adam Riese"), ("zeus", "Zeus of Adana")):
        body = {"customer_id": customer_id, "email": f"{customer_id}@example.com", "name": name}
        await tenant.post("/customers", body)

    async def found(sought: str) -> list[str]:
        await signed_in.goto("/dashboard/customers")
        await signed_in.get_by_label("Id, name or e-mail").fill(sought)
        await signed_in.get_by_role("button", name="Search").click()
        await expect(signed_in.get_by_role("link", name="Clear")).to_be_visible()
        return await signed_in.locator("tbody tr td:first-child a").all_inner_texts()

    # Ids that begin so come first, then names.
    assert await found("ada") == ["Ada Lovelace", "Adam Riese", "Zeus of Adana"]
    assert await found("RIESE") == ["Adam Riese"]
    assert await found("zeus@") == ["Zeus of Adana"]
    assert await found("nobody") == []
    await expect(signed_in.get_by_text("No customer like that")).to_be_visible()
    await signed_in.get_by_role("link", name="Make a customer nobody").click()
    await expect(signed_in.get_by_label("Customer id")).to_have_value("nobody")


async def test_a_list_goes_on_and_a_search_too(signed_in: Page, tenant: Tenant) -> None:
    for index in range(45):
        body = {"customer_id": f"c{index:02}", "email": f"c{index}@example.com", "name": f"Firm {index:02}"}
        await tenant.post("/customers", body)
    names = signed_in.locator("tbody tr td:first-child a")
    for path, onward in (("/dashboard/customers", "Older"), ("/dashboard/customers?q=firm", "Look further")):
        await signed_in.goto(path)
        seen: list[str] = []
        for rest in (25, 5, 0):
            seen += await names.all_inner_texts()
            if rest:
                await signed_in.get_by_role("link", name=onward).click()
                await expect(names.first).to_have_text(f"Firm {rest - 1:02}")
        assert seen == [f"Firm {index:02}" for index in range(44, -1, -1)]


async def test_the_list_shows_live_cost(open_page: OpenPage, made: Subscribed) -> None:
    page = await open_page(made.tenant)
    await page.goto("/dashboard/customers")
    cost = page.locator(f'[data-live-amount="{made.subscription}/{KEY}"]')
    await expect(cost).to_have_text("5.50 USD")
    await made.use(tokens=1000)
    await expect(cost).to_have_text("6.50 USD")
    await check_accessibility(page)
    await shoot(page, "customers-light")


async def test_a_customer_with_everything_moves_without_reload(open_page: OpenPage, made: Subscribed) -> None:
    await made.tenant.post(
        "/customers/ada/wallets/ledger-entries", {"amount": 120, "currency": "USD", "entry_type": "credit"}
    )
    page = await open_page(made.tenant)
    await page.goto("/dashboard/customers/ada")
    card = page.get_by_role("region", name="Subscription to API")
    # 5.50, of which the wallet pays 1.20; 8.65 by the end.
    await expect(card.locator(f'[data-live-amount="{made.subscription}/{KEY}"]')).to_have_text("4.30 USD")
    await expect(card).to_contain_text("7.45 USD")
    await expect(page.get_by_role("region", name="Credit balances")).to_contain_text("99 credit")
    await expect(page.get_by_role("region", name="Wallets")).to_contain_text("1.20 USD")
    await expect(page.locator("#live-status")).to_have_attribute("data-state", "live")
    await page.evaluate("window.stayed = true")
    await made.use(tokens=1000)
    await expect(card.locator(f'[data-live-amount="{made.subscription}/{KEY}"]')).to_have_text("5.30 USD")
    await expect(card).to_contain_text("7,750 token")
    assert await page.evaluate("window.stayed")
    await check_accessibility(page)
    await shoot(page, "customer-light")


async def test_credits_are_added_and_taken_out(open_page: OpenPage, made: Subscribed) -> None:
    page = await open_page(made.tenant)
    await page.goto("/dashboard/customers/ada")
    await page.get_by_role("link", name="SMS credits").click()
    await expect(page.get_by_role("region", name="Ledger, newest first")).to_contain_text("moves with usage")
    await page.get_by_text("Add credits, or take some out").click()
    await page.get_by_label("Credits", exact=True).fill("25")
    await page.get_by_label("Reason").fill("A gift")
    await page.get_by_role("button", name="Record").click()
    await expect(page.get_by_text("The credits are recorded.")).to_be_visible()
    await expect(page.locator(".stats")).to_contain_text("124 credit")
    await expect(page.get_by_role("region", name="Ledger, newest first")).to_contain_text("A gift")
    await check_accessibility(page)
    await shoot(page, "customer-credits")
    allow_errors(page, "422")
    await page.get_by_text("Add credits, or take some out").click()
    await page.get_by_label("What to do").select_option("debit")
    await page.get_by_label("Credits", exact=True).fill("1000")
    await page.get_by_role("button", name="Record").click()
    await expect(page.get_by_label("Credits", exact=True)).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("Credits", exact=True)).to_have_value("1000")
    await page.get_by_label("Credits", exact=True).fill("many")
    await page.get_by_role("button", name="Record").click()
    await expect(page.locator("#amount-error")).to_contain_text("amount")


async def test_a_wallet_is_paid_into(open_page: OpenPage, made: Subscribed) -> None:
    page = await open_page(made.tenant)
    await page.goto("/dashboard/customers/ada")
    await page.get_by_role("link", name="Pay in").click()
    await page.get_by_label("Amount").fill("12.345")
    allow_errors(page, "422")
    await page.get_by_role("button", name="Record").click()
    await expect(page.locator("#amount-error")).to_contain_text("at most 2 digits")
    await page.get_by_label("Amount").fill("12.34")
    await page.get_by_role("button", name="Record").click()
    await expect(page.locator(".stats")).to_contain_text("12.34 USD")
    await expect(page.get_by_role("region", name="Entries, newest first")).to_contain_text("12.34 USD")
    await check_accessibility(page)
    await page.get_by_text("Pay in, or take out").click()
    await page.get_by_label("What to do").select_option("debit")
    await page.get_by_label("Amount").fill("99")
    await page.get_by_role("button", name="Record").click()
    await expect(page.get_by_label("Amount")).to_have_attribute("aria-invalid", "true")


async def test_a_reader_sees_no_forms(site: Site, open_page: OpenPage, made: Subscribed) -> None:
    page = await open_page(await site.tenant("read", of=made.tenant.tenant_id))
    await page.goto("/dashboard/customers/ada")
    await expect(page.get_by_role("heading", name="Ada Lovelace", level=1)).to_be_visible()
    await expect(page.get_by_role("link", name=re.compile("^(Subscribe|Pay in|New alert)"))).to_have_count(0)
    await page.goto("/dashboard/customers/ada/wallet")
    await expect(page.get_by_role("button", name="Record")).to_have_count(0)


@pytest.mark.parametrize(("dark", "phone"), [(True, False), (False, True)])
async def test_it_looks_well(open_page: OpenPage, made: Subscribed, dark: bool, phone: bool) -> None:
    page = await open_page(made.tenant, dark=dark, phone=phone)
    for path, name in (("/dashboard/customers", "customers"), ("/dashboard/customers/ada", "customer")):
        await page.goto(path)
        await expect(page.locator("[data-live-amount]").first).to_have_text("5.50 USD")
        await check_accessibility(page)
        if phone:
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        await shoot(page, f"{name}-{'dark' if dark else 'phone'}")
