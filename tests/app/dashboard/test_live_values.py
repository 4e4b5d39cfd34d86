"""Values that move in a page: put in place whole, caught up with after a lost connection, never an older one."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Page, expect

from tests.app.dashboard.browser import check_accessibility
from tests.app.dashboard.conftest import WAIT_MS, OpenPage, Tenant
from tests.app.dashboard.test_overview import event, shop

WATCHED_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); this.sent = []; window.sockets.push(this); }
  send(text) { this.sent.push(JSON.parse(text)); super.send(text); }
};
"""
"""The page's sockets, where a test finds them."""

NEVER_OPENS = """
window.WebSocket = class { static OPEN = 1; constructor() { setTimeout(() => this.onclose({})); } };
"""


async def cycle_of(tenant: Tenant) -> dict[str, Any]:
    """The estimate of the tenant's one subscription."""
    subscription = (await tenant.api.get("/subscriptions")).json()["items"][0]["subscription_id"]
    return (await tenant.api.get(f"/subscriptions/{subscription}/estimate")).json()


async def show_values(page: Page, estimate: dict[str, Any], at: int = 0) -> None:
    """Put elements with live values into the page, as htmx does with a fragment."""
    meter = next(line["meter_id"] for line in estimate["lines"] if line["meter_id"])
    key = f"{estimate['subscription_id']}/{estimate['cycle_start']}"
    await page.evaluate(
        """([key, meter, at]) => {
          const box = document.createElement("div");
          box.id = "box";
          box.dataset.liveCustomer = "ada";
          box.innerHTML = `<b id="amount" data-live-amount="${key}" data-live-at="${at}">old</b>
            <b id="quantity" data-live-quantity="${key}/${meter}" data-live-at="${at}">old</b>
            <progress id="part" max="10" value="0" data-live-quantity="${key}/${meter}"></progress>`;
          document.querySelector("#box")?.remove();
          document.querySelector("main").append(box);
          box.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true }));
        }""",
        [key, meter, at],
    )


async def test_values_move_and_catch_up_after_a_lost_connection(open_page: OpenPage, tenant: Tenant) -> None:
    await shop(tenant)
    await tenant.api.post("/events/ingest", json={"events": [event(1)]})
    page = await open_page(tenant)
    await page.add_init_script(WATCHED_SOCKETS)
    await page.goto("/")
    await show_values(page, await cycle_of(tenant))
    status, quantity, amount = page.locator("#live-status"), page.locator("#quantity"), page.locator("#amount")
    await expect(status).to_have_text("live")
    await expect(quantity).to_have_text("1")
    await expect(amount).to_have_text("1,234.00 USD")
    await tenant.api.post("/events/ingest", json={"events": [event(number) for number in range(2, 5)]})
    await expect(quantity).to_have_text("4")
    await expect(amount).to_have_text("1,235.00 USD")
    await expect(page.locator("#part")).to_have_js_property("value", 4)
    seen = await page.evaluate("Number(document.querySelector('#quantity').dataset.liveAt)")
    await page.evaluate("sockets.at(-1).close()")
    await expect(status).to_have_text("reconnecting")
    await tenant.api.post("/events/ingest", json={"events": [event(5)]})
    await expect(status).to_have_text("live", timeout=15_000)
    await expect(quantity).to_have_text("5")
    await expect(amount).to_have_text("1,235.50 USD")
    again = await page.evaluate("sockets.at(-1).sent.find((frame) => frame.customer_id === 'ada')")
    assert again["after"] >= seen, "what was seen is not sent again"
    assert len(await page.evaluate("sockets")) == 2


async def test_a_fragment_that_is_newer_than_the_channel_stays(open_page: OpenPage, tenant: Tenant) -> None:
    await shop(tenant)
    page = await open_page(tenant)
    await page.goto("/")
    estimate = await cycle_of(tenant)
    await show_values(page, estimate)
    await expect(page.locator("#amount")).to_have_text("1,234.00 USD")
    # A fragment from before what was told gets the newest value at once; one from after it keeps its own.
    await show_values(page, estimate, at=1)
    await expect(page.locator("#amount")).to_have_text("1,234.00 USD")
    await show_values(page, estimate, at=10**9)
    await expect(page.locator("#part")).to_have_js_property("value", 0)
    await expect(page.locator("#amount")).to_have_text("old")


async def test_a_page_without_the_channel_says_that_it_tries(open_page: OpenPage, tenant: Tenant) -> None:
    await shop(tenant)
    await tenant.api.post("/events/ingest", json={"events": [event(1)]})
    page = await open_page(tenant)
    await page.add_init_script(NEVER_OPENS)
    await page.goto("/")
    await expect(page.locator("#live-status")).to_have_text("reconnecting")
    await expect(page.locator("#estimated .money")).to_have_text("1,234.00 USD")


async def test_an_alert_is_announced(open_page: OpenPage, tenant: Tenant) -> None:
    await shop(tenant)
    estimate = await cycle_of(tenant)
    meter = next(line["meter_id"] for line in estimate["lines"] if line["meter_id"])
    await tenant.post("/alerts", {"customer_id": "ada", "kind": "quantity", "meter_id": meter, "threshold": "3"})
    page = await open_page(tenant)
    await page.goto("/")
    await show_values(page, estimate)
    await expect(page.locator("#live-status")).to_have_text("live")
    await expect(page.locator("#quantity")).to_have_text("0")
    await tenant.api.post("/events/ingest", json={"events": [event(number) for number in range(4)]})
    told = page.get_by_role("status", name="Alerts").get_by_text("ada has reached 3 (quantity)")
    await expect(told).to_be_visible(timeout=15_000)
    await check_accessibility(page)
    # The page watches the customer and the whole tenant: it is told twice, and says it once.
    await expect(told).to_have_count(1)
    await page.get_by_role("button", name="Dismiss").click()
    await expect(told).to_have_count(0)


async def test_what_is_read_anew_is_asked_for_as_new_as_what_was_seen(signed_in: Page, tenant: Tenant) -> None:
    await shop(tenant)
    await tenant.post("/events/ingest", {"events": [event(1)]})
    await signed_in.goto("/")
    await expect(signed_in.locator("#estimated .money")).to_be_visible()
    said: list[int] = []
    signed_in.on("request", lambda request: said.append(int(request.headers.get("taximeter-seen", 0))))
    answered = await tenant.post("/events/ingest", {"events": [event(2)]})
    async with asyncio.timeout(WAIT_MS / 1_000):
        while not said or said[-1] < answered["position"]:
            await signed_in.wait_for_timeout(50)
