"""Products over HTTP: the contract's endpoints, and price versions."""

from __future__ import annotations

from typing import Any

import pytest

JSON = {"Content-Type": "application/json"}


def ids(answered: Any) -> list[str]:
    assert answered.status_code == 200, answered.text
    assert set(answered.json()) == {"items"}
    return [item["product_id"] for item in answered.json()["items"]]


async def test_create_and_read(api: Any, make: Any) -> None:
    meter = await make.meter(description="All calls")
    product = await make.product(meter["id"], description="The API", metadata={"tier": 1.50, "new": True})
    assert product["product_id"].startswith("pdt_")
    at = "2026-03-10T12:00:00.000000Z"
    assert product == {
        "product_id": product["product_id"],
        "business_id": api.caller.tenant_id,
        "brand_id": api.caller.tenant_id,
        "name": "API",
        "created_at": at,
        "updated_at": at,
        "is_recurring": True,
        "license_key_enabled": False,
        "metadata": {"tier": 1.5, "new": True},
        "tax_category": "saas",
        "credit_entitlements": [],
        "entitlements": [],
        "description": "The API",
        "price": {
            **make.price,
            "tax_inclusive": False,
            "purchasing_power_parity": False,
            "discount": 0,
            "meters": [
                {
                    "meter_id": meter["id"],
                    "name": "Calls",
                    "description": "All calls",
                    "measurement_unit": "call",
                    "price_per_unit": "0.5",
                    "free_threshold": 2,
                }
            ],
        },
    }
    assert (await api.get(f"/products/{product['product_id']}")).json() == product
    (listed,) = (await api.get("/products")).json()["items"]
    # The contract's two shapes: in a list the price is the fixed one.
    assert listed == {**product, "price": 500, "price_detail": product["price"], "currency": "USD"}


@pytest.mark.parametrize("missing", ["name", "price", "tax_category"])
async def test_required_fields(api: Any, make: Any, missing: str) -> None:
    body = {"name": "API", "tax_category": "saas", "price": make.price}
    del body[missing]
    answered = await api.post("/products", json=body)
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert missing in answered.json()["message"]


@pytest.mark.parametrize(
    "missing",
    [
        "type",
        "currency",
        "fixed_price",
        "payment_frequency_count",
        "payment_frequency_interval",
        "subscription_period_count",
        "subscription_period_interval",
    ],
)
async def test_required_fields_of_a_price(api: Any, make: Any, missing: str) -> None:
    del make.price[missing]
    answered = await api.post("/products", json={"name": "API", "tax_category": "saas", "price": make.price})
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert missing in answered.json()["message"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "one_time_price"}, "price.type"),
        ({"currency": "usd"}, "price.currency"),
        ({"currency": "XXX"}, "price.currency"),
        ({"fixed_price": -1}, "fixed_price"),
        ({"fixed_price": 1.5}, "fixed_price"),
        ({"payment_frequency_interval": "month"}, "payment_frequency_interval"),
        ({"payment_frequency_count": 0}, "payment_frequency_count"),
        ({"payment_frequency_count": 241}, "price.payment_frequency_count"),
        ({"subscription_period_count": 21}, "price.subscription_period_count"),
        ({"discount": 10}, "price.discount"),
        ({"meters": [{"meter_id": "mtr_none", "price_per_unit": "1"}]}, "price.meters[0].meter_id"),
        ({"meters": [{"meter_id": "m"}]}, "price.meters[0].price_per_unit"),
        ({"meters": [{"meter_id": "m", "price_per_unit": "x"}]}, "price.meters[0].price_per_unit"),
        ({"meters": [{"meter_id": "m", "price_per_unit": "1" * 40}]}, "price.meters[0].price_per_unit"),
        ({"meters": [{"meter_id": "m", "price_per_unit": 0.5}]}, "price_per_unit"),
        ({"meters": [{"meter_id": "m", "price_per_unit": "1", "free_threshold": -1}]}, "free_threshold"),
        ({"meters": [{"meter_id": "m", "price_per_unit": "1", "free_threshold": 2**63}]}, "free_threshold"),
        ({"meters": [{"meter_id": "m", "price_per_unit": "1"}] * 2}, "price.meters"),
    ],
)
async def test_a_broken_rule_names_its_field(api: Any, make: Any, change: dict[str, Any], named: str) -> None:
    price = {**make.price, **change}
    answered = await api.post("/products", json={"name": "API", "tax_category": "saas", "price": price})
    assert answered.status_code == 422, answered.text
    assert set(answered.json()) == {"code", "message"}
    assert named in answered.json()["message"]
    assert ids(await api.get("/products")) == []


async def test_more_than_ten_meters(api: Any, make: Any) -> None:
    meters = [{"meter_id": (await make.meter())["id"], "price_per_unit": "1"} for _ in range(11)]
    assert len((await make.product(price={"meters": meters[:10]}))["price"]["meters"]) == 10
    price = {**make.price, "meters": meters}
    answered = await api.post("/products", json={"name": "API", "tax_category": "saas", "price": price})
    assert (answered.status_code, answered.json()["message"]) == (422, "price.meters: at most 10 meters")


@pytest.mark.parametrize("category", ["digital_products", "saas", "e_book", "edtech", "live_tutoring"])
async def test_tax_categories(make: Any, category: str) -> None:
    assert (await make.product(tax_category=category))["tax_category"] == category


async def test_patch_answers_nothing_and_changes_what_is_sent(api: Any, make: Any) -> None:
    product = await make.product(description="old", metadata={"a": "1"})
    path = f"/products/{product['product_id']}"
    api.clock.advance(seconds=1)
    answered = await api.patch(path, json={"name": "New", "description": None})
    assert (answered.status_code, answered.content) == (200, b"")
    changed = (await api.get(path)).json()
    assert (changed["name"], changed.get("description"), changed["metadata"]) == ("New", None, {"a": "1"})
    await api.patch(path, json={"metadata": {"b": 2}, "tax_category": "edtech"})
    changed = (await api.get(path)).json()
    assert (changed["metadata"], changed["tax_category"]) == ({"b": 2}, "edtech")
    bad = await api.patch(path, json={"name": "Never", "tax_category": "none"})
    assert bad.status_code == 422
    assert (await api.get(path)).json()["name"] == "New"


async def test_a_price_version_holds_from_the_next_cycle(api: Any, make: Any) -> None:
    ids_of = await make.everything()
    path = f"/products/{ids_of['product_id']}"
    meters = [{"meter_id": ids_of["meter_id"], "price_per_unit": "7"}]
    answered = await api.patch(path, json={"price": {**make.price, "fixed_price": 900, "meters": meters}})
    assert (answered.status_code, answered.content) == (200, b"")
    assert (await api.get(path)).json()["price"]["fixed_price"] == 900
    await api.ingest(make.event(1), make.event(2), make.event(3))
    await api.project()
    estimate = f"/subscriptions/{ids_of['subscription_id']}/estimate"
    lines = (await api.get(estimate)).json()["lines"]
    assert [(line["kind"], line["amount"]) for line in lines] == [("fixed", 500), ("usage", 1)]
    api.clock.advance(days=30)
    await api.ingest(make.event(4, timestamp="2026-04-02T00:00:00Z"))
    await api.project()
    lines = (await api.get(estimate, params={"cycle_start": "2026-04-01T00:00:00Z"})).json()["lines"]
    assert [(line["kind"], line["amount"]) for line in lines] == [("fixed", 900), ("usage", 7)]


async def test_a_price_version_holds_from_a_given_instant(api: Any, make: Any) -> None:
    ids_of = await make.everything()
    path = f"/products/{ids_of['product_id']}"
    price = {**make.price, "fixed_price": 900}
    answered = await api.patch(path, json={"price": price, "effective_at": "2026-05-01T00:00:00Z"})
    assert answered.status_code == 200
    api.clock.advance(days=60)
    await api.project()
    for start, amount in (("2026-04-01T00:00:00Z", 500), ("2026-05-01T00:00:00Z", 900)):
        found = await api.get(f"/subscriptions/{ids_of['subscription_id']}/estimate", params={"cycle_start": start})
        assert found.json()["lines"][0]["amount"] == amount
    alone = await api.patch(path, json={"effective_at": "2026-05-01T00:00:00Z"})
    assert (alone.status_code, alone.json()["message"]) == (
        422,
        "effective_at: goes with a price or credit_entitlements",
    )


@pytest.mark.parametrize("change", [{"currency": "EUR"}, {"payment_frequency_interval": "Year"}])
async def test_currency_and_cycle_never_change(api: Any, make: Any, change: dict[str, Any]) -> None:
    product = await make.product()
    answered = await api.patch(f"/products/{product['product_id']}", json={"price": {**make.price, **change}})
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert next(iter(change)) in answered.json()["message"]


async def test_archive_and_unarchive(api: Any, make: Any) -> None:
    await make.customer(customer_id="ada")
    product = await make.product()
    path = f"/products/{product['product_id']}"
    gone = await api.request("DELETE", path, headers=JSON)
    assert (gone.status_code, gone.content) == (200, b"")
    again = await api.delete(path)
    assert (again.status_code, again.json()["code"]) == (410, "PRODUCT_ARCHIVED")
    assert ids(await api.get("/products")) == []
    assert ids(await api.get("/products", params={"archived": "true"})) == [product["product_id"]]
    body = {
        "customer": {"customer_id": "ada"},
        "billing": {"country": "US"},
        "product_id": product["product_id"],
        "quantity": 1,
    }
    refused = await api.post("/subscriptions", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "PRODUCT_ARCHIVED")
    back = await api.post(f"{path}/unarchive", headers=JSON)
    assert (back.status_code, back.content) == (200, b"")
    assert (await api.post("/subscriptions", json=body)).status_code == 200


async def test_an_archived_meter_cannot_be_priced(api: Any, make: Any) -> None:
    meter = await make.meter()
    await api.delete(f"/meters/{meter['id']}")
    price = {**make.price, "meters": [{"meter_id": meter["id"], "price_per_unit": "1"}]}
    answered = await api.post("/products", json={"name": "API", "tax_category": "saas", "price": price})
    assert (answered.status_code, answered.json()["code"]) == (422, "METER_ARCHIVED")


async def test_lists(api: Any, make: Any) -> None:
    made = []
    for _ in range(3):
        api.clock.advance(seconds=1)
        made.insert(0, (await make.product())["product_id"])
    assert ids(await api.get("/products")) == made
    assert ids(await api.get("/products", params={"page_number": 1, "page_size": 2, "recurring": "true"})) == made[2:]
    assert ids(await api.get("/products", params={"page_number": 5})) == []
    assert ids(await api.get("/products", params={"recurring": "false"})) == []
    assert (await api.get("/products", params={"page_size": 101})).status_code == 422


async def test_an_unknown_or_foreign_product_is_404_everywhere(api: Any, make: Any, stranger: Any) -> None:
    product = await make.product()
    for client, product_id in ((api, "pdt_none"), (stranger, product["product_id"])):
        path = f"/products/{product_id}"
        for answered in (
            await client.get(path),
            await client.patch(path, json={"name": "x"}),
            await client.delete(path),
            await client.post(f"{path}/unarchive"),
        ):
            assert (answered.status_code, answered.json()["code"]) == (404, "PRODUCT_NOT_FOUND")
    assert ids(await stranger.get("/products")) == []


async def test_a_foreign_meter_cannot_be_priced(make: Any, stranger: Any) -> None:
    meter = await make.meter()
    price = {**make.price, "meters": [{"meter_id": meter["id"], "price_per_unit": "1"}]}
    answered = await stranger.post("/products", json={"name": "API", "tax_category": "saas", "price": price})
    assert (answered.status_code, answered.json()["code"]) == (422, "METER_NOT_FOUND")


async def test_scopes(api: Any, make: Any, open_client: Any) -> None:
    path = f"/products/{(await make.product())['product_id']}"
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    for read in ("/products", path):
        assert (await reader.get(read)).status_code == 200
        assert (await sender.get(read)).status_code == 403
    for answered in (
        await reader.post("/products", json={}),
        await reader.patch(path, json={}),
        await reader.delete(path),
        await reader.post(f"{path}/unarchive"),
    ):
        assert (answered.status_code, answered.json()["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"addons": ["adn_1"]}, "addons"),
        ({"price": {"tiers": [{"up_to": 10}]}}, "price.tiers"),
    ],
)
async def test_what_would_change_the_cost_is_refused(api: Any, make: Any, change: dict[str, Any], field: str) -> None:
    """Ignoring such a field would bill something else than was asked."""
    change = {**change, "price": {**make.price, **change.get("price", {})}}
    body = {"name": "API", "tax_category": "saas", **change}
    refused = await api.post("/products", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "UNSUPPORTED_FIELD")
    assert refused.json()["message"].startswith(f"{field}: ")
    product = await make.product()
    patched = await api.patch(f"/products/{product['product_id']}", json=change)
    assert patched.status_code == 422
