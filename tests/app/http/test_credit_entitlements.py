"""Credit entitlements over HTTP: the contract's first six endpoints of credits."""

from __future__ import annotations

from typing import Any

import pytest

AT = "2026-03-10T12:00:00.000000Z"
LEAST: dict[str, Any] = {
    "name": "SMS",
    "unit": "credit",
    "precision": 2,
    "overage_enabled": False,
    "rollover_enabled": False,
}
ALL: dict[str, Any] = {
    **LEAST,
    "description": "Text messages",
    "expires_after_days": 30,
    "overage_enabled": True,
    "overage_behavior": "invoice_at_billing",
    "overage_limit": 100,
    "currency": "USD",
    "price_per_unit": "2.5",
    "rollover_enabled": True,
    "rollover_percentage": 50,
    "rollover_timeframe_count": 2,
    "rollover_timeframe_interval": "Month",
    "max_rollover_count": 3,
    "burn_order": "earliest_expiry",
}
CLEARED: dict[str, Any] = {
    "description": None,
    "expires_after_days": None,
    "overage_behavior": "forgive_at_reset",
    "overage_limit": None,
    "currency": None,
    "price_per_unit": None,
    "rollover_percentage": None,
    "rollover_timeframe_count": None,
    "rollover_timeframe_interval": None,
    "max_rollover_count": None,
    "burn_order": "oldest",
}
"""What stands in an answer where nothing was said."""


async def create(api: Any, **changes: Any) -> dict[str, Any]:
    answered = await api.post("/credit-entitlements", json=LEAST | changes)
    assert answered.status_code == 201, answered.text
    return answered.json()


async def listed(api: Any, **params: Any) -> list[str]:
    answered = await api.get("/credit-entitlements", params=params)
    assert answered.status_code == 200, answered.text
    return [item["name"] for item in answered.json()["items"]]


async def test_create_and_read_the_least(api: Any) -> None:
    made = await create(api)
    assert made["id"].startswith("cde_")
    around = {"id": made["id"], "business_id": api.caller.tenant_id, "created_at": AT, "updated_at": AT}
    assert made == LEAST | CLEARED | around
    assert (await api.get(f"/credit-entitlements/{made['id']}")).json() == made
    assert (await api.get("/credit-entitlements")).json() == {"items": [made]}


async def test_create_and_read_everything(api: Any) -> None:
    made = await create(api, **ALL)
    assert {key: made[key] for key in ALL} == ALL


@pytest.mark.parametrize("missing", list(LEAST))
async def test_required_fields(api: Any, missing: str) -> None:
    body = {key: value for key, value in LEAST.items() if key != missing}
    answered = await api.post("/credit-entitlements", json=body)
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert missing in answered.json()["message"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"unit": ""}, "unit"),
        ({"unit": "x" * 51}, "unit"),
        ({"precision": -1}, "precision"),
        ({"precision": 11}, "precision"),
        ({"precision": 1.5}, "precision"),
        ({"overage_enabled": "perhaps"}, "overage_enabled"),
        ({"description": "x" * 1001}, "description"),
        ({"expires_after_days": 0}, "expires_after_days"),
        ({"expires_after_days": 10**9}, "expires_after_days"),
        ({"overage_behavior": "forgive"}, "overage_behavior"),
        ({"overage_limit": -1}, "overage_limit"),
        ({"overage_limit": "0.001"}, "overage_limit"),
        ({"overage_limit": 10**10}, "overage_limit"),
        ({"overage_limit": "1e3"}, "overage_limit"),
        ({"currency": "usd"}, "currency"),
        ({"price_per_unit": "2"}, "currency"),
        ({"price_per_unit": "-2", "currency": "USD"}, "price_per_unit"),
        ({"price_per_unit": "2" * 20, "currency": "USD"}, "price_per_unit"),
        ({"overage_enabled": True, "overage_behavior": "invoice_at_billing"}, "price_per_unit"),
        ({"rollover_percentage": 101}, "rollover_percentage"),
        ({"rollover_percentage": -1}, "rollover_percentage"),
        ({"max_rollover_count": -1}, "max_rollover_count"),
        ({"rollover_timeframe_count": 1}, "rollover_timeframe_interval"),
        ({"rollover_timeframe_interval": "Month"}, "rollover_timeframe_count"),
        ({"rollover_timeframe_interval": "month", "rollover_timeframe_count": 1}, "rollover_timeframe_interval"),
        ({"rollover_timeframe_interval": "Year", "rollover_timeframe_count": 21}, "rollover_timeframe_count"),
        ({"rollover_timeframe_interval": "Year", "rollover_timeframe_count": 0}, "rollover_timeframe_count"),
        ({"burn_order": "newest"}, "burn_order"),
        ({"rollover_percent": 5}, "rollover_percent"),
    ],
)
async def test_a_broken_rule_names_its_field(api: Any, change: dict[str, Any], named: str) -> None:
    answered = await api.post("/credit-entitlements", json=LEAST | change)
    assert answered.status_code == 422, answered.text
    assert named in answered.json()["message"]
    assert await listed(api) == []


async def test_the_edges_of_the_limits_pass(api: Any) -> None:
    made = await create(api, precision=10, name="x" * 255, unit="y" * 50, overage_limit="9999999999.0000000001")
    assert made["overage_limit"] == "9999999999.0000000001"
    assert (await create(api, precision=0, overage_limit="7"))["overage_limit"] == 7


async def test_a_change_changes_only_what_it_names(api: Any) -> None:
    made = await create(api, **ALL)
    api.clock.advance(hours=1)
    answered = await api.patch(f"/credit-entitlements/{made['id']}", json={"name": "Texts", "overage_limit": "5.25"})
    assert (answered.status_code, answered.content) == (200, b"")
    after = (await api.get(f"/credit-entitlements/{made['id']}")).json()
    assert after == made | {"name": "Texts", "overage_limit": "5.25", "updated_at": "2026-03-10T13:00:00.000000Z"}


async def test_null_clears_what_is_optional_and_leaves_the_rest(api: Any) -> None:
    made = await create(api, **ALL)
    path = f"/credit-entitlements/{made['id']}"
    nothing = dict.fromkeys(CLEARED)
    required = {"name": None, "unit": None, "overage_enabled": None, "rollover_enabled": None}
    assert (await api.patch(path, json=nothing | required)).status_code == 200
    assert (await api.get(path)).json() == made | CLEARED


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"precision": 3}, "precision"),
        ({"price_per_unit": None}, "price_per_unit"),
        ({"currency": None}, "currency"),
        ({"rollover_timeframe_count": None}, "rollover_timeframe_count"),
        ({"rollover_timeframe_interval": None}, "rollover_timeframe_interval"),
        ({"name": ""}, "name"),
        ({"overage_limit": "0.001"}, "overage_limit"),
    ],
)
async def test_a_change_that_breaks_a_rule_changes_nothing(api: Any, change: dict[str, Any], named: str) -> None:
    made = await create(api, **ALL)
    answered = await api.patch(f"/credit-entitlements/{made['id']}", json=change)
    assert answered.status_code == 422, answered.text
    assert named in answered.json()["message"]
    assert (await api.get(f"/credit-entitlements/{made['id']}")).json() == made


async def test_the_list_is_newest_first_and_paged(api: Any) -> None:
    for name in ("a", "b", "c"):
        await create(api, name=name)
        api.clock.advance(seconds=1)
    assert await listed(api) == ["c", "b", "a"]
    assert await listed(api, page_size=2, page_number=1) == ["a"]
    assert await listed(api, page_number=7) == []
    assert (await api.get("/credit-entitlements", params={"page_size": 101})).status_code == 422


async def test_delete_and_undelete(api: Any) -> None:
    made = await create(api)
    path = f"/credit-entitlements/{made['id']}"
    answered = await api.delete(path)
    assert (answered.status_code, answered.content) == (200, b"")
    gone = await api.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "CREDIT_ENTITLEMENT_NOT_FOUND")
    assert (await api.patch(path, json={"name": "x"})).status_code == 404
    again = await api.delete(path)
    assert (again.status_code, again.json()["code"]) == (410, "CREDIT_ENTITLEMENT_DELETED")
    assert (await listed(api), await listed(api, deleted="true")) == ([], ["SMS"])
    answered = await api.post(f"{path}/undelete")
    assert (answered.status_code, answered.content) == (200, b"")
    assert (await api.post(f"{path}/undelete")).status_code == 200
    assert (await api.get(path)).json() == made
    assert (await listed(api), await listed(api, deleted="true")) == (["SMS"], [])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/undelete")],
)
async def test_an_unknown_or_foreign_one_is_not_found(api: Any, stranger: Any, method: str, path: str) -> None:
    made = await create(api)
    body = {} if method == "PATCH" else None
    for client, entitlement_id in ((api, "cde_none"), (stranger, made["id"])):
        answered = await client.request(method, f"/credit-entitlements/{entitlement_id}{path}", json=body)
        assert (answered.status_code, answered.json()["code"]) == (404, "CREDIT_ENTITLEMENT_NOT_FOUND")
    assert (await api.get(f"/credit-entitlements/{made['id']}")).json() == made


async def test_a_key_that_only_reads_changes_nothing(api: Any, open_client: Any) -> None:
    made = await create(api)
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    path = f"/credit-entitlements/{made['id']}"
    assert (await reader.get(path)).status_code == 200
    assert (await reader.post("/credit-entitlements", json=LEAST)).status_code == 403
    assert (await reader.patch(path, json={})).status_code == 403
    assert (await reader.delete(path)).status_code == 403
    assert (await reader.post(f"{path}/undelete")).status_code == 403
