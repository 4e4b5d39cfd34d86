"""The access trail over HTTP: who changed which meter, price, key or credit, when, from where, and what it was."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.audit.trail import FACTS_MAX
from app.keys import create_key, terminal_caller

Answer = dict[str, Any]


async def trail(api: Any, **query: Any) -> Answer:
    answered = await api.get("/audit/trail", params=query)
    assert answered.status_code == 200, answered.text
    return answered.json()


async def items(api: Any, **query: Any) -> list[Answer]:
    return (await trail(api, **query))["items"]


def told(entry: Answer) -> dict[str, tuple[Any, Any]]:
    """What the first fact of an entry changed: each field before and after."""
    return {one["field"]: (one["before"], one["after"]) for one in entry["changes"][0]["fields"]}


def kinds(entries: list[Answer]) -> list[str]:
    return [change["kind"] for entry in entries for change in entry["changes"]]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"object_kind": "meter"}, "object_id"),
        ({"object_id": "mtr_1"}, "object_kind"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-03-10T12:00:00"}, "until"),
        ({"via": "telepathy"}, "via"),
        ({"before": -1}, "before"),
        ({"page_size": 101}, "page_size"),
    ],
)
async def test_a_question_that_cannot_be_answered_names_its_field(api: Any, query: Any, named: str) -> None:
    answered = await api.get("/audit/trail", params=query)
    assert answered.status_code == 422
    assert named in answered.json()["message"]


async def test_it_is_for_keys_that_read_and_shows_no_other_tenant(
    api: Any, make: Any, open_client: Any, stranger: Any
) -> None:
    meter = await make.meter()
    sender = await open_client(tenant_id=api.caller.tenant_id, scope="ingest")
    assert (await sender.get("/audit/trail")).status_code == 403
    reader = await open_client(tenant_id=api.caller.tenant_id, scope="read")
    assert "meter.created" in kinds(await items(reader))
    assert "meter.created" not in kinds(await items(stranger))
    assert await items(stranger, object_kind="meter", object_id=meter["id"]) == []


async def test_a_meter_was_changed_by_a_key_from_an_address(api: Any, make: Any) -> None:
    meter = await make.meter()
    api.clock.advance(seconds=1)
    assert (await api.patch(f"/meters/{meter['id']}", json={"name": "API calls"})).status_code == 200
    changed, made = await items(api, object_kind="meter", object_id=meter["id"])
    head = (await api.get("/log/head")).json()
    assert told(changed) == {"name": ("Calls", "API calls")}
    assert {name: changed[name] for name in changed if name != "changes"} == {
        "first_position": head["position"],
        "last_position": head["position"],
        "recorded_at": "2026-03-10T12:00:01.000000Z",
        "digest": head["digest"],
        "command": "meter.describe",
        "via": "key",
        "key_id": api.caller.key_id,
        "key_name": "",
        "from": "127.0.0.1",
    }
    assert kinds([made]) == ["meter.created"]
    assert told(made)["event_name"] == (None, "api.call")
    assert (await api.delete(f"/meters/{meter['id']}")).is_success
    (archived, *_) = await items(api, object_kind="meter", object_id=meter["id"])
    assert (kinds([archived]), told(archived)) == (["meter.archived"], {"archived": (False, True)})


async def test_of_a_price_what_changed_is_told_before_and_after(api: Any, make: Any) -> None:
    product = await make.product((await make.meter())["id"])
    path = f"/products/{product['product_id']}"
    price = product["price"] | {"fixed_price": 900}
    assert (await api.patch(path, json={"price": price})).status_code == 200
    (changed, _) = await items(api, object_kind="product", object_id=product["product_id"])
    assert kinds([changed]) == ["product.repriced"]
    assert told(changed)["price.fixed_price"] == (product["price"]["fixed_price"], 900)
    assert "price.currency" not in told(changed)


async def test_keys_and_settings_and_who_made_them(api: Any) -> None:
    made = (await api.post("/api-keys", json={"scope": "ingest", "name": "the sender"})).json()
    assert (await api.delete(f"/api-keys/{made['key_id']}")).status_code == 204
    revoked, created = await items(api, object_kind="api_key", object_id=made["key_id"])
    assert kinds([revoked, created]) == ["api_key.revoked", "api_key.created"]
    assert told(created) == {
        "key_id": (None, made["key_id"]),
        "scope": (None, "ingest"),
        "name": (None, "the sender"),
    }
    assert made["secret"] not in (await api.get("/audit/trail")).text
    assert (await api.patch("/settings", json={"close_grace": "2h", "company": {"name": "A"}})).status_code == 200
    assert (await api.patch("/settings", json={"company": {"name": "B"}})).status_code == 200
    (changed,) = await items(api, kind="tenant.settings_changed", page_size=1)
    assert told(changed) == {"settings.company": ({"name": "A"}, {"name": "B"})}


async def test_by_key_with_its_name_and_at_a_terminal_with_the_account(api: Any, make: Any, open_client: Any) -> None:
    tenant_id = api.caller.tenant_id
    key_id, secret = await create_key(api.service, terminal_caller(tenant_id), scope="write", name="the other")
    other = await open_client(authorization=f"Bearer {secret}")
    await make.meter()
    assert (await other.post("/meters", json=METER)).status_code == 201
    (entry,) = await items(api, key_id=key_id)
    assert (entry["key_id"], entry["key_name"], kinds([entry])) == (key_id, "the other", ["meter.created"])
    (entry,) = await items(api, via="command_line")
    account, _, machine = entry["from"].partition("@")
    assert account
    assert machine
    assert (entry["command"], entry["key_id"], entry["via"]) == ("api_key.create", "system", "command_line")


METER = {
    "name": "Calls",
    "event_name": "api.call",
    "aggregation": {"type": "count"},
    "measurement_unit": "call",
}


async def test_what_is_personal_is_said_to_have_changed_and_not_shown(api: Any, make: Any) -> None:
    await make.customer(customer_id="ada", name="Augusta")
    assert (await api.patch("/customers/ada", json={"name": "Byron", "time_zone": "Asia/Tokyo"})).status_code == 200
    assert (await api.delete("/customers/ada/personal-data")).status_code == 200
    erased, changed, _ = await items(api, object_kind="customer", object_id="ada")
    assert told(changed) == {"personal": ("sealed", "sealed"), "time_zone": ("UTC", "Asia/Tokyo")}
    assert told(erased) == {"personal": ("sealed", None)}
    text = (await api.get("/audit/trail")).text
    assert "Augusta" not in text
    assert "Byron" not in text


async def test_credits_and_money_by_hand(api: Any, make: Any) -> None:
    terms = {"name": "SMS", "unit": "credit", "precision": 0, "overage_enabled": False, "rollover_enabled": False}
    entitlement = (await api.post("/credit-entitlements", json=terms)).json()["id"]
    await make.customer(customer_id="ada")
    path = f"/credit-entitlements/{entitlement}/balances/ada/ledger-entries"
    entry = {"amount": "50", "entry_type": "credit", "reason": "goodwill"}
    assert (await api.post(path, json=entry)).status_code == 201
    (granted,) = await items(api, kind="credit.granted")
    assert (granted["command"], granted["key_id"]) == ("credit.credit", api.caller.key_id)
    assert told(granted)["amount"] == (None, "50")
    assert told(granted)["reason"] == (None, "goodwill")


async def test_events_that_were_taken_back(api: Any, make: Any) -> None:
    await api.ingest(*(make.event(number) for number in range(FACTS_MAX + 2)))
    await api.post("/events/void", json={"event_ids": [f"call-{number}" for number in range(FACTS_MAX + 2)]})
    (entry,) = await items(api, kind="event.retracted")
    assert (entry["last_position"] - entry["first_position"] + 1, len(entry["changes"])) == (FACTS_MAX + 2, FACTS_MAX)
    # Past what is told of a commit, each event is still found.
    (entry,) = await items(api, object_kind="event", object_id=f"call-{FACTS_MAX + 1}")
    assert [change["object_id"] for change in entry["changes"]] == [f"call-{FACTS_MAX + 1}"]


async def test_pages_and_spans_of_time(api: Any, make: Any) -> None:
    for _ in range(5):
        api.clock.advance(seconds=1)
        await api.post("/meters", json=METER)
        # Usage between two changes is stepped over.
        await api.ingest(make.event(api.clock.now.second))
    seen: list[Answer] = []
    before: dict[str, int] = {}
    while True:
        page = await trail(api, kind="meter.created", page_size=2, **before)
        seen += page["items"]
        if page["next_before"] is None:
            break
        before = {"before": page["next_before"]}
    assert [entry["recorded_at"][17:19] for entry in seen] == ["05", "04", "03", "02", "01"]
    span = {"since": "2026-03-10T12:00:02Z", "until": "2026-03-10T12:00:04Z", "kind": "meter.created"}
    assert [entry["recorded_at"][17:19] for entry in await items(api, **span)] == ["03", "02"]
    assert await items(api, until="2026-03-10T11:00:00Z") == []
    assert await items(api, since="2026-03-11T12:00:00Z") == []


async def test_what_the_service_did_by_itself_is_left_out_unless_it_is_asked_for(api: Any, make: Any) -> None:
    (made,) = await items(api, via="service")
    assert (made["command"], kinds([made])) == ("api_key.create", ["tenant.created", "api_key.created"])
    assert await items(api) == []
    assert await items(api, key_id="system") == [made]


async def test_it_is_described(api: Any) -> None:
    answered: httpx.Response = await api.get("/schema/openapi.json")
    described = answered.json()["paths"]["/audit/trail"]["get"]
    names = {one["name"] for one in described["parameters"]}
    assert {"object_kind", "object_id", "kind", "key_id", "via", "since", "until", "before", "page_size"} <= names
