"""Subscriptions over HTTP in time: trials, pauses, another billing date, another plan."""

from __future__ import annotations

from typing import Any

import pytest
from dodopayments.types import Subscription as SdkSubscription
from dodopayments.types import SubscriptionPreviewChangePlanResponse

from app.http.examples import BODIES, JSON

AT = "2026-03-10T12:00:00.000000Z"
MARCH, APRIL, MAY = (f"2026-{month:02}-01T00:00:00.000000Z" for month in (3, 4, 5))
NOW = "prorated_immediately"


async def lines(api: Any, subscription_id: str) -> list[tuple[str, int]]:
    """Kind and amount of the lines of each invoice, by cycle, once everything due is closed."""
    await api.post("/cycles/close-due")
    items = (await api.get("/invoices", params={"subscription_id": subscription_id})).json()["items"]
    return [
        (line["kind"], line["amount"])
        for invoice in sorted(items, key=lambda item: item["cycle_start"])
        for line in invoice["lines"]
    ]


@pytest.fixture
async def two(api: Any, make: Any) -> dict[str, str]:
    """A subscription to the first of two monthly products, at 500 and 900 cents, since the first of March."""
    await make.customer(customer_id="ada")
    small = (await make.product())["product_id"]
    large = (await make.product(price={"fixed_price": 900}))["product_id"]
    made = await make.subscription("ada", small)
    return {"path": f"/subscriptions/{made['subscription_id']}", "id": made["subscription_id"], "large": large} | {
        "small": small
    }


def change(product_id: str, mode: str = NOW, **more: Any) -> dict[str, Any]:
    return {"product_id": product_id, "quantity": 1, "proration_billing_mode": mode, **more}


async def test_a_trial_costs_nothing_and_the_regular_cycle_follows(api: Any, make: Any) -> None:
    meter = await make.meter()
    product = await make.product(meter["id"])
    await make.customer(customer_id="ada")
    made = await make.subscription("ada", product["product_id"], anchor_date="2026-03-01", trial_period_days=14)
    path = f"/subscriptions/{made['subscription_id']}"
    found = (await api.get(path)).json()
    assert (found["trial_period_days"], found["status"]) == (14, "active")
    assert (found["previous_billing_date"], found["next_billing_date"]) == (MARCH, "2026-03-15T00:00:00.000000Z")
    await api.ingest(*(make.event(number) for number in range(9)))
    api.clock.advance(days=36)
    assert await lines(api, made["subscription_id"]) == [("usage", 0), ("fixed", 500), ("usage", 0)]
    found = (await api.get(path)).json()
    assert found["previous_billing_date"] == "2026-04-15T00:00:00.000000Z"


async def test_paused_and_resumed(api: Any, two: dict[str, str]) -> None:
    api.clock.advance(hours=12)
    paused = (await api.patch(two["path"], json={"status": "paused"})).json()
    assert (paused["status"], paused["paused_at"]) == ("paused", "2026-03-11T00:00:00.000000Z")
    assert paused["next_billing_date"] == "2026-03-11T00:00:00.000000Z"
    assert (await api.get(two["path"])).json() == paused
    items = (await api.get("/subscriptions", params={"status": "paused"})).json()["items"]
    assert [item["subscription_id"] for item in items] == [two["id"]]
    refused = await api.patch(two["path"], json={"next_billing_date": MAY})
    assert (refused.status_code, refused.json()["code"]) == (409, "SUBSCRIPTION_PAUSED")
    again = await api.patch(two["path"], json={"status": "paused"})
    assert again.json() == paused
    api.clock.advance(days=60)
    assert await lines(api, two["id"]) == [("proration", 161)]
    resumed = (await api.patch(two["path"], json={"status": "active"})).json()
    assert (resumed["status"], resumed["paused_at"]) == ("active", None)
    assert (resumed["previous_billing_date"], resumed["next_billing_date"]) == (
        "2026-05-10T00:00:00.000000Z",
        "2026-06-10T00:00:00.000000Z",
    )
    api.clock.advance(days=32)
    assert await lines(api, two["id"]) == [("proration", 161), ("fixed", 500)]


async def test_what_has_ended_stays_ended(api: Any, two: dict[str, str]) -> None:
    await api.patch(two["path"], json={"status": "cancelled"})
    for answered in (
        await api.patch(two["path"], json={"status": "paused"}),
        await api.patch(two["path"], json={"status": "active"}),
        await api.patch(two["path"], json={"next_billing_date": MAY}),
        await api.post(f"{two['path']}/change-plan", json=change(two["large"])),
        await api.post(f"{two['path']}/change-plan/preview", json=change(two["large"])),
    ):
        assert (answered.status_code, answered.json()["code"]) == (409, "SUBSCRIPTION_ENDED")
        assert answered.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("beside", [{"metadata": {}}, {"cancel_at_next_billing_date": False}, {"billing": {}}])
async def test_a_pause_stands_alone(api: Any, two: dict[str, str], beside: dict[str, Any]) -> None:
    refused = await api.patch(two["path"], json={"status": "paused", **beside})
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_FIELD")
    assert refused.json()["message"].startswith("status: ")
    assert (await api.get(two["path"])).json()["status"] == "active"
    accepted = await api.patch(two["path"], json={"status": "paused", "metadata": None})
    assert accepted.json()["status"] == "paused"


async def test_another_billing_date(api: Any, two: dict[str, str]) -> None:
    moved = (await api.patch(two["path"], json={"next_billing_date": "2026-03-20T09:30:00+01:00"})).json()
    assert (moved["previous_billing_date"], moved["next_billing_date"]) == (MARCH, "2026-03-20T08:30:00.000000Z")
    api.clock.advance(days=42)
    assert await lines(api, two["id"]) == [("fixed", 500), ("fixed", 500)]
    assert (await api.get(two["path"])).json()["previous_billing_date"] == "2026-04-20T08:30:00.000000Z"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # March has 31 days; the change is at noon of the 10th: 9.5 of 31 days of 500, 21.5 of 31 of 900.
        ("prorated_immediately", [("proration", 153), ("fixed", 900)]),
        ("full_immediately", [("fixed", 500), ("fixed", 900)]),
        ("difference_immediately", [("fixed", 900)]),
        ("prorated_immediately_keep_cycle", [("proration", 153), ("proration", 624), ("fixed", 900)]),
        ("do_not_bill", [("fixed", 500), ("fixed", 900)]),
    ],
)
async def test_each_mode_bills_what_it_says(
    api: Any, two: dict[str, str], mode: str, expected: list[tuple[str, int]]
) -> None:
    answered = await api.post(f"{two['path']}/change-plan", json=change(two["large"], mode))
    assert (answered.status_code, answered.json()) == (
        200,
        {"payment_id": None, "payment_link": None, "client_secret": None, "expires_on": None},
    )
    found = (await api.get(two["path"])).json()
    kept = mode in ("prorated_immediately_keep_cycle", "do_not_bill")
    assert (found["product_id"], found["recurring_pre_tax_amount"]) == (two["large"], 900)
    assert (found["previous_billing_date"], found["next_billing_date"]) == (
        AT,
        APRIL if kept else "2026-04-10T12:00:00.000000Z",
    )
    assert [item["subscription_id"] for item in await listed(api, two["large"])] == [two["id"]]
    assert await listed(api, two["small"]) == []
    api.clock.advance(days=52 if kept else 32)
    assert await lines(api, two["id"]) == expected


async def listed(api: Any, product_id: str) -> list[Any]:
    return (await api.get("/subscriptions", params={"product_id": product_id})).json()["items"]


async def test_another_quantity_and_several_products(api: Any, two: dict[str, str]) -> None:
    products = [{"product_id": two["small"], "quantity": 3}, {"product_id": two["large"], "quantity": 1}]
    body = {"products": products, "proration_billing_mode": "full_immediately"}
    assert (await api.post(f"{two['path']}/change-plan", json=body)).status_code == 200
    found = (await api.get(two["path"])).json()
    assert (found["products"], found["recurring_pre_tax_amount"], found["quantity"]) == (products, 2400, 3)


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({"proration_billing_mode": None}, "INVALID_FIELD", "proration_billing_mode"),
        ({"proration_billing_mode": "whenever"}, "INVALID_FIELD", "proration_billing_mode"),
        ({"effective_at": "yesterday"}, "INVALID_FIELD", "effective_at"),
        ({"quantity": 0}, "INVALID_FIELD", "quantity"),
        ({"product_id": None}, "INVALID_FIELD", "product_id"),
        ({"product_id": "pdt_none"}, "PRODUCT_NOT_FOUND", "product_id"),
        ({"addons": [{"addon_id": "adn_1", "quantity": 1}]}, "UNSUPPORTED_FIELD", "addons"),
        ({"discount_code": "HALF"}, "UNSUPPORTED_FIELD", "discount_code"),
        ({"efective_at": "immediately"}, "UNKNOWN_FIELD", "efective_at"),
    ],
)
async def test_a_broken_rule_of_a_plan_names_its_field(
    api: Any, two: dict[str, str], body: dict[str, Any], code: str, named: str
) -> None:
    for path in ("change-plan", "change-plan/preview"):
        answered = await api.post(f"{two['path']}/{path}", json={**change(two["large"]), **body})
        assert (answered.status_code, answered.json()["code"]) == (422, code), answered.text
        assert named in answered.json()["message"]
    assert (await api.get(two["path"])).json()["product_id"] == two["small"]


async def test_the_currency_stays_and_products_agree(api: Any, make: Any, two: dict[str, str]) -> None:
    euros = (await make.product(price={"currency": "EUR"}))["product_id"]
    yearly = (await make.product(price={"payment_frequency_interval": "Year"}))["product_id"]
    archived = (await make.product())["product_id"]
    await api.delete(f"/products/{archived}")
    for body, code in (
        (change(euros), "CURRENCY_MISMATCH"),
        (change(archived), "PRODUCT_ARCHIVED"),
        (
            {"products": [{"product_id": two["small"]}, {"product_id": yearly}], "proration_billing_mode": NOW},
            "INTERVAL_MISMATCH",
        ),
    ):
        answered = await api.post(f"{two['path']}/change-plan", json=body)
        assert (answered.status_code, answered.json()["code"]) == (422, code)
    assert (await api.post(f"{two['path']}/change-plan", json=change(yearly))).status_code == 200
    found = (await api.get(two["path"])).json()
    assert (found["payment_frequency_interval"], found["next_billing_date"][:4]) == ("Year", "2027")


async def test_a_change_can_wait_and_be_taken_back(api: Any, two: dict[str, str]) -> None:
    later = change(two["large"], "do_not_bill", effective_at="next_billing_date")
    none = await api.delete(f"{two['path']}/change-plan/scheduled")
    assert (none.status_code, none.json()["code"]) == (404, "SCHEDULED_PLAN_CHANGE_NOT_FOUND")
    assert (await api.post(f"{two['path']}/change-plan", json=later)).status_code == 200
    found = (await api.get(two["path"])).json()
    SdkSubscription.model_validate(found)
    scheduled = found["scheduled_change"]
    assert (found["product_id"], scheduled["product_id"], scheduled["quantity"]) == (two["small"], two["large"], 1)
    assert (scheduled["created_at"], scheduled["effective_at"], scheduled["addons"]) == (AT, APRIL, [])
    taken_back = await api.delete(f"{two['path']}/change-plan/scheduled")
    assert (taken_back.status_code, taken_back.content) == (200, b"")
    assert (await api.get(two["path"])).json()["scheduled_change"] is None
    await api.post(f"{two['path']}/change-plan", json=later)
    api.clock.advance(days=52)
    assert await lines(api, two["id"]) == [("fixed", 500), ("fixed", 900)]
    found = (await api.get(two["path"])).json()
    assert (found["product_id"], found["scheduled_change"]) == (two["large"], None)


async def test_a_preview_says_what_would_be_and_changes_nothing(api: Any, two: dict[str, str]) -> None:
    before = (await api.get(two["path"])).json()
    seen = (await api.post(f"{two['path']}/change-plan/preview", json=change(two["large"]))).json()
    assert seen["immediate_charge"] == {
        "effective_at": AT,
        "line_items": [],
        "summary": {
            "currency": "USD",
            "customer_credits": 0,
            "customer_credits_currency": "USD",
            "settlement_amount": 0,
            "settlement_currency": "USD",
            "total_amount": 0,
        },
    }
    closing, following = seen["closing_cycle"], seen["next_cycle"]
    assert (closing["cycle_start"], closing["cycle_end"], closing["total_amount"]) == (MARCH, AT, 153)
    assert following == {
        "cycle_start": AT,
        "cycle_end": "2026-04-10T12:00:00.000000Z",
        "trial": False,
        "fixed_amount": 900,
    }
    SubscriptionPreviewChangePlanResponse.model_validate(seen)
    assert (await api.get(two["path"])).json() == before
    await api.post(f"{two['path']}/change-plan", json=change(two["large"]))
    assert (await api.get(two["path"])).json() == seen["new_plan"]


async def test_a_preview_of_a_change_that_waits(api: Any, two: dict[str, str]) -> None:
    body = change(two["large"], effective_at="next_billing_date")
    seen = (await api.post(f"{two['path']}/change-plan/preview", json=body)).json()
    assert (seen["closing_cycle"], seen["next_cycle"]) == (None, None)
    assert seen["immediate_charge"]["effective_at"] == APRIL
    assert (seen["new_plan"]["product_id"], seen["new_plan"]["next_billing_date"]) == (two["large"], APRIL)
    assert (await api.get(two["path"])).json()["scheduled_change"] is None


async def test_a_plan_is_not_changed_while_a_cancellation_waits(api: Any, two: dict[str, str]) -> None:
    await api.patch(two["path"], json={"cancel_at_next_billing_date": True})
    for answered in (
        await api.post(f"{two['path']}/change-plan", json=change(two["large"])),
        await api.patch(two["path"], json={"status": "paused"}),
    ):
        assert (answered.status_code, answered.json()["code"]) == (409, "CANCELLATION_SCHEDULED")


async def test_foreign_and_unscoped_callers(api: Any, two: dict[str, str], stranger: Any, open_client: Any) -> None:
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    body = change(two["large"])
    for client, status in ((stranger, 404), (reader, 403)):
        for answered in (
            await client.post(f"{two['path']}/change-plan", json=body),
            await client.delete(f"{two['path']}/change-plan/scheduled"),
            await client.patch(two["path"], json={"status": "paused"}),
        ):
            assert answered.status_code == status, answered.text
    foreign = await stranger.post(f"{two['path']}/change-plan/preview", json=body)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "SUBSCRIPTION_NOT_FOUND")
    assert (await reader.post(f"{two['path']}/change-plan/preview", json=body)).status_code == 200
    assert (await api.get(two["path"])).json()["product_id"] == two["small"]


async def test_the_examples_work(api: Any, two: dict[str, str]) -> None:
    shown = [key for key in BODIES if "/change-plan" in key[1]]
    assert len(shown) == 2
    for key in shown:
        for _, body in BODIES[key][JSON].values():
            own = {**body, "product_id": two["small"]} if "product_id" in body else body
            if "products" in own:
                own = {**own, "products": [{**own["products"][0], "product_id": two["small"]}]}
            answered = await api.post(key[1].format(subscription_id=two["id"]), json=own)
            assert answered.status_code == 200, answered.text


async def test_the_carts_name_the_credits(api: Any, make: Any) -> None:
    terms = {"name": "Tokens", "unit": "token", "precision": 2, "overage_enabled": False, "rollover_enabled": True}
    entitlement = (await make.post("/credit-entitlements", terms, 201))["id"]
    meter = await make.meter()
    burning = {"meter_id": meter["id"], "credit_entitlement_id": entitlement, "meter_units_per_credit": "2"}
    included = [{"credit_entitlement_id": entitlement, "credits_amount": "10", "rollover_percentage": 50}]
    product = (await make.product(price={"meters": [burning]}, credit_entitlements=included))["product_id"]
    await make.customer(customer_id="ada")
    made = await make.subscription("ada", product)
    await api.ingest(*(make.event(number) for number in range(3)))
    await api.project()
    found = (await api.get(f"/subscriptions/{made['subscription_id']}")).json()
    SdkSubscription.model_validate(found)
    (cart,) = found["credit_entitlement_cart"]
    assert {name: value for name, value in cart.items() if value is not None} == {
        "credit_entitlement_id": entitlement,
        "credit_entitlement_name": "Tokens",
        "unit": "token",
        "product_id": product,
        "credits_amount": "10",
        "remaining_balance": "8.5",
        "overage_balance": "0",
        "overage_behavior": "forgive_at_reset",
        "overage_enabled": False,
        "rollover_enabled": True,
        "rollover_percentage": 50,
    }
    assert found["meter_credit_entitlement_cart"] == [
        {
            "credit_entitlement_id": entitlement,
            "meter_id": meter["id"],
            "meter_name": "Calls",
            "meter_units_per_credit": "2",
            "product_id": product,
        }
    ]
    assert found["meters"][0]["price_per_unit"] is None
