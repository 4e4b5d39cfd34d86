"""Products in a browser: put together by clicking, calculated, priced anew."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Route, expect

from app.dashboard.line_steps import TIMES
from app.http.examples import PRICE
from tests.app.dashboard.browser import allow_errors, check_accessibility, shoot
from tests.app.dashboard.conftest import OpenPage, Site, Tenant


async def declare_meter(tenant: Tenant, name: str = "Calls", unit: str = "call") -> str:
    body = {
        "name": name,
        "event_name": "api.call",
        "aggregation": {"type": "count"},
        "measurement_unit": unit,
    }
    return (await tenant.post("/meters", body))["id"]


async def declare_product(tenant: Tenant, *meters: dict[str, Any], **more: Any) -> str:
    price = {**PRICE, "meters": list(meters)}
    return (await tenant.post("/products", {"name": "API", "tax_category": "saas", "price": price, **more}))[
        "product_id"
    ]


async def declare_credits(tenant: Tenant) -> str:
    body = {
        "name": "SMS credits",
        "unit": "credit",
        "precision": 0,
        "overage_enabled": False,
        "rollover_enabled": False,
    }
    return (await tenant.post("/credit-entitlements", body))["id"]


async def the_product(tenant: Tenant) -> dict[str, Any]:
    (product,) = (await tenant.api.get("/products")).json()["items"]
    return product


async def test_without_a_product_the_page_says_what_to_do_next(open_page: OpenPage, tenant: Tenant) -> None:
    page = await open_page(tenant)
    await page.goto("/dashboard/products")
    await expect(page.locator(".empty").get_by_role("link", name="New meter")).to_be_visible()
    await check_accessibility(page)
    await declare_meter(tenant)
    await page.reload()
    await page.locator(".empty").get_by_role("link", name="New product").click()
    await expect(page.get_by_role("heading", name="New product", level=1)).to_be_visible()


async def test_a_product_is_created_by_clicking(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare_meter(tenant)
    page = await open_page(tenant)
    await page.goto("/dashboard/products/new")
    await page.get_by_label("Name", exact=True).fill("API")
    await page.get_by_label("Fixed price").fill("5.00")
    await page.get_by_role("button", name="Add meter").click()
    await page.get_by_label("Meter", exact=True).select_option(label="Calls")
    await page.get_by_label("Price per call").fill("0.001")
    await page.get_by_label("Free threshold (call)").fill("10000")
    await page.get_by_label("Calculate with (call)").fill("12345")
    calculation = page.locator("#calculation")
    await expect(calculation.locator(".sum")).to_contain_text("7.35 USD")
    await expect(calculation).to_contain_text(f"2,345 {TIMES} 0.001 USD")
    await expect(calculation).to_contain_text("rounded once, half away from zero")
    await check_accessibility(page)
    await shoot(page, "product-new")
    await page.get_by_role("button", name="Create product").click()
    await expect(page.get_by_role("heading", name="API", level=1)).to_be_visible()
    await expect(page.get_by_role("region", name="Price versions, the last recorded first")).to_contain_text(
        "Calls: 0.001 USD per call after 10,000 free"
    )
    product = await the_product(tenant)
    assert product["price_detail"]["fixed_price"] == 500
    (meter,) = product["price_detail"]["meters"]
    assert (meter["meter_id"], meter["price_per_unit"], meter["free_threshold"]) == (meter_id, "0.1", 10000)


async def test_tiers_credits_and_packages(open_page: OpenPage, tenant: Tenant) -> None:
    for name in ("Calls", "Texts", "Pages"):
        await declare_meter(tenant, name, name.lower()[:-1])
    entitlement_id = await declare_credits(tenant)
    page = await open_page(tenant)
    await page.goto("/dashboard/products/new")
    await page.get_by_label("Name", exact=True).fill("Everything")
    await page.get_by_label("Currency").select_option("JPY")
    await page.get_by_label("A cycle lasts").fill("3")
    for place, (name, model) in enumerate((("Calls", "graduated"), ("Texts", "flat"), ("Pages", "package")), start=1):
        await page.get_by_role("button", name="Add meter", exact=True).click()
        part = page.get_by_role("group", name=f"Meter {place}", exact=True)
        await part.get_by_label("Meter", exact=True).select_option(label=name)
        await expect(part.get_by_label(f"Calculate with ({name.lower()[:-1]})")).to_be_visible()
        await part.get_by_label("Price model").select_option(model)
    first = page.get_by_role("group", name="meter 1, tier 1")
    await first.get_by_label("Up to (call)").fill("100")
    await first.get_by_label("Price per call").fill("2")
    await first.get_by_label("Plus, once reached").fill("50")
    await page.get_by_role("group", name="meter 1, tier 2").get_by_label("Price per call").fill("1.5")
    texts = page.get_by_role("group", name="Meter 2", exact=True)
    await texts.get_by_label("Price per text").fill("10")
    await texts.get_by_label("Burns credits of").select_option(label="SMS credits")
    await texts.get_by_label("One credit covers (text)").fill("2")
    pages = page.get_by_role("group", name="Meter 3", exact=True)
    await pages.get_by_label("Package size (page)").fill("1000")
    await pages.get_by_label("Price per package").fill("300")
    await page.get_by_role("button", name="Add credits").click()
    await page.get_by_label("Entitlement", exact=True).select_option(label="SMS credits")
    await page.get_by_label("Credits per cycle").fill("20")
    for label, units in (("call", "150"), ("text", "50"), ("page", "1001")):
        await page.get_by_label(f"Calculate with ({label})").fill(units)
    # 100 for 2 each and 50, 50 for 1.5 each; 50 texts but for 40 in credits; two packages.
    await expect(page.locator("#calculation .sum")).to_contain_text("1,025 JPY")
    await check_accessibility(page)
    await shoot(page, "product-tiers")
    await page.get_by_role("button", name="Create product").click()
    await expect(page.get_by_role("heading", name="Everything", level=1)).to_be_visible()
    product = await the_product(tenant)
    price = product["price_detail"]
    assert (price["currency"], price["payment_frequency_count"]) == ("JPY", 3)
    calls, text, sheet = price["meters"]
    assert calls["tiers"] == [
        {"up_to": "100", "price_per_unit": "2", "fixed_price": 50},
        {"up_to": None, "price_per_unit": "1.5", "fixed_price": 0},
    ]
    assert (text["credit_entitlement_id"], text["meter_units_per_credit"]) == (entitlement_id, "2")
    assert (sheet["tier_mode"], sheet["package_size"]) == ("package", "1000")
    assert product["credit_entitlements"][0]["credits_amount"] == "20"


async def test_what_is_typed_while_a_part_is_read_again_stays(open_page: OpenPage, tenant: Tenant) -> None:
    await declare_meter(tenant)
    await declare_credits(tenant)
    page = await open_page(tenant)
    await page.goto("/dashboard/products/new")
    await page.get_by_role("button", name="Add meter", exact=True).click()
    part = page.get_by_role("group", name="Meter 1", exact=True)
    await part.get_by_label("Meter", exact=True).select_option(label="Calls")
    await expect(part.get_by_label("Price per call")).to_be_visible()
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/dashboard/products/new/parts", hold, times=1)
    await page.get_by_role("button", name="Add credits").click()
    await part.get_by_label("Price per call").fill("0.25")
    await part.get_by_label("Price model").select_option("package")
    held.set()
    await expect(page.get_by_label("Credits per cycle")).to_be_visible()
    # The choice that was made meanwhile is there with its fields; the price went with the field that it had.
    await expect(part.get_by_label("Price model")).to_have_value("package")
    await expect(part.get_by_label("Package size (call)")).to_be_visible()
    await expect(part.get_by_label("Price per package")).to_have_value("0.25")


CHOOSES_AT_ONCE = """
new MutationObserver(() => {
  const choice = document.querySelector('select[name="price.meters[0].meter_id"]');
  if (!choice || window.chosen) return;
  window.chosen = true;
  choice.selectedIndex = choice.options.length - 1;
  choice.dispatchEvent(new Event("change", { bubbles: true }));
}).observe(document.querySelector("#parts"), { childList: true, subtree: true });
"""


async def test_a_choice_counts_from_the_moment_that_it_is_there(open_page: OpenPage, tenant: Tenant) -> None:
    await declare_meter(tenant)
    page = await open_page(tenant)
    await page.goto("/dashboard/products/new")
    await page.evaluate(CHOOSES_AT_ONCE)
    await page.get_by_role("button", name="Add meter", exact=True).click()
    await expect(page.get_by_label("Price per call")).to_be_visible()


async def test_errors_stand_beside_their_fields_and_keep_what_was_entered(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare_meter(tenant)
    page = await open_page(tenant)
    allow_errors(page, "422")
    await page.goto(f"/dashboard/products/new?meter_id={meter_id}")
    await page.get_by_role("button", name="Create product").click()
    await expect(page.locator("#name-error")).to_contain_text("name: is required")
    await page.get_by_label("Name", exact=True).fill("API")
    for entered, told in (
        ("", "is required"),
        ("1,5", "plain decimal notation"),
        ("1000", "must be from 0 to below 1000.00 USD"),
    ):
        await page.get_by_label("Price per call").fill(entered)
        await page.get_by_role("button", name="Create product").click()
        error = page.locator('[id="price.meters[0].price_per_unit-error"]')
        await expect(error).to_contain_text(told)
        await expect(page.get_by_label("Price per call")).to_have_value(entered)
    await page.get_by_label("Price per call").fill("0.001")
    await page.get_by_label("Fixed price").fill("5.001")
    await page.get_by_role("button", name="Create product").click()
    await expect(page.locator('[id="price.fixed_price-error"]')).to_contain_text("at most 2 digits after the point")
    await check_accessibility(page)
    assert (await tenant.api.get("/products")).json()["items"] == []


async def test_a_new_version_keeps_what_the_form_does_not_show(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id, entitlement_id = await declare_meter(tenant), await declare_credits(tenant)
    included = {"credit_entitlement_id": entitlement_id, "credits_amount": "10", "low_balance_threshold_percent": 25}
    product_id = await declare_product(
        tenant, {"meter_id": meter_id, "price_per_unit": "0.1"}, credit_entitlements=[included]
    )
    page = await open_page(tenant)
    await page.goto(f"/dashboard/products/{product_id}")
    await page.get_by_role("link", name="New price version").click()
    await expect(page.get_by_label("Price per call")).to_have_value("0.001")
    await page.get_by_label("Price per call").fill("0.0025")
    await page.get_by_label("Credits per cycle").fill("30")
    await page.get_by_label("In force from (UTC)").fill("2035-01-01T00:00")
    await check_accessibility(page)
    await shoot(page, "product-version")
    await page.get_by_role("button", name="Add version").click()
    versions = page.get_by_role("region", name="Price versions, the last recorded first").get_by_role("row")
    await expect(versions.nth(1)).to_contain_text("for later")
    await expect(versions.nth(1)).to_contain_text("Calls: 0.0025 USD per call")
    await expect(versions.nth(2)).to_contain_text("in force")
    product = (await tenant.api.get(f"/products/{product_id}")).json()
    assert product["price"]["meters"][0]["price_per_unit"] == "0.25"
    assert product["credit_entitlements"][0]["low_balance_threshold_percent"] == 25
    assert product["credit_entitlements"][0]["credits_amount"] == "30"
    await page.get_by_role("link", name="Calculate with version 2").click()
    await page.get_by_label("Calls (call)").fill("1000")
    await expect(page.locator("#calculation")).to_contain_text(f"1,000 {TIMES} 0.0025 USD")


async def test_the_calculator_shows_what_an_invoice_would_say(open_page: OpenPage, tenant: Tenant) -> None:
    product_id = await declare_product(
        tenant, {"meter_id": await declare_meter(tenant), "price_per_unit": "0.5", "free_threshold": 2}
    )
    await tenant.post("/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada"})
    subscription = await tenant.post(
        "/subscriptions",
        {"customer": {"customer_id": "ada"}, "billing": {"country": "US"}, "product_id": product_id, "quantity": 1},
    )
    events = [{"event_id": f"e{n}", "customer_id": "ada", "event_name": "api.call"} for n in range(7)]
    recorded = await tenant.post("/events/ingest", {"events": events})
    path = f"/subscriptions/{subscription['subscription_id']}/estimate"
    answered = await tenant.api.get(path, params={"at_least": recorded["position"]})
    assert answered.json()["subtotal_amount"] == 503
    page = await open_page(tenant)
    await page.goto(f"/dashboard/products/{product_id}")
    await page.get_by_label("Calls (call)").fill("7")
    await expect(page.locator("#calculation .sum")).to_contain_text("5.03 USD")
    await page.get_by_label("Calls (call)").fill("seven")
    await expect(page.locator("#calculation")).to_contain_text("units[0]: must be a number")
    await page.get_by_label("Calls (call)").fill("1,000,000")
    await expect(page.locator("#calculation .sum")).to_contain_text("5,004.99 USD")
    await check_accessibility(page)
    await shoot(page, "product")


async def test_a_product_is_archived_and_put_on_sale_again(open_page: OpenPage, tenant: Tenant) -> None:
    product_id = await declare_product(tenant)
    page = await open_page(tenant)
    await page.goto(f"/dashboard/products/{product_id}")
    await page.get_by_role("button", name="Archive").click()
    await expect(page.locator(".notice.good")).to_contain_text("Archived")
    await page.goto("/dashboard/products?archived=true")
    await page.get_by_role("link", name="API").click()
    await page.get_by_role("button", name="Unarchive").click()
    await expect(page.locator(".notice.good")).to_contain_text("On sale again")
    assert (await the_product(tenant))["product_id"] == product_id


async def test_a_read_key_sees_products_and_calculates(site: Site, open_page: OpenPage, tenant: Tenant) -> None:
    product_id = await declare_product(tenant, {"meter_id": await declare_meter(tenant), "price_per_unit": "1"})
    page = await open_page(await site.tenant("read", of=tenant.tenant_id))
    await page.goto("/dashboard/products")
    await expect(page.get_by_role("link", name="New product")).to_have_count(0)
    await page.get_by_role("link", name="API").click()
    await expect(page.get_by_role("link", name="New price version")).to_have_count(0)
    await page.get_by_label("Calls (call)").fill("100")
    await expect(page.locator("#calculation .sum")).to_contain_text("6.00 USD")
    allow_errors(page, "403")
    answered = await page.goto(f"/dashboard/products/{product_id}/price")
    assert answered is not None
    assert answered.status == 403


async def test_a_form_that_nobody_filled_in_is_refused_and_not_a_failure(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare_meter(tenant)
    product_id = await declare_product(tenant, {"meter_id": meter_id, "price_per_unit": "1"})
    page = await open_page(tenant)
    await page.goto("/dashboard/products/new")
    token = await page.evaluate("JSON.parse(document.body.getAttribute('hx-headers'))['x-csrftoken']")
    usable = {"name": "API", "tax_category": "saas", "price.currency": "USD"}
    for entered in (
        {"price": "x"},
        {"price.meters": "x", "name": "n"},
        {"price.meters[0]": "x", **usable, "tax_category": "none"},
        {"price.meters[0].tiers": "x", "price.meters[0].model": "volume", "price.meters[0].meter_id": "m", **usable},
        {"price.meters[0].meter_id": "m", "price.meters[0].price_per_unit": "1", **usable},
        {"price.payment_frequency_interval": "Eon", **usable},
        {"price.payment_frequency_count": "0", **usable},
        {"credit_entitlements[0].credit_entitlement_id": "c", "credit_entitlements[0].credits_amount": "1", **usable},
        {"effective_at": "yesterday"},
    ):
        for path in ("new", "new/parts", "new/calculation", f"{product_id}/price"):
            answered = await page.request.post(
                f"/dashboard/products/{path}", form={**entered}, headers={"x-csrftoken": token}
            )
            assert answered.status in (200, 422), (entered, path, await answered.text())
    assert len((await tenant.api.get("/products")).json()["items"]) == 1


async def test_it_fits_a_phone_and_the_dark(open_page: OpenPage, tenant: Tenant) -> None:
    meter_id = await declare_meter(tenant)
    tiers = [{"up_to": 100, "price_per_unit": "2"}, {"price_per_unit": "1"}]
    product_id = await declare_product(tenant, {"meter_id": meter_id, "tier_mode": "graduated", "tiers": tiers})
    for name, options in (("phone", {"phone": True}), ("dark", {"dark": True})):
        page = await open_page(tenant, **options)
        for path, picture in (
            ("/dashboard/products", "products"),
            (f"/dashboard/products/{product_id}", "product"),
            (f"/dashboard/products/{product_id}/price", "product-version"),
        ):
            await page.goto(path)
            if picture == "product":
                await page.get_by_label("Calls (call)").fill("250")
                await expect(page.locator("#calculation .sum")).to_contain_text("8.50 USD")
            await check_accessibility(page)
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} pixels too wide"
            await shoot(page, f"{picture}-{name}")
