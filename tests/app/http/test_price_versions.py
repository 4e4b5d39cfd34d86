"""What a new price has to respect: cycles that have begun, and the currency of credits that products use."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.app.http.entitlements import add_entitlement


async def test_a_price_changed_as_a_cycle_begins_is_for_the_next_one(api: Any, make: Any) -> None:
    """A clock that stands still is asked at the very instant at which the cycle began."""
    product = await make.product()
    await make.customer(customer_id="ada")
    begun = await make.subscription("ada", product["product_id"], anchor_date=None)
    dear = {**make.price, "fixed_price": 9_900, "meters": []}
    answered = await api.patch(f"/products/{product['product_id']}", json={"price": dear})
    assert answered.status_code == 200, answered.text
    await api.project()
    path = f"/subscriptions/{begun['subscription_id']}/estimate"
    assert (await api.get(path)).json()["subtotal_amount"] == make.price["fixed_price"]
    api.clock.advance(days=31, hours=2)
    await api.post("/cycles/close-due")
    await api.project()
    estimate = (await api.get(path, params={"at_least": 1})).json()
    assert estimate["subtotal_amount"] == 9_900


async def test_credits_that_a_product_bills_keep_its_currency(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1", invoiced=True, currency="USD", price_per_unit="5")
    meter = await make.meter()
    line = {"meter_id": meter["id"], "credit_entitlement_id": "cde_1", "meter_units_per_credit": "1"}
    product = await make.product(price={"meters": [line]})
    refused = await api.patch("/credit-entitlements/cde_1", json={"currency": "JPY", "price_per_unit": "500"})
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_FIELD")
    assert refused.json()["message"] == f"currency: product '{product['product_id']}' uses these credits and is in USD"
    allowed = await api.patch("/credit-entitlements/cde_1", json={"price_per_unit": "7"})
    assert allowed.status_code == 200, allowed.text


async def test_an_estimate_waits_for_what_was_recorded(api: Any, make: Any) -> None:
    ids = await make.everything()
    position = (await api.ingest(make.event(1, timestamp=(api.clock() - timedelta(hours=1)).isoformat()))).json()
    path = f"/subscriptions/{ids['subscription_id']}/estimate"
    ahead = await api.get(path, params={"at_least": position["position"] + 100})
    assert (ahead.status_code, ahead.json()["code"]) == (422, "INVALID_FIELD")
    await api.project()
    answered = await api.get(path, params={"at_least": position["position"]})
    assert answered.json()["position"] >= position["position"]


async def test_a_price_with_tax_inside_stays_so(api: Any, make: Any) -> None:
    product = await make.product()
    answered = await api.patch(
        f"/products/{product['product_id']}", json={"price": {**make.price, "meters": [], "tax_inclusive": True}}
    )
    assert answered.json()["message"] == "price.tax_inclusive: all prices of a product contain tax, or none does"
