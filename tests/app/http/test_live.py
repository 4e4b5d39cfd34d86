"""The live channel through a real server and a real client."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from app.alerting.firing import look_at
from app.http.live_socket import Transport
from app.http.open_sockets import OpenSockets
from app.live.conversation import SUBSCRIPTIONS_MAX
from app.live.frames import FRAME_MAX_BYTES
from tests.app.http.live_server import LiveServer, live_server, quantities


@pytest.fixture
async def live(api: Any) -> AsyncIterator[LiveServer]:
    async with live_server(api) as running:
        yield running


@pytest.fixture
async def ids(api: Any, make: Any) -> dict[str, str]:
    """A customer ``ada`` with a subscription: two calls free, then half a cent each, $5 a month."""
    made = await make.everything()
    await api.project()
    return made


async def used(api: Any, make: Any, *numbers: int) -> int:
    """Record calls of ada; the position at which they are counted."""
    answered = await api.ingest(*(make.event(number) for number in numbers))
    await api.project()
    return answered.json()["position"]


async def test_first_a_snapshot_then_updates_with_whole_values(
    api: Any, make: Any, live: LiveServer, ids: dict[str, str]
) -> None:
    async with live.talk() as talk:
        await talk.subscribe("mine")
        snapshot = await talk.hear()
        assert list(snapshot) == ["type", "id", "position", "customer_id", "subscriptions"]
        assert (snapshot["type"], snapshot["id"], snapshot["customer_id"]) == ("snapshot", "mine", "ada")
        (cycle,) = snapshot["subscriptions"]
        assert cycle["subscription_id"] == ids["subscription_id"]
        assert cycle["cycle_start"] == "2026-03-01T00:00:00.000000Z"
        assert cycle["meters"] == [{"meter_id": ids["meter_id"], "quantity": "0"}]
        position = await used(api, make, *range(10))
        update = (await talk.hear_until(position))[-1]
        assert (update["type"], quantities(update)) == ("update", ["10"])
        (cycle,) = update["subscriptions"]
        estimate = await api.get(f"/subscriptions/{ids['subscription_id']}/estimate")
        assert {**cycle["estimate"], "position": 0} == {**estimate.json(), "position": 0}


async def test_several_subscriptions_share_a_socket(api: Any, make: Any, live: LiveServer, ids: dict[str, str]) -> None:
    async with live.talk() as talk:
        await talk.subscribe("c")
        await talk.subscribe("s", subscription_id=ids["subscription_id"])
        await talk.subscribe("t", tenant=True)
        first = [await talk.hear() for _ in range(3)]
        assert {frame["id"] for frame in first} == {"c", "s", "t"}
        assert all(frame["type"] == "snapshot" for frame in first)
        await talk.say(type="unsubscribe", id="c")
        # The socket is one line: what is asked after it is answered after it was heard.
        await talk.subscribe("none", customer_id="nobody")
        assert (await talk.hear())["code"] == "CUSTOMER_NOT_FOUND"
        await used(api, make, 1)
        assert {(await talk.hear())["id"] for _ in range(2)} == {"s", "t"}


async def test_a_client_that_comes_back_misses_nothing(
    api: Any, make: Any, live: LiveServer, ids: dict[str, str]
) -> None:
    async with live.talk() as talk:
        await talk.subscribe()
        position = (await talk.hear())["position"]
    counted = await used(api, make, 1, 2, 3)
    async with live.talk() as talk:
        await talk.subscribe("a", customer_id="ada", after=position)
        frame = (await talk.hear_until(counted))[-1]
        assert quantities(frame) == ["3"]
    async with live.talk() as talk:
        await talk.subscribe("a", customer_id="ada", after=frame["position"])
        nothing = await talk.hear()
        assert (nothing["type"], nothing["subscriptions"]) == ("update", [])
        assert nothing["position"] >= frame["position"]
        await talk.subscribe("b", customer_id="ada", after=nothing["position"] + 1_000)
        refused = await talk.hear()
        assert (refused["type"], refused["id"], refused["code"]) == ("error", "b", "INVALID_FIELD")
        assert refused["message"].startswith("after: must not be past the end of the log")


async def test_a_new_subscription_of_somebody_watched_is_seen(api: Any, make: Any, live: LiveServer) -> None:
    meter = await make.meter()
    product = await make.product(meter["id"])
    await make.customer(customer_id="ada")
    async with live.talk() as talk:
        await talk.subscribe()
        assert (await talk.hear())["subscriptions"] == []
        await make.subscription("ada", product["product_id"])
        await api.project()
        frame = await talk.hear()
        assert quantities(frame) == ["0"]


async def test_a_closed_cycle_gives_way_to_the_next(api: Any, make: Any, live: LiveServer, ids: dict[str, str]) -> None:
    await used(api, make, 1, 2, 3)
    async with live.talk() as talk:
        await talk.subscribe()
        assert quantities(await talk.hear()) == ["3"]
        api.clock.advance(days=25)
        closed = await api.post(f"/subscriptions/{ids['subscription_id']}/close-cycle")
        assert closed.status_code == 200
        await api.project()
        frames = [await talk.hear()]
        while [one["cycle_start"] for one in frames[-1]["subscriptions"]] != ["2026-04-01T00:00:00.000000Z"]:
            frames.append(await talk.hear())
        assert frames[-1]["type"] == "snapshot"


async def test_an_alert_reaches_the_socket(api: Any, make: Any, live: LiveServer, ids: dict[str, str]) -> None:
    alert = {"kind": "quantity", "threshold": "3", "customer_id": "ada", "meter_id": ids["meter_id"]}
    await make.post("/alerts", alert, 201)
    await api.project()
    async with live.talk() as talk:
        await talk.subscribe()
        snapshot = await talk.hear()
        await used(api, make, 1, 2, 3)
        await look_at(api.service, api.caller, "ada")
        await api.project()
        heard = [await talk.hear()]
        while heard[-1]["type"] != "alert":
            heard.append(await talk.hear())
        firing = heard[-1]["firing"]
        assert (firing["customer_id"], firing["kind"], firing["threshold"]) == ("ada", "quantity", "3")
        listed = (await api.get("/alert-firings")).json()["items"]
        assert [firing] == [{name: one[name] for name in firing} for one in listed]
    async with live.talk() as talk:
        await talk.subscribe("a", customer_id="ada", after=snapshot["position"])
        assert (await talk.hear())["firing"] == firing


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", "MALFORMED_JSON"),
        ('{"type":"subscribe","id":"a"}', "INVALID_FRAME"),
        ('{"type":"unsubscribe","id":"a"}', "NOT_SUBSCRIBED"),
        ("[" * 4_000, "INVALID_FRAME"),
        (b"{}", "BINARY_FRAME"),
        ('{"type":"subscribe","id":"a","customer_id":"nobody"}', "CUSTOMER_NOT_FOUND"),
        ('{"type":"subscribe","id":"a","subscription_id":"none"}', "SUBSCRIPTION_NOT_FOUND"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_socket_stays_open(
    live: LiveServer, ids: dict[str, str], sent: str | bytes, code: str
) -> None:
    async with live.talk() as talk:
        await talk.connection.send(sent)
        error = await talk.hear()
        assert (error["type"], error["code"]) == ("error", code)
        assert error["message"]
        await talk.subscribe()
        assert (await talk.hear())["type"] == "snapshot"


async def test_a_large_frame_closes_the_socket(live: LiveServer) -> None:
    async with live.talk() as talk:
        await talk.connection.send("x" * (FRAME_MAX_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await talk.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_frame_in_very_many_pieces_closes_the_socket(live: LiveServer) -> None:
    async with live.talk() as talk:
        with pytest.raises(ConnectionClosed) as closed:
            await talk.send_and_hear("" for _ in range(1_000))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_client_that_talks_without_end_is_hung_up_on(live: LiveServer) -> None:
    async with live.talk() as talk:
        with pytest.raises(ConnectionClosed) as closed:
            await talk.send_for_ever("{")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_subscriptions_of_a_socket_are_bounded(live: LiveServer, ids: dict[str, str]) -> None:
    async with live.talk() as talk:
        for number in range(SUBSCRIPTIONS_MAX):
            await talk.subscribe(f"s{number}")
            assert (await talk.hear())["id"] == f"s{number}"
        await talk.subscribe("more")
        assert (await talk.hear())["code"] == "TOO_MANY_SUBSCRIPTIONS"


async def test_no_compression_is_agreed(live: LiveServer) -> None:
    async with live.talk(compression="deflate") as talk:
        assert talk.connection.response is not None
        assert "Sec-WebSocket-Extensions" not in talk.connection.response.headers


async def test_when_the_service_stops_a_socket_is_told(api: Any) -> None:
    async with live_server(api) as running, running.talk() as talk:
        running.server.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            await talk.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


async def test_a_socket_that_is_gone_is_forgotten(live: LiveServer, api: Any, ids: dict[str, str]) -> None:
    async with live.talk() as talk:
        await talk.subscribe("a")
        await talk.subscribe("t", tenant=True)
        await talk.hear()
        assert len(live.sockets) == 1
        talk.connection.transport.abort()
    async with asyncio.timeout(10):
        while len(live.sockets):
            await asyncio.sleep(0.01)
    assert not live.feed._tenants[api.caller.tenant_id].everyone()


async def test_a_socket_that_is_gone_leaves_nothing_for_the_garbage_collector(
    live: LiveServer, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[Any]] = []
    serve = OpenSockets.serve

    async def noted(self: OpenSockets, credential: Any, receive: Any, send: Any, transport: Transport) -> None:
        kept.append(weakref.ref(transport.abort.__self__))
        await serve(self, credential, receive, send, transport)

    monkeypatch.setattr(OpenSockets, "serve", noted)
    gc.disable()
    try:
        async with live.talk() as polite, live.talk() as rude:
            for talk in (polite, rude):
                await talk.subscribe(customer_id=ids["customer_id"])
                await talk.hear()
            rude.connection.transport.abort()
        async with asyncio.timeout(10):
            while any(one() is not None for one in kept):
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
    assert len(kept) == 2


async def test_the_snapshot_is_at_a_plain_route_too(api: Any, make: Any, live: LiveServer, ids: dict[str, str]) -> None:
    position = await used(api, make, 1, 2, 3)
    async with live.talk() as talk:
        await talk.subscribe()
        shown = await talk.hear()
    for query in ({"customer_id": "ada"}, {"subscription_id": ids["subscription_id"]}):
        answered = await api.get("/live/snapshot", params={**query, "at_least": position})
        assert answered.status_code == 200, answered.text
        assert list(answered.json()) == ["position", "customer_id", "subscriptions"]
        assert answered.json()["subscriptions"] == shown["subscriptions"]
        assert answered.json()["position"] >= position


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 422),
        ({"customer_id": "ada", "subscription_id": "sub_1"}, 422),
        ({"customer_id": ""}, 422),
        ({"customer_id": "a" * 257}, 422),
        ({"customer_id": "ada", "at_least": "-1"}, 422),
        ({"customer_id": "ada", "at_least": "999999"}, 422),
        ({"customer_id": "nobody"}, 404),
        ({"subscription_id": "none"}, 404),
    ],
)
async def test_a_bad_question_is_refused(api: Any, ids: dict[str, str], query: dict[str, str], status: int) -> None:
    answered = await api.get("/live/snapshot", params=query)
    assert (answered.status_code, set(answered.json())) == (status, {"code", "message"})


async def test_plain_http_is_told_to_upgrade(live: LiveServer) -> None:
    async with httpx.AsyncClient() as client:
        answered = await client.get(f"http://{live.host}/live", headers={"Authorization": f"Bearer {live.secret}"})
    assert (answered.status_code, answered.json()["code"]) == (426, "UPGRADE_REQUIRED")


async def test_frames_are_json_text(live: LiveServer, ids: dict[str, str]) -> None:
    async with live.talk() as talk:
        await talk.subscribe("é☃", tenant=True)
        message = await talk.connection.recv()
        assert isinstance(message, str)
        assert json.loads(message)["id"] == "é☃"
