"""The tail of events, what was rejected, and one event's way to an invoice line."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from tests.app.dashboard.billed import billed
from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


async def send(tenant: Tenant, *events: dict[str, object], on_invalid: str = "refuse") -> dict[str, object]:
    answer = await tenant.api.post(f"/events/ingest?on_invalid={on_invalid}", json={"events": list(events)})
    assert answer.is_success, answer.text
    found: dict[str, object] = answer.json()
    return found


def event(number: int, customer_id: str = "ada", **metadata: object) -> dict[str, object]:
    return {"event_id": f"e{number}", "customer_id": customer_id, "event_name": "call", "metadata": metadata}


async def test_a_newcomer_is_told_how_to_send_the_first_event(signed_in: Page, tenant: Tenant) -> None:
    await signed_in.goto("/dashboard/events")
    await expect(signed_in.get_by_role("heading", name="No events so far")).to_be_visible()
    await expect(signed_in.locator(".curl code")).to_contain_text(f"{tenant.url}/events/ingest")
    await check_accessibility(signed_in)
    await shoot(signed_in, "events-empty")
    await send(tenant, event(1, tokens=5))
    await expect(signed_in.locator("#tail tbody")).to_contain_text("tokens=5")
    await expect(signed_in.locator("#tail").get_by_role("link", name="e1", exact=True)).to_be_visible()
    await expect(signed_in.get_by_role("heading", name="No events so far")).to_have_count(0)


async def test_new_events_come_in_on_top_without_reload_unless_paused(signed_in: Page, tenant: Tenant) -> None:
    await send(tenant, event(1, tokens=1), event(2, tokens=2))
    await signed_in.goto("/dashboard/events")
    await signed_in.evaluate("window.stayed = true")
    rows = signed_in.locator("#tail tbody tr:not([hidden])")
    await expect(rows).to_have_count(2)
    await send(tenant, event(3, tokens=3))
    await expect(rows).to_have_count(3)
    await expect(rows.first).to_contain_text("tokens=3")
    pause = signed_in.get_by_role("button", name="Pause")
    await pause.focus()
    await signed_in.keyboard.press("Enter")
    await expect(signed_in.get_by_role("button", name="Resume")).to_have_attribute("aria-pressed", "true")
    await send(tenant, event(4, tokens=4))
    await signed_in.wait_for_timeout(3_000)
    await expect(rows).to_have_count(3)
    await signed_in.get_by_role("button", name="Resume").click()
    await expect(rows).to_have_count(4)
    await expect(rows.first).to_contain_text("tokens=4")
    assert await signed_in.evaluate("window.stayed")


async def test_filters_narrow_what_is_there_and_what_arrives(signed_in: Page, tenant: Tenant) -> None:
    await send(tenant, event(1, model="large"), event(2, model="small"), event(3, "bob", model="large"))
    await send(tenant, event(4, n=7.0), event(5, n="7"), event(6, flag=True))
    await signed_in.goto("/dashboard/events")
    await signed_in.get_by_label("Customer").fill("ada")
    await signed_in.get_by_label("Metadata").fill("model=large")
    await signed_in.get_by_role("button", name="Filter").click()
    rows = signed_in.locator("#tail tbody tr:not([hidden])")
    await expect(rows).to_have_count(1)
    await expect(signed_in.get_by_label("Metadata")).to_have_value("model=large")
    await send(tenant, event(7, model="small"), event(8, model="large"))
    await expect(rows).to_have_count(2)
    await signed_in.goto("/dashboard/events?metadata=n%3D7")
    await expect(rows).to_have_count(2)
    await signed_in.goto("/dashboard/events?metadata=flag%3Dtrue")
    await expect(rows).to_have_count(1)
    await signed_in.get_by_role("link", name="Clear").click()
    await expect(rows).to_have_count(8)


async def test_a_condition_that_is_none_is_told_beside_its_field(signed_in: Page, tenant: Tenant) -> None:
    await send(tenant, event(1))
    allow_errors(signed_in, "422")
    await signed_in.goto("/dashboard/events?metadata=large&event_name=call")
    field = signed_in.get_by_label("Metadata")
    await expect(field).to_have_value("large")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(signed_in.locator("#metadata-error")).to_contain_text("must be key=value")
    await expect(signed_in.get_by_label("Event name")).to_have_value("call")


async def test_an_id_leads_to_its_event(signed_in: Page, tenant: Tenant) -> None:
    receipt = await send(tenant, {**event(1), "event_id": "a/b c"})
    await signed_in.goto("/dashboard/events")
    await signed_in.get_by_label("Event id").fill("a/b c")
    await signed_in.get_by_role("button", name="Filter").click()
    await expect(signed_in).to_have_url(f"{tenant.url}/dashboard/events/{receipt['position']}")
    allow_errors(signed_in, "422")
    await signed_in.goto("/dashboard/events?event_id=other")
    await expect(signed_in.locator("#event_id-error")).to_contain_text("other")


async def test_older_events_are_a_page_away(signed_in: Page, tenant: Tenant) -> None:
    await send(tenant, *(event(number) for number in range(60)))
    await signed_in.goto("/dashboard/events")
    rows = signed_in.locator("#tail tbody tr:not([hidden])")
    await expect(rows).to_have_count(50)
    await signed_in.get_by_role("link", name="Older").click()
    await expect(rows).to_have_count(10)
    await expect(signed_in.get_by_role("button", name="Pause")).to_have_count(0)
    assert len(await rows.locator("td:first-child").all_inner_texts()) == 10


async def test_rejected_events_say_why(signed_in: Page, tenant: Tenant) -> None:
    await signed_in.goto("/dashboard/events/rejected")
    await expect(signed_in.get_by_role("heading", name="Nothing was rejected")).to_be_visible()
    receipt = await send(tenant, event(1, tokens=1))
    await send(tenant, event(1, tokens=2))
    await send(tenant, {**event(2), "event_name": ""}, on_invalid="skip")
    await signed_in.reload()
    conflict = signed_in.get_by_role("row", name=re.compile("conflict"))
    await expect(conflict).to_contain_text("was recorded before with other content")
    await expect(signed_in.get_by_role("row", name=re.compile("invalid"))).to_contain_text("event_name")
    await check_accessibility(signed_in)
    await shoot(signed_in, "events-rejected")
    await conflict.get_by_role("link", name="See the event that was recorded first").click()
    await expect(signed_in).to_have_url(f"{tenant.url}/dashboard/events/{receipt['position']}")
    await signed_in.goto("/dashboard/events/rejected?reason=invalid")
    await expect(signed_in.get_by_role("row", name=re.compile("conflict"))).to_have_count(0)


async def test_an_event_is_followed_to_the_open_estimate_and_to_its_invoice(
    open_page: OpenPage, signed_in: Page, tenant: Tenant
) -> None:
    made = await billed(tenant)
    position = await made.use("req-1", tokens=1600.5, model="small")
    await signed_in.goto(f"/dashboard/events/{position}")
    content = signed_in.locator("main")
    await expect(content).to_contain_text("1 of 2 meters of its name count it; its cycle is on the open estimate.")
    refused = signed_in.get_by_role("row", name=re.compile("Large calls"))
    await expect(refused).to_contain_text("Not counted: filter")
    await expect(refused.locator("li", has_text="model = ")).to_contain_text('fails model = "large" is "small"')
    await expect(refused.locator("li", has_text="tokens > 10")).to_contain_text("passes")
    counting = signed_in.get_by_role("row", name=re.compile("Tokens"))
    await expect(counting).to_contain_text("1,600.5")
    await expect(content).to_contain_text(re.compile("[0-9a-f]{64}"))
    await signed_in.get_by_role("link", name=re.compile("^Usage: API: Tokens")).click()
    await expect(signed_in.get_by_role("heading", name="Next invoice", exact=True)).to_be_visible()

    invoice = await made.close()
    await signed_in.goto(f"/dashboard/events/{position}")
    await expect(content).to_contain_text(f"its cycle is on invoice {invoice['number']}.")
    await check_accessibility(signed_in)
    await shoot(signed_in, "event-light")
    for name, options in (("dark", {"dark": True}), ("phone", {"phone": True})):
        other = await open_page(tenant, **options)
        for page, path in (("event", f"/dashboard/events/{position}"), ("events", "/dashboard/events")):
            await other.goto(path)
            await check_accessibility(other)
            await shoot(other, f"{page}-{name}")
    await signed_in.get_by_role("link", name=re.compile("^Usage: API: Tokens")).click()
    index = next(n for n, line in enumerate(invoice["lines"], 1) if line["meter_id"] == made.tokens)
    await expect(signed_in).to_have_url(re.compile(rf"/dashboard/invoices/{invoice['invoice_id']}#line-{index}$"))


async def test_a_late_event_leads_to_the_adjustment(signed_in: Page, tenant: Tenant) -> None:
    made = await billed(tenant)
    await made.use("req-1", tokens=1100, model="small")
    invoice = await made.close()
    late = await made.use("req-2", tokens=100, model="small")
    await signed_in.goto(f"/dashboard/events/{late}")
    await expect(signed_in.locator(".landed")).to_contain_text("Recorded after that invoice")
    await expect(signed_in.locator(".landed")).to_contain_text(f"up to position {invoice['position']}")
    line = signed_in.get_by_role("link", name=re.compile("^Adjustment: API: Tokens"))
    await expect(line).to_have_attribute("href", re.compile(f"/dashboard/invoices/next/{made.subscription_id}#line-"))


async def test_events_that_nobody_bills(signed_in: Page, tenant: Tenant) -> None:
    receipt = await send(tenant, event(1))
    await signed_in.goto(f"/dashboard/events/{receipt['position']}")
    await expect(signed_in.locator("main")).to_contain_text("No meter has its name; its customer has no subscription")
    await tenant.post("/events/void", {"event_ids": ["e1"], "reason": "a test run"})
    await signed_in.reload()
    await expect(signed_in.locator("main")).to_contain_text("a test run")
    await signed_in.goto("/dashboard/events")
    await expect(signed_in.locator("#tail")).to_contain_text("voided")


async def test_a_position_without_a_usage_event_is_not_found(signed_in: Page) -> None:
    allow_errors(signed_in, "404")
    for position in ("0", "1", "999999", "99999999999999999999999"):
        answer = await signed_in.goto(f"/dashboard/events/{position}")
        assert answer is not None
        assert answer.status == 404, position


async def test_another_tenant_sees_nothing(site: Site, open_page: OpenPage, tenant: Tenant) -> None:
    receipt = await send(tenant, event(1, tokens=1))
    stranger = await open_page(await site.tenant())
    allow_errors(stranger, "404")
    answer = await stranger.goto(f"/dashboard/events/{receipt['position']}")
    assert answer is not None
    assert answer.status == 404
    await stranger.goto("/dashboard/events")
    await expect(stranger.locator("#tail tbody tr:not([hidden])")).to_have_count(0)
