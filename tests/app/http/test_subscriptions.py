"""Subscriptions over HTTP: create, list, read, cancel."""

from __future__ import annotations

from typing import Any

import pytest

AT = "2026-03-10T12:00:00.000000Z"


def ids(answered: Any) -> list[str]:
    assert answered.status_code == 200, answered.text
    assert set(answered.json()) == {"items"}
    return [item["subscription_id"] for item in answered.json()["items"]]


async def test_create_answers_what_the_contract_requires(api: Any, make: Any) -> None:
    product = await make.product()
    await make.customer(customer_id="ada", metadata={"vip": True})
    answer = await make.subscription("ada", product["product_id"], quantity=3, metadata={"a": 1})
    subscription_id = answer["subscription_id"]
    assert subscription_id.startswith("sub_")
    assert answer == {
        "subscription_id": subscription_id,
        "payment_id": "pay_" + subscription_id.removeprefix("sub_"),
        "payment_method_required": False,
        "recurring_pre_tax_amount": 1500,
        "customer": {
            "customer_id": "ada",
            "email": "ada@example.com",
            "name": "Ada",
            "metadata": {"vip": True},
        },
        "metadata": {"a": 1},
        "addons": [],
    }


async def test_read_answers_what_the_contract_requires(api: Any, make: Any) -> None:
    made = await make.everything()
    found = (await api.get(f"/subscriptions/{made['subscription_id']}")).json()
    assert found == {
        "subscription_id": made["subscription_id"],
        "product_id": made["product_id"],
        "products": [{"product_id": made["product_id"], "quantity": 1}],
        "customer": {"customer_id": "ada", "email": "ada@example.com", "name": "Ada", "metadata": {}},
        "billing": {"country": "US"},
        "brand_id": api.caller.tenant_id,
        "currency": "USD",
        "quantity": 1,
        "status": "active",
        "created_at": AT,
        "previous_billing_date": "2026-03-01T00:00:00.000000Z",
        "next_billing_date": "2026-04-01T00:00:00.000000Z",
        "recurring_pre_tax_amount": 500,
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
        "subscription_period_count": 20,
        "subscription_period_interval": "Year",
        "tax_inclusive": False,
        "trial_period_days": 0,
        "on_demand": False,
        "has_payment_method": False,
        "cancel_at_next_billing_date": False,
        "cancelled_at": None,
        "expires_at": None,
        "paused_at": None,
        "scheduled_change": None,
        "metadata": {},
        "addons": [],
        "discounts": [],
        "meters": [
            {
                "meter_id": made["meter_id"],
                "name": "Calls",
                "measurement_unit": "call",
                "currency": "USD",
                "free_threshold": 2,
                "price_per_unit": "0.5",
                "description": None,
            }
        ],
        "credit_entitlement_cart": [],
        "meter_credit_entitlement_cart": [],
    }
    del found["credit_entitlement_cart"]  # Balances take reckoning: a list goes without, as in the contract.
    assert (await api.get("/subscriptions")).json() == {"items": [found]}


async def test_without_an_anchor_the_first_cycle_starts_now(api: Any, make: Any) -> None:
    await make.customer(customer_id="ada")
    product = await make.product()
    made = await make.subscription("ada", product["product_id"], anchor_date=None)
    found = (await api.get(f"/subscriptions/{made['subscription_id']}")).json()
    assert (found["previous_billing_date"], found["next_billing_date"]) == (AT, "2026-04-10T12:00:00.000000Z")


async def test_a_new_customer_and_several_products(api: Any, make: Any) -> None:
    first, second = (await make.product())["product_id"], (await make.product(price={"fixed_price": 7}))["product_id"]
    items = [{"product_id": first, "quantity": 2}, {"product_id": second, "quantity": 1}]
    body = {"customer": {"email": "b@example.com", "name": "Bob"}, "billing": {"country": "DE"}, "products": items}
    answered = await api.post("/subscriptions", json=body)
    assert answered.status_code == 200, answered.text
    assert answered.json()["recurring_pre_tax_amount"] == 1007
    customer = answered.json()["customer"]
    assert (await api.get(f"/customers/{customer['customer_id']}")).json()["name"] == "Bob"
    found = (await api.get(f"/subscriptions/{answered.json()['subscription_id']}")).json()
    assert (found["products"], found["product_id"], found["quantity"]) == (items, first, 2)
    assert ids(await api.get("/subscriptions", params={"product_id": second})) == [found["subscription_id"]]


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"billing": None}, "INVALID_FIELD", "billing"),
        ({"billing": {}}, "INVALID_FIELD", "billing.country"),
        ({"billing": {"country": "usa"}}, "INVALID_FIELD", "billing.country"),
        ({"customer": None}, "INVALID_FIELD", "customer"),
        ({"customer": {}}, "INVALID_FIELD", "customer"),
        ({"customer": {"email": "a@example.com"}}, "INVALID_FIELD", "customer"),
        ({"customer": {"customer_id": "nobody"}}, "CUSTOMER_NOT_FOUND", "customer.customer_id"),
        ({"product_id": "pdt_none"}, "PRODUCT_NOT_FOUND", "product_id"),
        ({"product_id": None}, "INVALID_FIELD", "product_id"),
        ({"products": []}, "INVALID_FIELD", "product_id"),
        ({"product_id": None, "products": []}, "INVALID_FIELD", "products"),
        ({"quantity": 0}, "INVALID_FIELD", "quantity"),
        ({"quantity": 1.5}, "INVALID_FIELD", "quantity"),
        ({"quantity": 10**6 + 1}, "INVALID_FIELD", "quantity"),
        ({"anchor_date": "2026-02-30"}, "INVALID_FIELD", "anchor_date"),
        ({"anchor_date": "20260301"}, "INVALID_FIELD", "anchor_date"),
        ({"anchor_date": "1999-12-31"}, "INVALID_FIELD", "anchor_date"),
        ({"billing_currency": "EUR"}, "CURRENCY_MISMATCH", "billing_currency"),
        ({"trial_period_days": -1}, "INVALID_FIELD", "trial_period_days"),
        ({"trial_period_days": 10_001}, "INVALID_FIELD", "trial_period_days"),
        ({"trial_period_days": 1.5}, "INVALID_FIELD", "trial_period_days"),
    ],
)
async def test_a_broken_rule_names_its_field(
    api: Any, make: Any, change: dict[str, Any], code: str, named: str
) -> None:
    await make.customer(customer_id="ada")
    product = await make.product()
    body = {
        "customer": {"customer_id": "ada"},
        "billing": {"country": "US"},
        "product_id": product["product_id"],
        "quantity": 1,
        **change,
    }
    answered = await api.post("/subscriptions", json=body)
    assert (answered.status_code, answered.json()["code"]) == (422, code)
    assert named in answered.json()["message"]
    assert ids(await api.get("/subscriptions")) == []


async def test_products_have_to_agree(api: Any, make: Any) -> None:
    await make.customer(customer_id="ada")
    dollars = (await make.product())["product_id"]
    for change, code in (
        ({"currency": "EUR"}, "CURRENCY_MISMATCH"),
        ({"payment_frequency_interval": "Year"}, "INTERVAL_MISMATCH"),
    ):
        other = (await make.product(price=change))["product_id"]
        body = {
            "customer": {"customer_id": "ada"},
            "billing": {"country": "US"},
            "products": [{"product_id": dollars}, {"product_id": other}],
        }
        answered = await api.post("/subscriptions", json=body)
        assert (answered.status_code, answered.json()["code"]) == (422, code)


async def test_lists(api: Any, make: Any) -> None:
    product = (await make.product())["product_id"]
    made: list[str] = []
    for name in ("ada", "bob", "eve"):
        api.clock.advance(seconds=1)
        await make.customer(customer_id=name)
        made.insert(0, (await make.subscription(name, product))["subscription_id"])
    assert ids(await api.get("/subscriptions")) == made
    assert ids(await api.get("/subscriptions", params={"customer_id": "bob"})) == [made[1]]
    assert ids(await api.get("/subscriptions", params={"page_number": 1, "page_size": 2})) == made[2:]
    assert ids(await api.get("/subscriptions", params={"page_number": 2, "page_size": 2})) == []
    assert (await api.get("/subscriptions", params={"page_size": 101})).status_code == 422
    await api.patch(f"/subscriptions/{made[0]}", json={"status": "cancelled"})
    assert ids(await api.get("/subscriptions", params={"status": "cancelled"})) == [made[0]]
    assert ids(await api.get("/subscriptions", params={"status": "active"})) == made[1:]
    await api.patch(f"/subscriptions/{made[2]}", json={"cancel_at_next_billing_date": True})
    assert ids(await api.get("/subscriptions", params={"cancel_at_next_billing_date": "true"})) == [made[2]]
    span = {"created_at_gte": "2026-03-10T12:00:02Z", "created_at_lte": "2026-03-10T12:00:02Z"}
    assert ids(await api.get("/subscriptions", params=span)) == [made[1]]
    assert ids(await api.get("/subscriptions", params={"product_id": "pdt_none"})) == []


async def test_cancel_now(api: Any, make: Any) -> None:
    path = f"/subscriptions/{(await make.everything())['subscription_id']}"
    cancelled = await api.patch(path, json={"status": "cancelled"})
    assert cancelled.status_code == 200
    assert (cancelled.json()["status"], cancelled.json()["cancelled_at"]) == ("cancelled", AT)
    assert cancelled.json()["next_billing_date"] == AT
    assert (await api.get(path)).json() == cancelled.json()
    for again in ({"status": "cancelled"}, {"cancel_at_next_billing_date": True}):
        answered = await api.patch(path, json=again)
        assert (answered.status_code, answered.json()["code"]) == (409, "SUBSCRIPTION_ENDED")
        assert answered.headers["x-should-retry"] == "false"


async def test_cancel_at_the_end_of_the_cycle_and_take_it_back(api: Any, make: Any) -> None:
    path = f"/subscriptions/{(await make.everything())['subscription_id']}"
    scheduled = (await api.patch(path, json={"cancel_at_next_billing_date": True})).json()
    assert (scheduled["status"], scheduled["cancel_at_next_billing_date"]) == ("active", True)
    kept = (await api.patch(path, json={"cancel_at_next_billing_date": False})).json()
    assert kept["cancel_at_next_billing_date"] is False
    await api.patch(path, json={"cancel_at_next_billing_date": True})
    api.clock.advance(days=30)
    assert (await api.post("/cycles/close-due")).json()["closed_count"] == 1
    ended = (await api.get(path)).json()
    assert (ended["status"], ended["cancelled_at"]) == ("cancelled", "2026-04-01T00:00:00.000000Z")


async def test_patch_billing_and_metadata(api: Any, make: Any) -> None:
    path = f"/subscriptions/{(await make.everything())['subscription_id']}"
    billing = {"country": "DE", "city": "Köln"}
    changed = (await api.patch(path, json={"billing": billing, "metadata": {"a": 1.10}})).json()
    assert (changed["billing"], changed["metadata"]) == (billing, {"a": 1.1})
    changed = (await api.patch(path, json={"metadata": {}})).json()
    assert (changed["billing"], changed["metadata"]) == (billing, {})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"status": "on_hold"}, "UNSUPPORTED_STATUS"),
        ({"status": "expired"}, "UNSUPPORTED_STATUS"),
        ({"status": "paused"}, "INVALID_FIELD"),
        ({"status": "active"}, "INVALID_FIELD"),
        ({"next_billing_date": "2026-03-10T12:00:00Z"}, "INVALID_FIELD"),
        ({"next_billing_date": "2026-05-01"}, "INVALID_FIELD"),
        ({"next_billing_date": "2201-01-01T00:00:00Z"}, "INVALID_FIELD"),
        ({"next_biling_date": "2026-05-01T00:00:00Z"}, "UNKNOWN_FIELD"),
        ({"credit_entitlement_cart": [{"credit_entitlement_id": "cde_1"}]}, "UNSUPPORTED_FIELD"),
        ({"billing": {"country": "x"}}, "INVALID_FIELD"),
        ({"metadata": {"a": []}}, "INVALID_FIELD"),
    ],
)
async def test_what_is_not_carried_out_is_refused(api: Any, make: Any, body: dict[str, Any], code: str) -> None:
    path = f"/subscriptions/{(await make.everything())['subscription_id']}"
    before = (await api.get(path)).json()
    answered = await api.patch(path, json={"cancel_at_next_billing_date": True, **body})
    assert (answered.status_code, answered.json()["code"]) == (422, code)
    assert (await api.get(path)).json() == before


async def test_an_unknown_or_foreign_subscription_is_404_everywhere(api: Any, make: Any, stranger: Any) -> None:
    made = await make.everything()
    await api.project()
    for client, subscription_id in ((api, "sub_none"), (stranger, made["subscription_id"])):
        path = f"/subscriptions/{subscription_id}"
        for answered in (
            await client.get(path),
            await client.patch(path, json={"status": "cancelled"}),
            await client.get(f"{path}/usage-history"),
            await client.get(f"{path}/estimate"),
            await client.post(f"{path}/close-cycle"),
        ):
            assert (answered.status_code, answered.json()["code"]) == (404, "SUBSCRIPTION_NOT_FOUND")
    assert ids(await stranger.get("/subscriptions")) == []
    assert (await stranger.get("/subscriptions", params={"customer_id": "ada"})).json() == {"items": []}
    theirs = {
        "customer": {"customer_id": "ada"},
        "billing": {"country": "US"},
        "product_id": made["product_id"],
        "quantity": 1,
    }
    assert (await stranger.post("/subscriptions", json=theirs)).status_code == 422
    assert (await api.get(f"/subscriptions/{made['subscription_id']}")).json()["status"] == "active"


async def test_foreign_invoices_are_404(api: Any, make: Any, stranger: Any) -> None:
    made = await make.everything()
    api.clock.advance(days=30)
    invoice = (await api.post(f"/subscriptions/{made['subscription_id']}/close-cycle")).json()
    answered = await stranger.get(f"/invoices/{invoice['invoice_id']}")
    assert (answered.status_code, answered.json()["code"]) == (404, "INVOICE_NOT_FOUND")
    assert (await stranger.get("/invoices")).json() == {"items": []}
    assert (await stranger.post("/cycles/close-due")).json() == {"closed_count": 0, "items": []}


async def test_estimate_and_close(api: Any, make: Any) -> None:
    made = await make.everything()
    path = f"/subscriptions/{made['subscription_id']}"
    await api.ingest(*(make.event(number) for number in range(7)))
    await api.project()
    estimate = (await api.get(f"{path}/estimate")).json()
    assert {key: estimate[key] for key in ("invoice_id", "number", "digest", "issued_at")} == dict.fromkeys(
        ("invoice_id", "number", "digest", "issued_at")
    )
    assert (estimate["subtotal_amount"], estimate["total_amount"]) == (503, 503)
    unknown = await api.get(f"{path}/estimate", params={"cycle_start": "2026-03-02T00:00:00Z"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "CYCLE_NOT_FOUND")
    early = await api.post(f"{path}/close-cycle", headers={"Content-Type": "application/json"})
    assert (early.status_code, early.json()["code"]) == (409, "CYCLE_NOT_ENDED")
    assert early.headers["x-should-retry"] == "false"
    api.clock.advance(days=30)
    (invoice,) = (await api.post("/cycles/close-due")).json()["items"]
    assert {key: invoice[key] for key in estimate if estimate[key] is not None and key != "position"} == {
        key: value for key, value in estimate.items() if value is not None and key != "position"
    }
    assert (invoice["status"], invoice["number"]) == ("open", "INV-000001")
    assert (await api.post("/cycles/close-due")).json() == {"closed_count": 0, "items": []}
    await api.project()
    closed = await api.get(f"{path}/estimate", params={"cycle_start": "2026-03-01T00:00:00Z"})
    assert (closed.status_code, closed.json()["code"]) == (409, "CYCLE_CLOSED")


async def test_scopes(api: Any, make: Any, open_client: Any) -> None:
    path = f"/subscriptions/{(await make.everything())['subscription_id']}"
    await api.project()
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    for read in ("/subscriptions", path, f"{path}/usage-history", f"{path}/estimate", "/invoices"):
        assert (await reader.get(read)).status_code == 200, read
        assert (await sender.get(read)).status_code == 403
    for answered in (
        await reader.post("/subscriptions", json={}),
        await reader.patch(path, json={}),
        await reader.post(f"{path}/close-cycle"),
        await reader.post("/cycles/close-due"),
    ):
        assert (answered.status_code, answered.json()["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("discount_code", "HALF"),
        ("discount_codes", ["HALF"]),
        ("addons", [{"addon_id": "adn_1", "quantity": 1}]),
        ("one_time_product_cart", [{"product_id": "pdt_1", "quantity": 1}]),
        ("on_demand", {"mandate_only": True}),
        ("credit_entitlement_cart", [{"credit_entitlement_id": "cde_1"}]),
    ],
)
async def test_a_new_subscription_refuses_what_would_change_its_cost(
    api: Any, make: Any, field: str, value: object
) -> None:
    """Ignoring such a field would bill something else than was asked."""
    customer, product = await make.customer(), await make.product()
    order = {
        "customer": {"customer_id": customer["customer_id"]},
        "billing": {"country": "US"},
        "product_id": product["product_id"],
        "quantity": 1,
    }
    refused = await api.post("/subscriptions", json={**order, field: value})
    assert refused.status_code == 422
    assert refused.json()["message"].startswith(f"{field}: ")
    accepted = await api.post("/subscriptions", json={**order, field: None})
    assert accepted.status_code == 200


@pytest.mark.parametrize(("quantity", "status"), [(5, 422), (1, 200), (None, 200)])
async def test_a_quantity_beside_products_is_refused(api: Any, make: Any, quantity: int | None, status: int) -> None:
    """It would multiply nothing, and the invoice would be lower than was asked."""
    await make.customer(customer_id="ada")
    order = {
        "customer": {"customer_id": "ada"},
        "billing": {"country": "US"},
        "products": [{"product_id": (await make.product())["product_id"]}],
        "quantity": quantity,
    }
    answered = await api.post("/subscriptions", json=order)
    assert answered.status_code == status, answered.text
    if status == 422:
        assert answered.json()["message"].startswith("quantity: ")
        assert ids(await api.get("/subscriptions")) == []


@pytest.mark.parametrize(
    ("zone", "start"),
    [("America/Los_Angeles", "2026-05-01T07:00:00.000000Z"), ("Asia/Tokyo", "2026-04-30T15:00:00.000000Z")],
)
async def test_a_future_first_cycle_begins_in_the_customers_zone(api: Any, make: Any, zone: str, start: str) -> None:
    await make.customer(customer_id="ada", time_zone=zone)
    product = await make.product()
    made = await make.subscription("ada", product["product_id"], anchor_date="2026-05-01")
    path = f"/subscriptions/{made['subscription_id']}"
    found = (await api.get(path)).json()
    assert (found["previous_billing_date"], found["next_billing_date"]) == (AT, start)
    cancelled = (await api.patch(path, json={"status": "cancelled"})).json()
    assert cancelled["next_billing_date"] == AT
