"""Customer tokens over HTTP: who mints them, and what they do not open."""

from __future__ import annotations

from typing import Any

import pytest


async def test_a_token_is_minted_shown_once_and_revoked(api: Any, make: Any) -> None:
    await make.customer(customer_id="ada")
    token = await make.post("/customer-tokens", {"customer_id": "ada"}, 201)
    assert list(token) == ["token_id", "token", "customer_id", "expires_at"]
    assert token["customer_id"] == "ada"
    assert token["token"].startswith("taxc_")
    assert token["expires_at"] == "2026-03-10T13:00:00.000000Z"
    short = await make.post("/customer-tokens", {"customer_id": "ada", "expires_in_seconds": 1}, 201)
    assert short["expires_at"] == "2026-03-10T12:00:01.000000Z"
    path = f"/customer-tokens/{token['token_id']}"
    assert (await api.delete(path)).status_code == 204
    again = await api.delete(path)
    assert (again.status_code, again.json()["code"]) == (404, "CUSTOMER_TOKEN_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "customer_id"),
        ({"customer_id": ""}, 422, "customer_id"),
        ({"customer_id": 7}, 422, "customer_id"),
        ({"customer_id": "nobody"}, 404, "there is no customer 'nobody'"),
        ({"customer_id": "ada", "expires_in_seconds": 0}, 422, "expires_in_seconds"),
        ({"customer_id": "ada", "expires_in_seconds": 86_401}, 422, "expires_in_seconds"),
        ({"customer_id": "ada", "expires_in_seconds": "soon"}, 422, "expires_in_seconds"),
        ({"customer_id": "ada", "expires_in": 60}, 422, "expires_in: is unknown"),
    ],
)
async def test_a_bad_request_names_the_field(api: Any, make: Any, body: Any, status: int, said: str) -> None:
    await make.customer(customer_id="ada")
    answered = await api.post("/customer-tokens", json=body)
    assert answered.status_code == status
    assert said in answered.json()["message"]


@pytest.mark.parametrize("scope", ["ingest", "read"])
async def test_only_a_write_key_mints(api: Any, make: Any, open_client: Any, scope: str) -> None:
    await make.customer(customer_id="ada")
    client = await open_client(tenant_id=api.caller.tenant_id, scope=scope)
    assert (await client.post("/customer-tokens", json={"customer_id": "ada"})).status_code == 403
    assert (await client.delete("/customer-tokens/ctk_1")).status_code == 403


async def test_another_tenant_neither_mints_nor_revokes(make: Any, stranger: Any) -> None:
    await make.customer(customer_id="ada")
    token = await make.post("/customer-tokens", {"customer_id": "ada"}, 201)
    assert (await stranger.post("/customer-tokens", json={"customer_id": "ada"})).status_code == 404
    assert (await stranger.delete(f"/customer-tokens/{token['token_id']}")).status_code == 404


async def test_a_token_opens_no_other_route(api: Any, make: Any, open_client: Any) -> None:
    await make.everything()
    token = await make.post("/customer-tokens", {"customer_id": "ada"}, 201)
    client = await open_client(authorization=f"Bearer {token['token']}")
    for path in ("/customers/ada", "/events", "/invoices", "/meters", "/settings", "/log/head"):
        answered = await client.get(path)
        assert (answered.status_code, answered.json()["code"]) == (401, "UNAUTHORIZED"), path
    for path in ("/customer-tokens", "/events/ingest", "/api-keys"):
        assert (await client.post(path, json={"customer_id": "ada"})).status_code == 401, path


async def test_a_token_opens_the_snapshot_of_its_customer_alone(api: Any, make: Any, open_client: Any) -> None:
    ids = await make.everything()
    await make.customer(customer_id="bob", email="bob@example.com")
    others = await make.subscription("bob", ids["product_id"])
    token = await make.post("/customer-tokens", {"customer_id": "ada"}, 201)
    client = await open_client(authorization=f"Bearer {token['token']}")
    assert (await client.get("/live/snapshot", params={"customer_id": "ada"})).status_code == 200
    subscription = {"subscription_id": ids["subscription_id"]}
    assert (await client.get("/live/snapshot", params=subscription)).status_code == 200
    for query in ({"customer_id": "bob"}, {"subscription_id": others["subscription_id"]}, {"customer_id": "none"}):
        assert (await client.get("/live/snapshot", params=query)).status_code == 404, query
    await api.delete(f"/customer-tokens/{token['token_id']}")
    assert (await client.get("/live/snapshot", params={"customer_id": "ada"})).status_code == 401
