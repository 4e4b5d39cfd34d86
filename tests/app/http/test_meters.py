"""Meters over HTTP: the contract's endpoints, and usage."""

from __future__ import annotations

from typing import Any

import pytest

JSON = {"Content-Type": "application/json"}
FILTER = {
    "conjunction": "or",
    "clauses": [
        {"conjunction": "and", "clauses": [{"key": "region", "operator": "equals", "value": "eu"}]},
        {"conjunction": "and", "clauses": [{"key": "n", "operator": "greater_than", "value": 10.5}]},
    ],
}


def ids(answered: Any) -> list[str]:
    assert answered.status_code == 200, answered.text
    assert set(answered.json()) == {"items"}
    return [item["id"] for item in answered.json()["items"]]


async def test_create_and_read(api: Any, make: Any) -> None:
    meter = await make.meter(
        description="All of them", aggregation={"type": "max", "key": "n"}, filter=FILTER, measurement_unit="call"
    )
    assert meter["id"].startswith("mtr_")
    assert meter == {
        "id": meter["id"],
        "business_id": api.caller.tenant_id,
        "name": "Calls",
        "event_name": "api.call",
        "aggregation": {"type": "max", "key": "n"},
        "measurement_unit": "call",
        "created_at": "2026-03-10T12:00:00.000000Z",
        "updated_at": "2026-03-10T12:00:00.000000Z",
        "description": "All of them",
        "filter": FILTER,
    }
    assert (await api.get(f"/meters/{meter['id']}")).json() == meter
    assert (await api.get("/meters")).json() == {"items": [meter]}


@pytest.mark.parametrize("kind", ["count", "sum", "max", "last", "min", "avg", "unique"])
async def test_aggregations(make: Any, kind: str) -> None:
    meter = await make.meter(aggregation={"type": kind, "key": "n"})
    assert meter["aggregation"]["type"] == kind


@pytest.mark.parametrize("missing", ["name", "event_name", "aggregation", "measurement_unit"])
async def test_required_fields(api: Any, missing: str) -> None:
    body = {"name": "x", "event_name": "x", "aggregation": {"type": "count"}, "measurement_unit": "x"}
    del body[missing]
    answered = await api.post("/meters", json=body)
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert missing in answered.json()["message"]
    assert set(answered.json()) == {"code", "message"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"aggregation": {"type": "sum"}}, "aggregation.key"),
        ({"aggregation": {"type": "median", "key": "n"}}, "aggregation.type"),
        ({"filter": {"conjunction": "xor", "clauses": []}}, "filter.conjunction"),
        ({"filter": {"conjunction": "and", "clauses": []}}, "filter.clauses"),
        (
            {"filter": {"conjunction": "and", "clauses": [{"key": "a", "operator": "like", "value": 1}]}},
            "filter.clauses[0].operator",
        ),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"event_name": ""}, "event_name"),
        ({"description": "x" * 1_001}, "description"),
        ({"measurement_unit": 5}, "measurement_unit"),
    ],
)
async def test_a_broken_rule_names_its_field(api: Any, change: dict[str, Any], field: str) -> None:
    body = {"name": "x", "event_name": "x", "aggregation": {"type": "count"}, "measurement_unit": "x", **change}
    answered = await api.post("/meters", json=body)
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert answered.json()["message"].startswith(f"{field}: "), answered.text
    assert ids(await api.get("/meters")) == []


async def test_patch_changes_texts_only(api: Any, make: Any) -> None:
    meter = await make.meter(description="old")
    api.clock.advance(seconds=5)
    changed = await api.patch(f"/meters/{meter['id']}", json={"name": "New", "description": None})
    assert changed.status_code == 200
    assert changed.json() == {**meter, "name": "New", "description": None, "updated_at": "2026-03-10T12:00:05.000000Z"}
    unit = await api.patch(f"/meters/{meter['id']}", json={"measurement_unit": "request"})
    assert (unit.json()["name"], unit.json()["measurement_unit"]) == ("New", "request")
    for fixed in ({"event_name": "x"}, {"aggregation": {"type": "count"}}, {"filter": None}):
        answered = await api.patch(f"/meters/{meter['id']}", json=fixed)
        assert (answered.status_code, answered.json()["code"]) == (422, "METER_FIELD_FIXED")


async def test_archive_and_unarchive(api: Any, make: Any) -> None:
    meter = await make.meter()
    gone = await api.request("DELETE", f"/meters/{meter['id']}", headers=JSON)
    assert (gone.status_code, gone.content) == (204, b"")
    again = await api.delete(f"/meters/{meter['id']}")
    assert (again.status_code, again.json()["code"]) == (410, "METER_ARCHIVED")
    assert ids(await api.get("/meters")) == []
    assert ids(await api.get("/meters", params={"archived": "true"})) == [meter["id"]]
    assert (await api.get(f"/meters/{meter['id']}")).status_code == 200
    # As the vendor's Python SDK sends it: a content type, and no body.
    back = await api.post(f"/meters/{meter['id']}/unarchive", headers=JSON)
    assert (back.status_code, back.content) == (200, b"")
    assert ids(await api.get("/meters")) == [meter["id"]]
    assert (await api.post(f"/meters/{meter['id']}/unarchive", headers=JSON)).status_code == 200


async def test_pages(api: Any, make: Any) -> None:
    made = []
    for number in range(12):
        api.clock.advance(seconds=1)
        made.append((await make.meter(name=str(number)))["id"])
    made.reverse()
    assert ids(await api.get("/meters")) == made[:10]
    assert ids(await api.get("/meters", params={"page_number": 1})) == made[10:]
    assert ids(await api.get("/meters", params={"page_number": 2})) == []
    assert ids(await api.get("/meters", params={"page_number": 1, "page_size": 5, "locale": "de"})) == made[5:10]
    assert ids(await api.get("/meters", params={"page_size": 100})) == made
    for bad in ({"page_size": 101}, {"page_size": 0}, {"page_number": -1}):
        answered = await api.get("/meters", params=bad)
        assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
        assert next(iter(bad)) in answered.json()["message"]


async def test_an_unknown_or_foreign_meter_is_404_everywhere(api: Any, make: Any, stranger: Any) -> None:
    meter = await make.meter()
    for client, meter_id in ((api, "mtr_none"), (stranger, meter["id"])):
        path = f"/meters/{meter_id}"
        for answered in (
            await client.get(path),
            await client.patch(path, json={"name": "x"}),
            await client.delete(path),
            await client.post(f"{path}/unarchive"),
            await client.get(f"{path}/usage"),
            await client.get(f"{path}/unmeasured"),
        ):
            assert (answered.status_code, answered.json()["code"]) == (404, "METER_NOT_FOUND")
    assert ids(await stranger.get("/meters", params={"archived": "false"})) == []
    assert (await api.get(f"/meters/{meter['id']}")).json() == meter


async def test_scopes(api: Any, make: Any, open_client: Any) -> None:
    meter = await make.meter()
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    path = f"/meters/{meter['id']}"
    for read in ("/meters", path, f"{path}/usage", f"{path}/unmeasured"):
        assert (await reader.get(read)).status_code == 200
        assert (await sender.get(read)).status_code == 403
    for client in (reader, sender):
        for answered in (
            await client.post("/meters", json={}),
            await client.patch(path, json={}),
            await client.delete(path),
            await client.post(f"{path}/unarchive"),
        ):
            assert (answered.status_code, answered.json()["code"]) == (403, "FORBIDDEN")
