"""The test clock over HTTP, and test mode among the settings."""

from __future__ import annotations

from typing import Any

import pytest

from app.http import test_clock as routes

NOW = "2026-03-10T12:00:00.000000Z"


@pytest.fixture
async def tested(api: Any) -> Any:
    """The client of a tenant in test mode."""
    assert (await api.patch("/settings", json={"test_mode": True})).status_code == 200
    return api


async def moved(api: Any, **body: str) -> dict[str, Any]:
    answered = await api.post("/test-clock/advance", json=body)
    assert answered.status_code == 200, answered.text
    return answered.json()


async def test_a_tenant_in_real_time_has_no_clock_to_move(api: Any) -> None:
    settings = (await api.get("/settings")).json()
    assert settings["test_mode"] is False
    assert "now" not in settings
    answered = await api.post("/test-clock/advance", json={"by": "1d"})
    assert (answered.status_code, answered.json()["code"]) == (409, "NOT_IN_TEST_MODE")


async def test_test_mode_is_for_ever(tested: Any) -> None:
    tested.clock.advance(days=3)
    settings = (await tested.patch("/settings", json={"test_mode": True, "close_grace": "2h"})).json()
    assert (settings["test_mode"], settings["now"], settings["close_grace"]) == (True, NOW, "2h")
    answered = await tested.patch("/settings", json={"test_mode": False, "close_grace": "3h"})
    assert (answered.status_code, answered.json()["code"]) == (409, "TEST_MODE_IS_FOR_EVER")
    assert (await tested.get("/settings")).json() == settings


async def test_test_mode_begins_before_the_first_usage(api: Any, make: Any) -> None:
    assert (await api.patch("/settings", json={"test_mode": False})).status_code == 200
    await api.ingest(make.event(1))
    answered = await api.patch("/settings", json={"test_mode": True})
    assert (answered.status_code, answered.json()["code"]) == (409, "USAGE_WAS_RECORDED")
    assert (await api.get("/settings")).json()["test_mode"] is False


@pytest.mark.parametrize("value", [None, "yes", 2])
async def test_test_mode_is_a_boolean(api: Any, value: Any) -> None:
    assert (await api.patch("/settings", json={"test_mode": value})).status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "to"),
        ({"to": "2026-04-01T00:00:00Z", "by": "1d"}, "to"),
        ({"to": "2026-04-01"}, "to"),
        ({"to": "2026-03-10T11:59:59.999999Z"}, "to"),
        ({"to": "2036-04-01T00:00:00Z"}, "to"),
        ({"by": "none"}, "by"),
        ({"by": "0s"}, "by"),
        ({"by": "soon"}, "by"),
        ({"by": "3654d"}, "by"),
        ({"by": "1d", "until": "x"}, "until"),
    ],
)
async def test_a_target_that_is_none(tested: Any, body: dict[str, Any], field: str) -> None:
    answered = await tested.post("/test-clock/advance", json=body)
    assert answered.status_code == 422
    assert answered.json()["message"].startswith(f"{field}:")
    assert (await tested.get("/settings")).json()["now"] == NOW


async def test_only_a_writer_moves_the_clock(tested: Any, open_client: Any) -> None:
    for scope in ("read", "ingest"):
        client = await open_client(tenant_id=tested.caller.tenant_id, scope=scope)
        assert (await client.post("/test-clock/advance", json={"by": "1d"})).status_code == 403


async def test_three_months_of_billing(tested: Any, make: Any) -> None:
    meter = await make.meter()
    product = await make.product(meter["id"])
    await make.customer(customer_id="ada")
    await make.subscription("ada", product["product_id"])
    await tested.ingest(*[{**make.event(number), "timestamp": NOW} for number in range(6)])
    first = await moved(tested, to="2026-04-15T00:00:00Z")
    assert [item["total_amount"] for item in first["items"]] == [502]
    assert (first["now"], first["done"]) == ("2026-04-15T00:00:00.000000Z", True)
    # A timestamp is checked against the tenant's now, and one that is not given is the tenant's now.
    await tested.ingest(*[{**make.event(number), "timestamp": first["now"]} for number in range(6, 10)])
    untimed = {key: value for key, value in make.event(10).items() if key != "timestamp"}
    assert (await tested.ingest(untimed)).status_code == 200
    assert (await tested.get("/events/call-10")).json()["timestamp"] == "2026-04-15T00:00:00.000000Z"
    too_new = await tested.ingest({**make.event(11), "timestamp": "2026-04-15T00:05:01Z"})
    assert too_new.json()["errors"][0]["code"] == "TIMESTAMP_TOO_NEW"
    then = await moved(tested, by="60d")
    assert then["now"] == "2026-06-14T00:00:00.000000Z"
    assert [(item["total_amount"], item["issued_at"][:19]) for item in then["items"]] == [
        (502, "2026-05-01T01:00:00"),
        (500, "2026-06-01T01:00:00"),
    ]
    assert (then["steps"], then["opened_count"], then["closed_count"]) == (5, 2, 2)
    assert (await tested.get("/settings")).json()["now"] == then["now"]
    await tested.project()
    usage = await tested.get(f"/meters/{meter['id']}/usage", params={"start": "2026-03-01T00:00:00Z"})
    assert usage.json()["quantity"] == "11"


async def test_a_long_list_of_invoices_is_cut(tested: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.test_clock.CLOCK_INVOICES_MAX", 2)
    monkeypatch.setattr(routes, "CLOCK_INVOICES_MAX", 2)
    product = await make.product()
    await make.customer(customer_id="ada")
    await make.subscription("ada", product["product_id"])
    done = await moved(tested, by="92d")
    assert (len(done["items"]), done["closed_count"]) == (2, 3)
    assert done["note"] == "the first 2 invoices of 3; GET /invoices lists all"
