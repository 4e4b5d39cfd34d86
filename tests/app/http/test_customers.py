"""Customers over HTTP: the contract's endpoints."""

from __future__ import annotations

from typing import Any

import pytest


def ids(answered: Any) -> list[str]:
    assert answered.status_code == 200, answered.text
    assert set(answered.json()) == {"items"}
    return [item["customer_id"] for item in answered.json()["items"]]


async def test_create_and_read(api: Any, make: Any) -> None:
    customer = await make.customer(
        phone_number="+44 1", preferred_locale="en", time_zone="Europe/Paris", metadata={"plan": "gold", "n": 1}
    )
    assert customer["customer_id"].startswith("cus_")
    at = "2026-03-10T12:00:00.000000Z"
    assert customer == {
        "customer_id": customer["customer_id"],
        "business_id": api.caller.tenant_id,
        "created_at": at,
        "updated_at": at,
        "email": "ada@example.com",
        "name": "Ada",
        "phone_number": "+44 1",
        "time_zone": "Europe/Paris",
        "preferred_locale": "en",
        "metadata": {"plan": "gold", "n": 1},
    }
    assert (await api.get(f"/customers/{customer['customer_id']}")).json() == customer
    assert (await api.get("/customers")).json() == {"items": [customer]}


async def test_the_callers_own_id(api: Any, make: Any) -> None:
    made = await make.customer(customer_id="acme/é 1")
    assert (made["customer_id"], made["time_zone"], made["metadata"]) == ("acme/é 1", "UTC", {})
    assert (await api.get("/customers/acme%2F%C3%A9%201")).json() == made
    again = await api.post("/customers", json={"customer_id": "acme/é 1", "email": "x@example.com", "name": "X"})
    assert (again.status_code, again.json()["code"]) == (409, "CUSTOMER_EXISTS")
    assert again.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"email": None}, "email"),
        ({"name": None}, "name"),
        ({"email": ""}, "email"),
        ({"name": "x" * 256}, "name"),
        ({"customer_id": ""}, "customer_id"),
        ({"customer_id": "x" * 257}, "customer_id"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"metadata": {str(number): 1 for number in range(51)}}, "metadata"),
        ({"metadata": {"k" * 41: 1}}, "metadata"),
        ({"metadata": {"k": "v" * 501}}, "metadata.k"),
        ({"metadata": {"k": [1]}}, "metadata"),
        ({"metadata": {"k": None}}, "metadata"),
    ],
)
async def test_a_broken_rule_names_its_field(api: Any, change: dict[str, Any], named: str) -> None:
    answered = await api.post("/customers", json={"email": "a@example.com", "name": "A", **change})
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert named in answered.json()["message"]
    assert ids(await api.get("/customers")) == []


async def test_the_contracts_metadata_fits(make: Any) -> None:
    metadata = {f"{number:02}" + "k" * 38: "v" * 500 for number in range(50)}
    assert (await make.customer(metadata=metadata))["metadata"] == metadata


async def test_patch(api: Any, make: Any) -> None:
    customer = await make.customer(phone_number="1", preferred_locale="en", metadata={"a": 1})
    path = f"/customers/{customer['customer_id']}"
    api.clock.advance(seconds=1)
    changed = await api.patch(path, json={"name": "Ada L", "phone_number": None})
    assert changed.status_code == 200
    assert changed.json() == {
        **customer,
        "name": "Ada L",
        "phone_number": None,
        "updated_at": "2026-03-10T12:00:01.000000Z",
    }
    changed = await api.patch(path, json={"metadata": {"b": "2"}, "time_zone": "Asia/Tokyo", "preferred_locale": None})
    body = changed.json()
    assert (body["metadata"], body["time_zone"], body["preferred_locale"]) == ({"b": "2"}, "Asia/Tokyo", None)
    assert (body["email"], body["name"]) == ("ada@example.com", "Ada L")
    assert (await api.get(path)).json() == body
    for bad in ({"name": None}, {"email": ""}, {"time_zone": "x"}, {"metadata": []}):
        assert (await api.patch(path, json=bad)).status_code == 422
    assert (await api.get(path)).json() == body


async def test_lists(api: Any, make: Any) -> None:
    made: list[str] = []
    for number in range(12):
        api.clock.advance(seconds=1)
        customer = await make.customer(name=f"Name {number}", email=f"Box{number}@Example.com")
        made.insert(0, customer["customer_id"])
    assert ids(await api.get("/customers")) == made[:10]
    assert ids(await api.get("/customers", params={"page_number": 1})) == made[10:]
    assert ids(await api.get("/customers", params={"page_number": 2})) == []
    assert ids(await api.get("/customers", params={"page_size": 100})) == made
    assert (await api.get("/customers", params={"page_size": 101})).status_code == 422
    assert ids(await api.get("/customers", params={"email": "BOX1"})) == [made[0], made[1], made[10]]
    assert ids(await api.get("/customers", params={"email": "BOX1", "page_size": 2, "page_number": 1})) == [made[10]]
    assert ids(await api.get("/customers", params={"name": "name 1", "email": "box11@"})) == [made[0]]
    assert ids(await api.get("/customers", params={"name": "nobody"})) == []
    span = {"created_at_gte": "2026-03-10T12:00:02Z", "created_at_lte": "2026-03-10T12:00:03Z"}
    assert ids(await api.get("/customers", params=span)) == [made[9], made[10]]


async def test_an_unknown_or_foreign_customer_is_404_everywhere(api: Any, make: Any, stranger: Any) -> None:
    await make.customer(customer_id="ada")
    for client, customer_id in ((api, "nobody"), (stranger, "ada")):
        for answered in (
            await client.get(f"/customers/{customer_id}"),
            await client.patch(f"/customers/{customer_id}", json={"name": "x"}),
        ):
            assert (answered.status_code, answered.json()["code"]) == (404, "CUSTOMER_NOT_FOUND")
    assert ids(await stranger.get("/customers")) == []
    assert ids(await stranger.get("/customers", params={"name": "Ada"})) == []
    # The same id is free in another tenant.
    made = await stranger.post("/customers", json={"customer_id": "ada", "email": "b@example.com", "name": "Other"})
    assert made.status_code == 200
    assert (await api.get("/customers/ada")).json()["name"] == "Ada"


async def test_scopes(api: Any, make: Any, open_client: Any) -> None:
    await make.customer(customer_id="ada")
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    for path in ("/customers", "/customers/ada"):
        assert (await reader.get(path)).status_code == 200
        assert (await sender.get(path)).status_code == 403
    assert (await reader.post("/customers", json={})).status_code == 403
    assert (await reader.patch("/customers/ada", json={})).status_code == 403


async def test_a_cycle_that_has_begun_keeps_the_zone_of_its_beginning(api: Any, make: Any) -> None:
    """Whether a scheduler came by between the two must not matter."""
    made = await make.everything()
    path = f"/subscriptions/{made['subscription_id']}"
    api.clock.advance(days=30)
    changed = await api.patch("/customers/ada", json={"time_zone": "America/Los_Angeles"})
    assert changed.json()["time_zone"] == "America/Los_Angeles"
    subscription = (await api.get(path)).json()
    assert subscription["previous_billing_date"] == "2026-04-01T00:00:00.000000Z"
    assert subscription["next_billing_date"] == "2026-05-01T00:00:00.000000Z"
