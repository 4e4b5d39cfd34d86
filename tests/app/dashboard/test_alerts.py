"""Alerts: set by clicking, seen when they fire, deleted."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site
from tests.app.dashboard.subscribed import Subscribed, subscribed


@pytest.fixture
async def made(site: Site) -> Subscribed:
    return await subscribed(site)


@pytest.fixture
async def page(open_page: OpenPage, made: Subscribed) -> Page:
    return await open_page(made.tenant)


async def test_a_newcomer_is_told_what_alerts_are(signed_in: Page) -> None:
    await signed_in.goto("/dashboard/alerts")
    await expect(signed_in.get_by_role("heading", name="No alerts so far")).to_be_visible()
    await expect(signed_in.locator(".curl code")).to_contain_text('"threshold": "10000"')
    await check_accessibility(signed_in)


async def test_an_alert_is_set_fires_and_is_deleted(page: Page, made: Subscribed) -> None:
    await page.goto(made.path)
    await page.get_by_role("link", name="New alert").click()
    await page.get_by_label("Meter").select_option(label="Tokens (token)")
    await page.get_by_label("Threshold", exact=True).fill("2000")
    await check_accessibility(page)
    await shoot(page, "alert-new")
    await page.get_by_role("button", name="Set the alert").click()
    await expect(page.get_by_text("The alert is set.")).to_be_visible()
    alerts = page.get_by_role("region", name="Alerts", exact=True).last
    await expect(alerts.get_by_role("row", name=re.compile("Tokens used"))).to_contain_text("2,000 token")
    await expect(page.locator("#live-status")).to_have_attribute("data-state", "live")
    await made.use(tokens=700)
    await expect(page.locator("#alerts .toast")).to_contain_text("ada has reached 2,000")
    await page.goto("/dashboard/alerts")
    fired = page.get_by_role("region", name="Fired alerts")
    await expect(fired).to_contain_text("2,200 token")
    await expect(fired).to_contain_text(made.subscription)
    await check_accessibility(page)
    await shoot(page, "alerts-light")
    await page.get_by_role("button", name="Delete the alert at 2,000 token").click()
    await expect(page.get_by_text("The alert is deleted.")).to_be_visible()
    # What it fired for stays.
    await expect(fired).to_contain_text("2,200 token")


async def test_an_amount_is_entered_in_whole_currency(page: Page, made: Subscribed) -> None:
    await page.goto("/dashboard/customers/ada")
    await page.get_by_role("link", name="New alert").click()
    await page.get_by_label("What reaches the threshold").select_option("amount")
    await expect(page.get_by_label("Meter")).to_be_hidden()
    await page.get_by_label("Threshold", exact=True).fill("50.5")
    await page.get_by_role("button", name="Set the alert").click()
    await expect(page.get_by_text("The alert is set.")).to_be_visible()
    (alert,) = (await made.tenant.api.get("/alerts")).json()["items"]
    assert (alert["kind"], alert["threshold"], alert["customer_id"]) == ("amount", "5050", "ada")
    assert alert["subscription_id"] is None
    await expect(page.get_by_text("50.50 USD")).to_be_visible()
    await expect(page.locator("#live-status")).to_have_attribute("data-state", "live")
    await made.use(tokens=60_000)
    await expect(page.locator("#alerts .toast")).to_contain_text("ada has reached 50.50 USD")


async def test_errors_stand_beside_their_fields(page: Page, made: Subscribed) -> None:
    allow_errors(page, "422")
    await page.goto("/dashboard/alerts/new?customer_id=ada")
    await page.get_by_label("Threshold", exact=True).fill("10")
    await page.get_by_role("button", name="Set the alert").click()
    await expect(page.locator("#meter_id-error")).to_contain_text("is needed")
    await expect(page.get_by_label("Threshold", exact=True)).to_have_value("10")
    await page.get_by_label("What reaches the threshold").select_option("credit_percent")
    await page.get_by_label("Credits").select_option(label="SMS credits")
    await page.get_by_label("Threshold", exact=True).fill("101")
    await page.get_by_role("button", name="Set the alert").click()
    await expect(page.locator("#threshold-error")).to_contain_text("at most 100")
    await check_accessibility(page)


async def test_an_alert_for_nobody_is_not_found(page: Page) -> None:
    allow_errors(page, "404")
    await page.goto("/dashboard/alerts/new?customer_id=nobody")
    await expect(page.get_by_role("heading", name="Not found")).to_be_visible()
