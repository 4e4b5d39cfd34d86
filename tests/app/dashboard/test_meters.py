"""Meters in a browser: put together by clicking, watched while they count, archived."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import Page, expect

from app.dashboard import meter_counts
from app.service import Service
from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


def completion(number: int, **metadata: Any) -> dict[str, Any]:
    return {
        "event_id": f"req-{number}",
        "customer_id": "ada",
        "event_name": "llm.completion",
        "metadata": {"model": "large", "tokens": 100, **metadata},
    }


async def send(tenant: Tenant, *events: dict[str, Any]) -> None:
    await tenant.post("/events/ingest", {"events": list(events)})


async def declare(tenant: Tenant, **more: Any) -> str:
    body = {
        "name": "Tokens",
        "event_name": "llm.completion",
        "aggregation": {"type": "sum", "key": "tokens"},
        "measurement_unit": "token",
    }
    return (await tenant.post("/meters", {**body, **more}))["id"]


async def test_without_a_meter_the_page_says_what_to_do_next(signed_in: Page) -> None:
    await signed_in.goto("/dashboard/meters")
    await expect(signed_in.get_by_role("heading", name="No meter yet")).to_be_visible()
    await expect(signed_in.locator(".curl code")).to_contain_text("/events/ingest")
    await check_accessibility(signed_in)
    await signed_in.locator(".empty").get_by_role("link", name="New meter").click()
    await expect(signed_in.get_by_role("heading", name="New meter", level=1)).to_be_visible()


async def test_a_meter_is_created_by_clicking(open_page: OpenPage, tenant: Tenant) -> None:
    await send(tenant, completion(1), completion(2, model="small"), completion(3, tokens="many"))
    page = await open_page(tenant)
    await page.goto("/dashboard/meters/new")
    assert await page.locator("#event-names option").evaluate_all("found => found.map(one => one.value)") == [
        "llm.completion"
    ]
    await page.get_by_label("Event name").fill("llm.completion")
    await expect(page.get_by_label("Key", exact=True)).to_be_hidden()
    await page.get_by_label("Aggregation").select_option(label="Sum")
    await page.get_by_label("Key", exact=True).fill("tokens")
    sample = page.locator("#sample")
    await expect(sample).to_contain_text("3 of the latest 3 events match, 1 of them unmeasured")
    await expect(sample.locator(".sample-result")).to_contain_text("200")
    keys = await page.locator("#seen-keys option").evaluate_all("found => found.map(one => one.value)")
    assert sorted(keys) == ["model", "tokens"]
    await page.get_by_role("button", name="Add condition", exact=True).click()
    condition = page.get_by_role("group", name="Condition 1", exact=True)
    await condition.get_by_label("Key").fill("model")
    await condition.get_by_label("Value").fill("large")
    await expect(sample).to_contain_text("2 of the latest 3 events match")
    await expect(sample).to_contain_text("Counts model is “large”.")
    await expect(sample).to_contain_text("filtered out")
    await check_accessibility(page)
    await shoot(page, "meter-new")
    await page.get_by_label("Name", exact=True).fill("Large tokens")
    await page.get_by_label("Measurement unit").fill("token")
    await page.get_by_role("button", name="Create meter").click()
    await expect(page.get_by_role("heading", name="Large tokens", level=1)).to_be_visible()
    await expect(page.locator(".facts")).to_contain_text("model is “large”")
    assert await page.locator("#usage-now .number").text_content() != "0", "its history is counted before it is shown"
    (meter,) = (await tenant.api.get("/meters")).json()["items"]
    assert meter["filter"] == {
        "conjunction": "and",
        "clauses": [{"key": "model", "operator": "equals", "value": "large"}],
    }
    assert meter["aggregation"] == {"type": "sum", "key": "tokens"}


async def test_groups_nest_as_deep_as_the_domain_allows(open_page: OpenPage, tenant: Tenant) -> None:
    page = await open_page(tenant)
    await page.goto("/dashboard/meters/new?event_name=llm.completion")
    await page.get_by_role("button", name="Add group", exact=True).click()
    await page.get_by_role("button", name="Add group to Group 1", exact=True).click()
    await page.get_by_role("button", name="Add group to Group 1.2", exact=True).click()
    deepest = page.get_by_role("group", name="Group 1.2.2, condition 1")
    await deepest.get_by_label("Key").fill("tokens")
    await deepest.get_by_label("Comparison").select_option(label="is above")
    await deepest.get_by_label("Value").fill("0.5")
    await expect(page.get_by_role("button", name="Add group to Group 1.2.2")).to_have_count(0)
    for name in ("Group 1.2, condition 1", "Group 1, condition 1"):
        await page.get_by_role("button", name=f"Remove {name}", exact=True).click()
    # With the first clause gone, what was the second is the first.
    await expect(page.get_by_role("group", name="Group 1.1.1, condition 1")).to_be_visible()
    await check_accessibility(page)
    await shoot(page, "meter-groups")
    await page.get_by_label("Name", exact=True).fill("Long")
    await page.get_by_label("Measurement unit").fill("call")
    await page.get_by_role("button", name="Create meter").click()
    await expect(page.get_by_role("heading", name="Long", level=1)).to_be_visible()
    answered = await tenant.api.get("/meters")
    inner = {"conjunction": "or", "clauses": [{"key": "tokens", "operator": "greater_than", "value": 0.5}]}
    nested = {"conjunction": "or", "clauses": [{"conjunction": "or", "clauses": [inner]}]}
    assert answered.json()["items"][0]["filter"] == {"conjunction": "and", "clauses": [nested]}


async def test_errors_stand_beside_their_fields_and_keep_what_was_entered(open_page: OpenPage, tenant: Tenant) -> None:
    page = await open_page(tenant)
    allow_errors(page, "422")
    await page.goto("/dashboard/meters/new?event_name=llm.completion")
    await page.get_by_label("Name", exact=True).fill("Tokens")
    await page.get_by_label("Measurement unit").fill("token")
    await page.get_by_label("Aggregation").select_option(label="Sum")
    await page.get_by_role("button", name="Create meter").click()
    key = page.get_by_label("Key", exact=True)
    await expect(key).to_have_attribute("aria-invalid", "true")
    await expect(page.locator('[id="aggregation.key-error"]')).to_contain_text("aggregation.key: is required for sum")
    await expect(page.get_by_label("Name", exact=True)).to_have_value("Tokens")
    await key.fill("tokens")
    await page.get_by_role("button", name="Add condition", exact=True).click()
    condition = page.get_by_role("group", name="Condition 1", exact=True)
    await condition.get_by_label("Key").fill("model")
    await condition.get_by_label("Read as").select_option(label="number")
    await condition.get_by_label("Value").fill("large")
    await page.get_by_role("button", name="Create meter").click()
    error = page.locator('[id="filter.clauses[0].value-error"]')
    await expect(error).to_contain_text("filter.clauses[0].value: must be a number in plain decimal notation")
    await expect(condition.get_by_label("Value")).to_have_value("large")
    await check_accessibility(page)
    assert (await tenant.api.get("/meters")).json()["items"] == []


async def test_the_list_moves_while_usage_arrives(open_page: OpenPage, tenant: Tenant) -> None:
    await declare(tenant)
    await send(tenant, completion(1), completion(2, tokens=28.5))
    page = await open_page(tenant)
    await page.goto("/dashboard/meters")
    row = page.get_by_role("row").filter(has_text="Tokens")
    await expect(row).to_contain_text("128.5 token")
    await send(tenant, completion(3, tokens=1000))
    await expect(row).to_contain_text("1,128.5 token", timeout=30_000)
    await expect(row.locator(".spark svg")).to_be_visible()
    await check_accessibility(page)
    await shoot(page, "meters")
    await page.get_by_role("link", name="30 days").click()
    await expect(row).to_contain_text("1,128.5 token")


async def test_a_meter_shows_its_chart_groups_and_unmeasured_events(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare(tenant)
    await send(tenant, completion(1), completion(2, model="small", tokens=7), completion(3, tokens="many"))
    await tenant.project()
    page = await open_page(tenant)
    await page.goto(f"/dashboard/meters/{meter_id}?window=day&group_by=model")
    table = page.get_by_role("region", name="Usage by model")
    await expect(table.get_by_role("row").filter(has_text="large")).to_contain_text("100 token")
    await expect(table.get_by_role("row").filter(has_text="small")).to_contain_text("7 token")
    await expect(page.locator(".chart canvas")).to_be_visible()
    unmeasured = page.get_by_role("region", name="Unmeasured events, latest first")
    await expect(unmeasured).to_contain_text("req-3")
    await expect(unmeasured).to_contain_text('"tokens":"many"')
    await check_accessibility(page)
    await shoot(page, "meter")
    await send(tenant, completion(4, model="new", tokens=3))
    await expect(table).to_contain_text("new", timeout=30_000)
    await page.get_by_role("link", name="by month").click()
    await expect(page.locator("#usage-now")).to_contain_text("110 token in the last 12 months")


async def test_the_chart_says_what_the_api_says(open_page: OpenPage, tenant: Tenant) -> None:
    for aggregation in ({"type": kind, "key": "tokens"} for kind in ("sum", "max", "min", "avg", "last", "unique")):
        await declare(tenant, name=aggregation["type"], aggregation=aggregation)
    await declare(tenant, name="count", aggregation={"type": "count"})
    await send(tenant, completion(1), completion(2, tokens=7), completion(3, tokens="7.0"))
    await tenant.project()
    page = await open_page(tenant)
    for meter in (await tenant.api.get("/meters")).json()["items"]:
        path = f"/dashboard/meters/{meter['id']}/usage.json?window=day"
        chart = await (await page.request.get(path)).json()
        since = datetime.fromtimestamp(chart["x"][-1], UTC).isoformat().replace("+00:00", "Z")
        answered = await tenant.api.get(f"/meters/{meter['id']}/usage", params={"start": since})
        assert chart["series"][0]["values"][-1] == answered.json()["quantity"], meter["name"]
        assert len(chart["x"]) == len(chart["series"][0]["values"]) == 30


async def test_what_takes_too_long_to_count_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter_counts, "READING_SECONDS_MAX", 0.05)
    with pytest.raises(meter_counts.TooMuch):
        async with meter_counts.bounded(service) as database:
            await database.fetchval("select pg_sleep(30)")


async def test_a_meter_is_archived_and_counts_again(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare(tenant)
    page = await open_page(tenant)
    await page.goto(f"/dashboard/meters/{meter_id}")
    await page.get_by_role("button", name="Archive").click()
    await expect(page.locator(".notice.good")).to_contain_text("Archived")
    assert (await tenant.api.get("/meters")).json()["items"] == []
    await page.goto("/dashboard/meters?archived=true")
    await page.get_by_role("link", name="Tokens").click()
    await page.get_by_role("button", name="Unarchive").click()
    await expect(page.locator(".notice.good")).to_contain_text("In use again")
    assert len((await tenant.api.get("/meters")).json()["items"]) == 1


async def test_a_read_key_sees_meters_and_no_forms(site: Site, open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare(tenant)
    reader = await site.tenant("read", of=tenant.tenant_id)
    page = await open_page(reader)
    await page.goto("/dashboard/meters")
    await expect(page.get_by_role("link", name="New meter")).to_have_count(0)
    await page.goto(f"/dashboard/meters/{meter_id}")
    await expect(page.get_by_role("button", name="Archive")).to_have_count(0)
    allow_errors(page, "403")
    answered = await page.goto("/dashboard/meters/new")
    assert answered is not None
    assert answered.status == 403


async def test_another_tenants_meter_is_not_there(site: Site, open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare(tenant)
    page = await open_page(await site.tenant())
    allow_errors(page, "404")
    for path in (f"/dashboard/meters/{meter_id}", f"/dashboard/meters/{meter_id}/usage.json"):
        assert (await page.request.get(path)).status == 404


async def test_a_form_that_nobody_filled_in_is_refused_and_not_a_failure(open_page: OpenPage, tenant: Tenant) -> None:
    page = await open_page(tenant)
    await page.goto("/dashboard/meters/new")
    token = await page.evaluate("JSON.parse(document.body.getAttribute('hx-headers'))['x-csrftoken']")
    deep = "filter" + ".clauses[0]" * 30 + ".key"
    for entered in (
        {"filter": "x"},
        {"filter.clauses": "x"},
        {"filter.clauses[0]": "x"},
        {"filter.clauses[0][1].key": "x"},
        {"filter.clauses.x": "y"},
        {deep: "x"},
        {"aggregation": "sum", "event_name": "e", "name": "n", "measurement_unit": "u"},
    ):
        for path in ("new", "new/sample", "new/filter"):
            sent: dict[str, str | float | bool] = {**entered, "action": "condition filter.clauses"}
            answered = await page.request.post(f"/dashboard/meters/{path}", form=sent, headers={"x-csrftoken": token})
            assert answered.status in (200, 422), (entered, path, await answered.text())


async def test_it_fits_a_phone_and_the_dark(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare(tenant)
    await send(tenant, *(completion(number, tokens=number) for number in range(1, 20)))
    await tenant.project()
    for name, options in (("phone", {"phone": True}), ("dark", {"dark": True})):
        page = await open_page(tenant, **options)
        for path, picture in (
            ("/dashboard/meters", "meters"),
            (f"/dashboard/meters/{meter_id}?window=hour", "meter"),
            ("/dashboard/meters/new?event_name=llm.completion", "meter-new"),
        ):
            await page.goto(path)
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            if picture == "meter-new":
                await page.get_by_role("button", name="Add group", exact=True).click()
                await expect(page.locator("#sample")).to_contain_text("Not complete yet")
            await check_accessibility(page)
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} pixels too wide"
            await shoot(page, f"{picture}-{name}")
