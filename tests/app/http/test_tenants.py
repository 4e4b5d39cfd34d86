"""Settings and API keys over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.documents.sheets import logo

DEFAULTS = {
    "event_ahead_max": "5m",
    "event_age_max": "35d",
    "close_grace": "1h",
    "number_prefix": "INV-",
    "test_mode": False,
    "company": {},
    "tax_lines": [],
}


async def test_the_services_settings_hold_until_the_tenant_sets_its_own(api: Any, stranger: Any) -> None:
    assert (await api.get("/settings")).json() == DEFAULTS
    company = {"name": "Example Ltd", "address": "1 Road", "tax_id": "X1", "email": "b@example.com"}
    changed = await api.patch("/settings", json={"event_age_max": "none", "number_prefix": "A", "company": company})
    assert changed.status_code == 200
    assert changed.json() == {**DEFAULTS, "event_age_max": "none", "number_prefix": "A", "company": company}
    changed = await api.patch("/settings", json={"close_grace": "0s", "event_ahead_max": "90s"})
    assert (changed.json()["close_grace"], changed.json()["number_prefix"]) == ("0s", "A")
    assert (await api.get("/settings")).json() == changed.json()
    assert (await stranger.get("/settings")).json() == DEFAULTS


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"event_age_max": "soon"}, "event_age_max"),
        ({"event_ahead_max": "-5m"}, "event_ahead_max"),
        ({"event_ahead_max": 5}, "event_ahead_max"),
        ({"event_age_max": None}, "event_age_max"),
        ({"close_grace": "none"}, "close_grace"),
        ({"number_prefix": "x" * 21}, "number_prefix"),
        ({"number_prefix": "a\nb"}, "number_prefix"),
        ({"company": {"fax": "1"}}, "company.fax"),
        ({"company": {"name": 5}}, "company"),
        ({"company": {"name": "x" * 256}}, "company.name: must have at most 255 characters"),
        ({"company": {"phone": "1\n2"}}, "company.phone: must not hold control characters"),
        ({"company": {"address": "a\x07b"}}, "company.address"),
        ({"company": {"address": "a\n" * 8}}, "company.address: must have at most 8 lines"),
        ({"company": {"address": "x" * 501}}, "company.address: must have at most 500 characters"),
        ({"company": {"logo": "https://example.com/logo.png"}}, "company.logo: must be a data URI"),
        ({"tax_lines": None}, "tax_lines"),
        ({"tax_lines": {}}, "tax_lines"),
        ({"tax_lines": [{"name": "VAT"}]}, "tax_lines"),
        ({"tax_lines": [{"name": "VAT", "percent": 19}]}, "tax_lines"),
        ({"tax_lines": [{"name": "VAT", "percent": "19%"}]}, "tax_lines[0].percent"),
        ({"tax_lines": [{"name": "VAT", "percent": "-1"}]}, "tax_lines[0].percent: must lie from 0 to 100"),
        ({"tax_lines": [{"name": "VAT", "percent": "100.0001"}]}, "tax_lines[0].percent: must lie from 0 to 100"),
        ({"tax_lines": [{"name": "VAT", "percent": "1.23456"}]}, "at most 4 digits after the point"),
        ({"tax_lines": [{"name": " ", "percent": "1"}]}, "tax_lines[0].name: must not be empty"),
        ({"tax_lines": [{"name": "x" * 51, "percent": "1"}]}, "tax_lines[0].name: must have at most 50 characters"),
        ({"tax_lines": [{"name": "a\tb", "percent": "1"}]}, "tax_lines[0].name: must not hold control characters"),
        ({"tax_lines": [{"name": "VAT", "percent": "1", "included": "no"}]}, "tax_lines"),
        ({"tax_lines": [{"name": "VAT", "percent": "1"}] * 6}, "tax_lines: must hold at most 5 taxes"),
    ],
)
async def test_a_broken_rule_names_its_setting(api: Any, body: dict[str, Any], named: str) -> None:
    answered = await api.patch("/settings", json={"close_grace": "2h", **body})
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert named in answered.json()["message"]
    assert (await api.get("/settings")).json() == DEFAULTS


async def test_a_misspelt_field_of_a_tax_is_not_passed_over(api: Any) -> None:
    """It would be added where it was meant to be contained."""
    taxes = [{"name": "VAT", "percent": "19"}, {"name": "Levy", "percent": "1", "includes": True}]
    answered = await api.patch("/settings", json={"tax_lines": taxes})
    assert (answered.status_code, answered.json()["code"]) == (422, "UNKNOWN_FIELD")
    assert "tax_lines[1].includes" in answered.json()["message"]
    assert (await api.get("/settings")).json() == DEFAULTS


async def test_taxes_are_replaced_as_a_whole(api: Any) -> None:
    taxes = [
        {"name": "\u6d88\u8cbb\u7a0e", "percent": "10.50"},
        {"name": "Zero", "percent": "-0"},
        {"name": "All", "percent": "100", "included": True},
    ]
    changed = await api.patch("/settings", json={"tax_lines": taxes})
    assert changed.status_code == 200, changed.text
    assert changed.json()["tax_lines"] == [
        {"name": "\u6d88\u8cbb\u7a0e", "percent": "10.5", "included": False},
        {"name": "Zero", "percent": "0", "included": False},
        {"name": "All", "percent": "100", "included": True},
    ]
    position = (await api.get("/log/head")).json()["position"]
    assert (await api.patch("/settings", json={"tax_lines": changed.json()["tax_lines"]})).status_code == 200
    assert (await api.get("/log/head")).json()["position"] == position
    assert (await api.patch("/settings", json={"tax_lines": []})).json() == DEFAULTS


async def test_a_company_is_kept_as_it_was_sent(api: Any) -> None:
    company = {
        "name": "\u682a\u5f0f\u4f1a\u793e\u3000\u4f8b",
        "address": "1 Road\r\nTown",
        "phone": "+1 555 0100",
        "website": "example.com",
        "logo": logo(),
    }
    changed = await api.patch("/settings", json={"company": company})
    assert changed.status_code == 200, changed.text
    assert changed.json()["company"] == {**company, "address": "1 Road\nTown"}
    without = await api.patch("/settings", json={"company": {"name": "Example", "logo": ""}})
    assert without.json()["company"] == {"name": "Example", "logo": ""}


async def test_a_key_opens_what_its_scope_says_until_it_is_revoked(api: Any, open_client: Any, make: Any) -> None:
    made = await api.post("/api-keys", json={"scope": "ingest", "name": "web"})
    assert made.status_code == 201
    key = made.json()
    assert {field: key[field] for field in ("scope", "name")} == {"scope": "ingest", "name": "web"}
    client = await open_client(authorization=f"Bearer {key['secret']}")
    body = {"events": [make.event(1)]}
    assert (await client.post("/events/ingest", json=body)).status_code == 200
    assert (await client.get("/events")).status_code == 403
    # It belongs to the tenant that made it.
    assert (await api.get("/events/call-1")).status_code == 200
    revoked = await api.delete(f"/api-keys/{key['key_id']}")
    assert (revoked.status_code, revoked.content) == (204, b"")
    refused = await client.post("/events/ingest", json=body)
    assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHORIZED")


async def test_a_secret_is_shown_once(api: Any) -> None:
    secret = (await api.post("/api-keys", json={"scope": "read"})).json()["secret"]
    assert len(secret) > 30
    listed = await api.get("/api-keys")
    assert secret not in listed.text
    assert all("secret" not in key for key in listed.json()["items"])


async def test_keys_are_listed_newest_first(api: Any) -> None:
    made: list[str] = []
    for scope in ("ingest", "read", "write"):
        api.clock.advance(seconds=1)
        made.insert(0, (await api.post("/api-keys", json={"scope": scope})).json()["key_id"])
    items = (await api.get("/api-keys")).json()["items"]
    assert [item["key_id"] for item in items] == [*made, api.caller.key_id]
    assert items[0] == {"key_id": made[0], "scope": "write", "name": "", "created_at": "2026-03-10T12:00:03.000000Z"}
    await api.delete(f"/api-keys/{made[0]}")
    items = (await api.get("/api-keys", params={"page_size": 1})).json()["items"]
    assert [(item["key_id"], item["revoked_at"]) for item in items] == [(made[0], "2026-03-10T12:00:03.000000Z")]
    assert (await api.get("/api-keys", params={"page_number": 4, "page_size": 1})).json() == {"items": []}
    assert (await api.get("/api-keys", params={"page_size": 101})).status_code == 422


@pytest.mark.parametrize("body", [{"scope": "admin"}, {}, {"scope": "read", "name": "x" * 101}, {"scope": None}])
async def test_a_key_needs_a_scope(api: Any, body: dict[str, Any]) -> None:
    answered = await api.post("/api-keys", json=body)
    assert (answered.status_code, answered.json()["code"]) == (422, "INVALID_FIELD")
    assert len((await api.get("/api-keys")).json()["items"]) == 1


async def test_an_unknown_or_foreign_key_is_404(api: Any, stranger: Any) -> None:
    key_id = (await api.post("/api-keys", json={"scope": "read"})).json()["key_id"]
    for client, wanted in ((api, "key_none"), (stranger, key_id)):
        answered = await client.delete(f"/api-keys/{wanted}")
        assert (answered.status_code, answered.json()["code"]) == (404, "API_KEY_NOT_FOUND")
    assert key_id not in (await stranger.get("/api-keys")).text


async def test_scopes(api: Any, open_client: Any) -> None:
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    assert (await reader.get("/settings")).status_code == 200
    assert (await sender.get("/settings")).status_code == 403
    for answered in (
        await reader.patch("/settings", json={}),
        await reader.get("/api-keys"),
        await reader.post("/api-keys", json={"scope": "write"}),
        await reader.delete(f"/api-keys/{api.caller.key_id}"),
    ):
        assert (answered.status_code, answered.json()["code"]) == (403, "FORBIDDEN")
