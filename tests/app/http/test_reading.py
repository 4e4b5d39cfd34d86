"""What the routes share in reading a request: fields that are nearly, or not, what was meant."""

from __future__ import annotations

from typing import Any

import pytest

METER = {
    "name": "Calls",
    "event_name": "api.call",
    "aggregation": {"type": "count"},
    "measurement_unit": "call",
}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/meters", {**METER, "filters": {}}, "filters: is unknown; did you mean filter?"),
        (
            "/customers",
            {"email": "a@b.c", "name": "A", "timezone": "UTC"},
            "timezone: is unknown; did you mean time_zone?",
        ),
        ("/api-keys", {"scope": "read", "tenant": "other"}, "tenant: is unknown; known are scope, name"),
    ],
)
async def test_a_misspelt_field_is_refused(api: Any, path: str, body: dict[str, Any], said: str) -> None:
    refused = await api.post(path, json=body)
    assert (refused.status_code, refused.json()) == (422, {"code": "UNKNOWN_FIELD", "message": said})


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ({"discuont": 5}, "price.discuont: is unknown; did you mean discount?"),
        (
            {"meters": [{"meter_id": "m", "price_per_unit": "1", "free_treshold": 5}]},
            "price.meters[0].free_treshold: is unknown; did you mean free_threshold?",
        ),
    ],
)
async def test_a_misspelt_price_does_not_become_another(api: Any, make: Any, price: dict[str, Any], said: str) -> None:
    body = {"name": "API", "tax_category": "saas", "price": {**make.price, **price}}
    refused = await api.post("/products", json=body)
    assert (refused.status_code, refused.json()["message"]) == (422, said)


async def test_misspelt_fields_of_what_exists_are_refused(api: Any, make: Any) -> None:
    made = await make.everything()
    for path, body, said in (
        ("/settings", {"closegrace": "5m"}, "closegrace: is unknown; known are"),
        (f"/subscriptions/{made['subscription_id']}", {"cancel_at_next_billing": True}, "did you mean cancel_at_next"),
        (f"/products/{made['product_id']}", {"efective_at": "2026-01-01T00:00:00Z"}, "did you mean effective_at?"),
        ("/customers/ada", {"timezone": "UTC"}, "did you mean time_zone?"),
        (f"/meters/{made['meter_id']}", {"measurment_unit": "x"}, "did you mean measurement_unit?"),
    ):
        refused = await api.patch(path, json=body)
        assert refused.status_code == 422, path
        assert said in refused.json()["message"]


@pytest.mark.parametrize("body", [{"cycle": "2026-03-01T00:00:00Z"}, {"cycle_start": None}])
async def test_a_close_that_names_no_cycle_closes_none(api: Any, make: Any, body: dict[str, Any]) -> None:
    """Closing cannot be taken back, so a body has to say which cycle it means."""
    made = await make.everything()
    api.clock.advance(days=30)
    refused = await api.post(f"/subscriptions/{made['subscription_id']}/close-cycle", json=body)
    assert refused.status_code == 422
    assert (await api.get("/invoices")).json() == {"items": []}


async def test_fields_of_the_contract_that_are_not_carried_out_pass(api: Any, make: Any) -> None:
    """The official clients may send them; they change no amount here."""
    answered = await api.post("/meters", json={**METER, "brand_id": "bus_1", "whatever": {"a": [1]}})
    assert answered.status_code == 201
    product = await make.product(brand_id="b", license_key_enabled=False, digital_product_delivery=None)
    customer = await make.customer(create_new_customer=True)
    subscription = await make.subscription(
        customer["customer_id"], product["product_id"], payment_link=True, return_url="https://example.com"
    )
    assert subscription["subscription_id"]
