"""Hostile bodies for credits and wallets: whatever stands in a field, the answer is no 5xx and says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.app.http.test_hostile import VALUES, check, paths_in, replaced

ENTITLEMENT = {
    "name": "AI",
    "unit": "credit",
    "precision": 2,
    "description": "text",
    "overage_enabled": True,
    "overage_behavior": "invoice_at_billing",
    "overage_limit": "100.5",
    "currency": "USD",
    "price_per_unit": "2",
    "rollover_enabled": True,
    "rollover_percentage": 50,
    "rollover_timeframe_count": 1,
    "rollover_timeframe_interval": "Month",
    "max_rollover_count": 3,
    "expires_after_days": 30,
    "burn_order": "oldest",
}
CHANGE = {key: value for key, value in ENTITLEMENT.items() if key != "precision"}
ENTRY = {
    "amount": "1.5",
    "entry_type": "credit",
    "expires_at": "2036-01-01T00:00:00Z",
    "idempotency_key": "k",
    "reason": "text",
    "metadata": {"a": 1},
}
MONEY = {"amount": 5, "currency": "USD", "entry_type": "credit", "reason": "text", "idempotency_key": "k"}

BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/credit-entitlements", ENTITLEMENT),
    ("PATCH", "/credit-entitlements/{id}", CHANGE),
    ("POST", "/credit-entitlements/{id}/balances/ada/ledger-entries", ENTRY),
    ("POST", "/customers/ada/wallets/ledger-entries", MONEY),
]
FIELDS = [(method, path, body, way) for method, path, body in BODIES for way in paths_in(body)]


@pytest.mark.parametrize(
    ("method", "path", "body", "way"),
    FIELDS,
    ids=[f"{method} {path} {'.'.join(map(str, way))}" for method, path, _, way in FIELDS],
)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
async def test_anything_in_place_of_a_field(
    api: Any, make: Any, method: str, path: str, body: dict[str, Any], way: tuple[Any, ...], value: object
) -> None:
    await api.post("/customers", json={"customer_id": "ada", "email": "a@example.com", "name": "Ada"})
    made = await make.post("/credit-entitlements", ENTITLEMENT, 201)
    sent = json.dumps(replaced(body, way, value)).encode()
    headers = {"Content-Type": "application/json"}
    check(await api.request(method, path.format(id=made["id"]), content=sent, headers=headers))
