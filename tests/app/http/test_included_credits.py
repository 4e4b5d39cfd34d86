"""The credits that a product includes: kept, shown with the terms that hold, and every rule they may break."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.http.entitlements import add_entitlement, delete_entitlement

ONE = {"credit_entitlement_id": "cde_1", "credits_amount": "1000"}
EVERYTHING: dict[str, Any] = {
    **ONE,
    "expires_after_days": 7,
    "low_balance_threshold_percent": 20,
    "max_rollover_count": 3,
    "overage_behavior": "invoice_at_billing",
    "overage_enabled": True,
    "overage_limit": "50.25",
    "price_per_unit": "2.5",
    "proration_behavior": "no_prorate",
    "rollover_enabled": True,
    "rollover_percentage": 50,
    "rollover_timeframe_count": 2,
    "rollover_timeframe_interval": "Month",
    "trial_credits": "10",
    "trial_credits_expire_after_trial": False,
}


def body(make: Any, *included: Any, **price: Any) -> dict[str, Any]:
    return {
        "name": "API",
        "tax_category": "saas",
        "price": {**make.price, **price},
        "credit_entitlements": list(included),
    }


async def refused(api: Any, sent: dict[str, Any], named: str, code: str = "INVALID_FIELD") -> None:
    answered = await api.post("/products", json=sent)
    assert (answered.status_code, answered.json()["code"]) == (422, code), answered.text
    assert named in answered.json()["message"]
    assert (await api.get("/products")).json() == {"items": []}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"credits_amount": ...}, "credits_amount"),
        ({"credit_entitlement_id": ...}, "credit_entitlement_id"),
        ({"credits_amount": "x"}, "[0].credits_amount: must be a number"),
        ({"credits_amount": "-1"}, "[0].credits_amount: must not be negative"),
        ({"credits_amount": "0.001"}, "[0].credits_amount: must have at most 2 digits after the point"),
        ({"credits_amount": "10000000000"}, "[0].credits_amount: must be below 10^10"),
        ({"credits_amount": 1.5}, "credits_amount"),
        ({"overage_limit": "0.001"}, "[0].overage_limit: must have at most 2 digits"),
        ({"trial_credits": "-1"}, "[0].trial_credits: must not be negative"),
        ({"currency": "EUR"}, "[0].currency: must be the price's currency, USD"),
        ({"price_per_unit": "-1"}, "[0].price_per_unit: must not be negative"),
        ({"expires_after_days": 0}, "expires_after_days"),
        ({"low_balance_threshold_percent": 101}, "low_balance_threshold_percent"),
        ({"rollover_percentage": 101}, "rollover_percentage"),
        ({"max_rollover_count": -1}, "max_rollover_count"),
        ({"overage_behavior": "forget"}, "overage_behavior"),
        ({"proration_behavior": "maybe"}, "proration_behavior"),
        ({"rollover_timeframe_count": 1}, "[0].rollover_timeframe_interval: is required"),
        ({"rollover_timeframe_interval": "Day"}, "[0].rollover_timeframe_count: is required"),
        (
            {"rollover_timeframe_count": 241, "rollover_timeframe_interval": "Month"},
            "[0].rollover_timeframe_count: at most 20 years",
        ),
        (
            {"overage_enabled": True, "overage_behavior": "invoice_at_billing"},
            "credit_entitlements[0].price_per_unit: is needed when overage is invoiced",
        ),
    ],
)
async def test_a_broken_rule_names_its_field(api: Any, make: Any, change: dict[str, Any], named: str) -> None:
    await add_entitlement(api, "cde_1")
    one = {key: value for key, value in (ONE | change).items() if value is not ...}
    await refused(api, body(make, one), named)


async def test_a_misspelt_field_is_told(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1")
    named = "credit_entitlements[0].overage_limt: is unknown; did you mean overage_limit?"
    await refused(api, body(make, {**ONE, "overage_limt": "1"}), named, "UNKNOWN_FIELD")


async def test_shared_out_grants_are_refused(api: Any, make: Any) -> None:
    """They would grant less than what is granted here."""
    await add_entitlement(api, "cde_1")
    named = "credit_entitlements[0].proration_behavior: must be no_prorate"
    await refused(api, body(make, {**ONE, "proration_behavior": "prorate"}), named, "UNSUPPORTED_FIELD")


async def test_an_unknown_deleted_or_foreign_entitlement(api: Any, make: Any, stranger: Any) -> None:
    await add_entitlement(api, "cde_1", deleted=True)
    await add_entitlement(api, "cde_2")
    for client, entitlement_id in ((api, "cde_none"), (api, "cde_1"), (stranger, "cde_2")):
        named = f"credit_entitlements[0].credit_entitlement_id: there is no credit entitlement '{entitlement_id}'"
        sent = body(make, {**ONE, "credit_entitlement_id": entitlement_id})
        await refused(client, sent, named, "CREDIT_ENTITLEMENT_NOT_FOUND")


async def test_at_most_five_and_none_twice(api: Any, make: Any) -> None:
    many = [{**ONE, "credit_entitlement_id": f"cde_{number}"} for number in range(6)]
    for one in many:
        await add_entitlement(api, one["credit_entitlement_id"])
    await refused(api, body(make, *many), "credit_entitlements: at most 5")
    await refused(api, body(make, many[0], many[0]), "credit_entitlements: a credit entitlement stands in it twice")
    assert len((await make.product(credit_entitlements=many[:5]))["credit_entitlements"]) == 5


async def test_overage_in_another_currency_cannot_be_invoiced(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1", currency="EUR", price_per_unit="2", invoiced=True)
    await refused(api, body(make, ONE), "credit_entitlements[0].currency: overage is priced in EUR, the product in USD")
    own = await make.product(credit_entitlements=[{**ONE, "price_per_unit": "3", "currency": "USD"}])
    assert own["credit_entitlements"][0].items() >= {"price_per_unit": "3", "currency": "USD"}.items()
    await make.product(credit_entitlements=[{**ONE, "overage_enabled": False}])


async def test_what_is_left_out_is_the_entitlements(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1", expires_after_days=30, currency="USD", price_per_unit="2", invoiced=True)
    product = await make.product(credit_entitlements=[{**ONE, "credits_amount": 1000, "overage_limit": None}])
    assert product["credit_entitlements"] == [
        {
            "id": f"{product['product_id']}:cde_1",
            "credit_entitlement_id": "cde_1",
            "credit_entitlement_name": "Tokens",
            "credit_entitlement_unit": "token",
            "credits_amount": "1000",
            "overage_behavior": "invoice_at_billing",
            "overage_enabled": True,
            "proration_behavior": "no_prorate",
            "rollover_enabled": False,
            "trial_credits_expire_after_trial": True,
            "currency": "USD",
            "expires_after_days": 30,
            "price_per_unit": "2",
        }
    ]
    (listed,) = (await api.get("/products")).json()["items"]
    assert listed["credit_entitlements"] == product["credit_entitlements"]


async def test_everything_a_product_may_state(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1")
    product = await make.product(credit_entitlements=[EVERYTHING])
    (shown,) = product["credit_entitlements"]
    assert shown.items() >= {**EVERYTHING, "currency": "USD"}.items()
    # What was answered can be sent again as it is.
    path = f"/products/{product['product_id']}"
    answered = await api.patch(path, json={"credit_entitlements": [shown]})
    assert answered.status_code == 200, answered.text
    assert (await api.get(path)).json()["credit_entitlements"] == [shown]


async def test_a_change_is_a_price_version(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1")
    meter_id = (await make.meter())["id"]
    product = await make.product(meter_id, credit_entitlements=[ONE])
    path = f"/products/{product['product_id']}"
    more = {"credit_entitlements": [{**ONE, "credits_amount": "2000"}], "effective_at": "2026-05-01T00:00:00Z"}
    assert (await api.patch(path, json=more)).status_code == 200
    changed = (await api.get(path)).json()
    assert changed["credit_entitlements"][0]["credits_amount"] == "2000"
    assert changed["price"] == product["price"]
    versions = await api.service.pool.fetchval(
        "select versions from product where product_id = $1", changed["product_id"]
    )
    assert '"effective_at":"2026-05-01T00:00:00Z"' in versions
    assert versions.count('"credits_amount":"1000"') == 1


async def test_a_new_price_keeps_the_credits_and_an_empty_list_takes_them_away(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1")
    product = await make.product(credit_entitlements=[ONE])
    path = f"/products/{product['product_id']}"
    # Kept even when the entitlement has been deleted since: nobody asked for it now.
    await delete_entitlement(api, "cde_1")
    for sent in ({"price": {**make.price, "fixed_price": 900}}, {"name": "New"}, {"credit_entitlements": None}):
        assert (await api.patch(path, json=sent)).status_code == 200
        assert len((await api.get(path)).json()["credit_entitlements"]) == 1
    assert (await api.patch(path, json={"credit_entitlements": [ONE]})).status_code == 422
    assert (await api.patch(path, json={"credit_entitlements": []})).status_code == 200
    after = (await api.get(path)).json()
    assert (after["credit_entitlements"], after["price"]["fixed_price"], after["name"]) == ([], 900, "New")
