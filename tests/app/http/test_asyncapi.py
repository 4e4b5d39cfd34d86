"""The description of the live channel: every frame that is really sent fits it, and what is refused does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from app.alerting.rows import AlertFiring
from app.http.asyncapi import CLIENT, DESCRIPTION, SERVER
from app.live import frames
from app.live.shared import Shared
from tests.app.http.live_server import live_server
from tests.app.live.standings import cycle, standing


@pytest.fixture
async def document(api: Any) -> dict[str, Any]:
    answered = await api.get("/schema/asyncapi.json", headers={"Authorization": ""})
    assert answered.status_code == 200
    assert answered.headers["content-type"] == "application/json"
    return answered.json()


def check(document: dict[str, Any], name: str, frame: Any) -> None:
    """Raise ``ValidationError`` when a frame does not fit the payload of the message ``name``."""
    schema = {**document["components"]["messages"][name]["payload"], "components": document["components"]}
    Draft202012Validator(schema).validate(frame)


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return here + [one for item in value.values() for one in references(item)]
    return [one for item in value for one in references(item)] if isinstance(value, list) else []


async def test_it_is_whole(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    assert document["channels"]["live"]["address"] == "/live"
    found = references(document)
    assert len(found) > 20
    for reference in found:
        resolve(document, reference)
    for name in document["components"]["schemas"]:
        Draft202012Validator.check_schema(document["components"]["schemas"][name])
    actions = {one["action"]: len(one["messages"]) for one in document["operations"].values()}
    assert actions == {"receive": len(CLIENT), "send": len(SERVER)}


async def test_every_message_is_described(document: dict[str, Any]) -> None:
    for name, message in document["components"]["messages"].items():
        schema = resolve(document, message["payload"]["$ref"])
        assert schema["properties"]["type"]["enum"] == [message["name"]], name
        assert len(message["summary"]) > 20
        assert "``" not in message["summary"]


def test_it_tells_the_subprotocols_and_close_codes() -> None:
    for word in ("taximeter.v1", "bearer.TOKEN", "1008", "1009", "1012", "4401"):
        assert word in DESCRIPTION


FIRING = AlertFiring(
    position=7,
    alert_id="alr_1",
    customer_id="ada",
    subscription_id="sub_1",
    kind="quantity",
    meter_id="mtr_1",
    credit_entitlement_id=None,
    threshold="10",
    value="12",
    cycle_start="2026-01-01T00:00:00.000000Z",
    cycle_end="2026-02-01T00:00:00.000000Z",
    fired_at="2026-01-03T00:00:00.000000Z",
)


async def test_what_is_encoded_fits(document: dict[str, Any]) -> None:
    shown = standing(5, cycle(3))
    check(document, "Snapshot", json.loads(Shared().frame("snapshot", "a", shown, 5, (0,))))
    check(document, "Update", json.loads(Shared().frame("update", "a", shown, 5, ())))
    check(document, "Heartbeat", json.loads(frames.heartbeat(5)))
    check(document, "Error", json.loads(frames.error("CODE", "why")))
    check(document, "Error", json.loads(frames.error("CODE", "why", "a")))
    check(document, "Alert", json.loads(frames.alert("a", FIRING)))


async def test_what_a_real_socket_says_fits(api: Any, make: Any, document: dict[str, Any]) -> None:
    await make.everything()
    await api.project()
    async with live_server(api) as live, live.talk() as talk:
        subscribe = {"type": "subscribe", "id": "a", "customer_id": "ada", "after": 0}
        check(document, "Subscribe", subscribe)
        await talk.say(**subscribe)
        check(document, "Snapshot", await talk.hear())
        await api.ingest(*(make.event(number) for number in range(5)))
        await api.project()
        check(document, "Update", await talk.hear())
        unsubscribe = {"type": "unsubscribe", "id": "a"}
        check(document, "Unsubscribe", unsubscribe)
        await talk.say(**unsubscribe)
        await talk.say(**unsubscribe)
        check(document, "Error", await talk.hear())


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("Subscribe", {"type": "subscribe", "id": "", "tenant": True}),
        ("Subscribe", {"type": "subscribe", "id": "a", "tenant": True, "aftr": 1}),
        ("Subscribe", {"type": "subscribe", "id": "a", "customer_id": "c", "after": -1}),
        ("Unsubscribe", {"type": "subscribe", "id": "a"}),
        ("Heartbeat", {"type": "heartbeat"}),
        ("Update", {"type": "update", "id": "a", "position": 1, "customer_id": "c", "subscriptions": [{}]}),
    ],
)
async def test_what_is_wrong_does_not_fit(document: dict[str, Any], name: str, frame: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check(document, name, frame)


async def test_the_page_names_it(api: Any) -> None:
    described = (await api.get("/schema/openapi.json", headers={"Authorization": ""})).json()
    assert "/schema/asyncapi.json" in described["info"]["description"]
