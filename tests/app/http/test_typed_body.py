"""A body is read as the types that the API describes: nothing is converted on the way."""

from __future__ import annotations

from typing import Any

import pytest

ENTITLEMENT = {"name": "C", "unit": "credit", "precision": 2, "overage_enabled": False, "rollover_enabled": False}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rollover_enabled": 0}, "rollover_enabled: Expected `bool`, got `int`"),
        ({"overage_enabled": "false"}, "overage_enabled: Expected `bool`, got `str`"),
        ({"precision": "2"}, "precision: Expected `int`, got `str`"),
        ({"precision": 2.5}, "precision: Expected `int`, got `float`"),
        ({"name": 5}, "name: Expected `str`, got `int`"),
    ],
)
async def test_a_value_of_another_type_is_refused_and_named(api: Any, change: dict[str, Any], message: str) -> None:
    answered = await api.post("/credit-entitlements", json={**ENTITLEMENT, **change})
    assert (answered.status_code, answered.json()) == (422, {"code": "INVALID_FIELD", "message": message})


async def test_a_value_deep_inside_is_named_by_its_path(api: Any, make: Any) -> None:
    meters = [{"meter_id": "m", "price_per_unit": "1"}, {"meter_id": "m", "free_threshold": []}]
    body = {"name": "API", "tax_category": "saas", "price": {**make.price, "meters": meters}}
    answered = await api.post("/products", json=body)
    assert answered.status_code == 422
    assert answered.json()["message"].startswith("price.meters[1].free_threshold: Expected ")


async def test_a_missing_field_is_named(api: Any, make: Any) -> None:
    without = {key: value for key, value in ENTITLEMENT.items() if key != "unit"}
    answered = await api.post("/credit-entitlements", json=without)
    assert (answered.status_code, answered.json()["message"]) == (422, "unit: is required")
    body = {"name": "API", "tax_category": "saas", "price": {**make.price, "meters": [{"price_per_unit": "1"}]}}
    answered = await api.post("/products", json=body)
    assert (answered.status_code, answered.json()["message"]) == (422, "price.meters[0].meter_id: is required")


async def test_the_types_as_described_are_taken(api: Any) -> None:
    assert (await api.post("/credit-entitlements", json=ENTITLEMENT)).status_code == 201
