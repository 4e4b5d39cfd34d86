"""Alerts over HTTP: set, listed, deleted, and what fired read page by page."""

from __future__ import annotations

from typing import Any

import pytest

from app.alerting.watch import Watch


async def alert(make: Any, **more: Any) -> dict[str, Any]:
    return await make.post("/alerts", {"customer_id": "ada", "kind": "amount", "threshold": "100", **more}, 201)


async def refusal(api: Any, **body: Any) -> tuple[int, str, str]:
    answered = await api.post("/alerts", json=body)
    problem = answered.json()
    return answered.status_code, problem["code"], problem["message"]


async def look(api: Any) -> None:
    await api.project()
    await Watch(api.service).look()


async def test_an_alert_is_set_read_listed_and_deleted(api: Any, make: Any) -> None:
    ids = await make.everything()
    made = await alert(make, kind="quantity", meter_id=ids["meter_id"], threshold="2.50")
    assert made == {
        "alert_id": made["alert_id"],
        "business_id": api.caller.tenant_id,
        "customer_id": "ada",
        "subscription_id": None,
        "kind": "quantity",
        "meter_id": ids["meter_id"],
        "credit_entitlement_id": None,
        "threshold": "2.5",
        "created_at": "2026-03-10T12:00:00.000000Z",
    }
    path = f"/alerts/{made['alert_id']}"
    assert (await api.get(path)).json() == made
    assert (await api.get("/alerts")).json() == {"items": [made]}
    deleted = await api.delete(path)
    assert (deleted.status_code, deleted.content) == (200, b"")
    assert (await api.get(path)).status_code == 404
    assert (await api.delete(path)).status_code == 410
    assert (await api.get("/alerts")).json() == {"items": []}


async def test_an_alert_of_a_subscription_names_its_customer(api: Any, make: Any) -> None:
    ids = await make.everything()
    made = await alert(make, customer_id=None, subscription_id=ids["subscription_id"], threshold=700)
    assert (made["customer_id"], made["subscription_id"], made["threshold"]) == ("ada", ids["subscription_id"], "700")
    of_customer = await alert(make)

    async def listed(**where: str) -> list[str]:
        return [item["alert_id"] for item in (await api.get("/alerts", params=where)).json()["items"]]

    assert set(await listed(customer_id="ada")) == {made["alert_id"], of_customer["alert_id"]}
    assert await listed(subscription_id=ids["subscription_id"]) == [made["alert_id"]]
    assert await listed(customer_id="bob") == []


async def test_what_fired_is_read_newest_first_in_pages(api: Any, make: Any) -> None:
    ids = await make.everything()
    low, high = [await alert(make, kind="quantity", meter_id=ids["meter_id"], threshold=str(n)) for n in (1, 2)]
    await api.ingest(make.event(1), make.event(2), make.event(3))
    await look(api)
    items = (await api.get("/alert-firings")).json()["items"]
    assert [(item["alert_id"], item["threshold"], item["value"]) for item in items] == [
        (high["alert_id"], "2", "3"),
        (low["alert_id"], "1", "3"),
    ]
    assert items[0] == {
        "position": items[1]["position"] + 1,
        "alert_id": high["alert_id"],
        "customer_id": "ada",
        "subscription_id": ids["subscription_id"],
        "kind": "quantity",
        "meter_id": ids["meter_id"],
        "credit_entitlement_id": None,
        "threshold": "2",
        "value": "3",
        "cycle_start": "2026-03-01T00:00:00.000000Z",
        "cycle_end": "2026-04-01T00:00:00.000000Z",
        "fired_at": "2026-03-10T12:00:00.000000Z",
    }

    async def listed(**where: Any) -> list[dict[str, Any]]:
        return (await api.get("/alert-firings", params=where)).json()["items"]

    assert await listed(page_size=1, page_number=1) == items[1:]
    assert await listed(alert_id=low["alert_id"]) == items[1:]
    assert await listed(customer_id="ada", subscription_id=ids["subscription_id"]) == items
    assert await listed(customer_id="bob") == []
    await api.delete(f"/alerts/{low['alert_id']}")
    assert await listed() == items


async def test_what_breaks_a_rule_is_refused(api: Any, make: Any) -> None:
    ids = await make.everything()
    amount = {"customer_id": "ada", "kind": "amount", "threshold": "100"}
    quantity = {**amount, "kind": "quantity"}
    both = await refusal(api, **amount, subscription_id=ids["subscription_id"])
    assert both == (
        422,
        "INVALID_FIELD",
        "customer_id: either customer_id or subscription_id is required, and not both",
    )
    assert (await refusal(api, kind="amount", threshold="100"))[1:] == both[1:]
    for body, code in (
        ({**amount, "customer_id": "bob"}, "CUSTOMER_NOT_FOUND"),
        ({"subscription_id": "sub_none", "kind": "amount", "threshold": "1"}, "SUBSCRIPTION_NOT_FOUND"),
        ({**quantity, "meter_id": "mtr_none"}, "METER_NOT_FOUND"),
        (quantity, "INVALID_FIELD"),
        ({**amount, "threshold": "0"}, "INVALID_FIELD"),
        ({**amount, "threshold": "1e3"}, "INVALID_FIELD"),
        ({**amount, "threshold": "99.5"}, "INVALID_FIELD"),
        ({**amount, "kind": "mood"}, "INVALID_FIELD"),
        ({**amount, "treshold": "5"}, "UNKNOWN_FIELD"),
        ({**quantity, "kind": "free_percent", "meter_id": ids["meter_id"], "threshold": "1001"}, "INVALID_FIELD"),
    ):
        status, found, message = await refusal(api, **body)
        assert (status, found) == (422, code), message
    entitled = {**amount, "kind": "credit_percent", "credit_entitlement_id": "cde_none"}
    assert (await refusal(api, **entitled))[:2] == (404, "CREDIT_ENTITLEMENT_NOT_FOUND")
    assert (await api.get("/alerts")).json() == {"items": []}


async def test_a_customer_has_so_many_alerts_and_no_more(api: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.alerts.CUSTOMER_ALERTS_MAX", 2)
    await make.everything()
    first = await alert(make)
    await alert(make)
    refused = await refusal(api, customer_id="ada", kind="amount", threshold="1")
    assert refused[:2] == (409, "TOO_MANY_ALERTS")
    await api.delete(f"/alerts/{first['alert_id']}")
    await alert(make)


async def test_another_tenant_sees_nothing_of_it(api: Any, make: Any, stranger: Any) -> None:
    ids = await make.everything()
    made = await alert(make, threshold="1")
    await look(api)
    assert len((await api.get("/alert-firings")).json()["items"]) == 1
    path = f"/alerts/{made['alert_id']}"
    assert (await stranger.get(path)).status_code == 404
    assert (await stranger.delete(path)).status_code == 404
    for listed in ("/alerts", "/alert-firings"):
        assert (await stranger.get(listed, params={"customer_id": "ada"})).json() == {"items": []}
    assert (await refusal(stranger, subscription_id=ids["subscription_id"], kind="amount", threshold="1"))[0] == 422


async def test_a_key_needs_the_scope(api: Any, make: Any, open_client: Any) -> None:
    await make.everything()
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    body = {"customer_id": "ada", "kind": "amount", "threshold": "1"}
    assert (await reader.post("/alerts", json=body)).status_code == 403
    assert (await reader.delete("/alerts/alt_none")).status_code == 403
    assert (await reader.get("/alerts")).status_code == 200
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    assert (await sender.get("/alert-firings")).status_code == 403
