"""Who may open the live channel, for how long, and that a peer who does not read costs nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar.connection import ASGIConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.dashboard.session import SESSION_COOKIE, begin_session, end_session
from app.http.live_door import TurnedAway, check_origin
from app.http.open_sockets import OpenSockets
from app.keys import create_key, digest_of, revoke_key
from tests.app.http.live_server import LiveServer, live_server, quantities
from tests.conftest import application

ENDED = {"type": "error", "code": "CREDENTIAL_ENDED"}
CLOSE_SECONDS_MAX = 5.0
"""How long a socket may outlive its credential."""


@pytest.fixture
async def live(api: Any) -> AsyncIterator[LiveServer]:
    async with live_server(api) as running:
        yield running


@pytest.fixture
async def token(api: Any, make: Any) -> dict[str, str]:
    """A customer token of ada, who has a subscription."""
    await make.everything()
    await api.project()
    return await make.post("/customer-tokens", {"customer_id": "ada"}, 201)


async def turned_away(live: LiveServer, secret: str | None = None, **more: Any) -> tuple[int, str]:
    """Status and code with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with live.connect(secret, **more):
            pass
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body)["code"]


async def test_without_a_valid_secret_nobody_comes_in(live: LiveServer) -> None:
    assert await turned_away(live, "") == (401, "UNAUTHORIZED")
    assert await turned_away(live, "wrong") == (401, "UNAUTHORIZED")
    assert await turned_away(live, "x" * 201) == (401, "UNAUTHORIZED")
    assert await turned_away(live, "", headers={"Authorization": f"Basic {live.secret}"}) == (401, "UNAUTHORIZED")
    assert await turned_away(live, "", subprotocols=["taximeter.v1"]) == (401, "UNAUTHORIZED")
    assert await turned_away(live, "", subprotocols=["taximeter.v1", "bearer.wrong"]) == (401, "UNAUTHORIZED")
    assert await turned_away(live, "", subprotocols=[f"bearer.{live.secret}"]) == (401, "UNAUTHORIZED")


async def test_a_key_that_only_sends_events_does_not_read(api: Any, live: LiveServer) -> None:
    _, secret = await create_key(api.service, api.caller, scope="ingest")
    assert await turned_away(live, secret) == (403, "FORBIDDEN")
    answered = await api.get("/live/snapshot?customer_id=ada", headers={"Authorization": f"Bearer {secret}"})
    assert answered.status_code == 403


async def test_a_browser_brings_its_token_as_a_subprotocol(live: LiveServer, token: dict[str, str]) -> None:
    for secret in (token["token"], live.secret):
        async with live.talk("", subprotocols=["taximeter.v1", f"bearer.{secret}"]) as talk:
            assert talk.connection.subprotocol == "taximeter.v1"
            await talk.subscribe()
            assert (await talk.hear())["type"] == "snapshot"


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "passes"),
    [
        (None, "h:80", [], True),
        ("http://h", "h", [], True),
        ("http://h", "h:80", [], True),
        ("http://H:8080", "h:8080", [], True),
        ("https://h", "h", [], True),
        ("https://h:443", "h", [], True),
        ("https://app.example.com", "h", ["https://app.example.com"], True),
        ("HTTPS://App.Example.com", "h", ["https://app.example.com"], True),
        ("http://app.example.com", "h", ["https://app.example.com"], False),
        ("https://app.example.com:8443", "h", ["https://app.example.com"], False),
        ("http://h:8081", "h:8080", [], False),
        ("http://evil", "h", [], False),
        ("http://h.evil", "h", [], False),
        ("http://evil/h", "h", [], False),
        ("http://h@evil", "h", [], False),
        ("null", "h", [], False),
        ("", "h", [], False),
        ("http://", "", [], False),
        ("file://h", "h", [], False),
        ("http://[::1", "h", [], False),
    ],
)
def test_only_pages_of_this_site_or_an_allowed_one_come_in(
    origin: str | None, host: str, allowed: list[str], passes: bool
) -> None:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    connection: Any = ASGIConnection({"type": "websocket", "headers": headers, "subprotocols": []})  # type: ignore
    if passes:
        check_origin(connection, frozenset(allowed))
        return
    with pytest.raises(TurnedAway) as refused:
        check_origin(connection, frozenset(allowed))
    assert (refused.value.status, refused.value.code) == (403, "FOREIGN_ORIGIN")


async def test_a_foreign_page_is_refused_before_the_handshake(live: LiveServer) -> None:
    assert await turned_away(live, origin="https://evil.example") == (403, "FOREIGN_ORIGIN")
    async with live.connect(origin=f"http://{live.host}"):
        pass
    application()[0].state.allowed_origins = frozenset({"https://evil.example"})
    async with live.connect(origin="https://evil.example"):
        pass


async def test_a_session_of_the_dashboard_comes_in_from_its_own_pages(api: Any, live: LiveServer) -> None:
    secret = await begin_session(api.service, api.caller)
    cookie = {"Cookie": f"{SESSION_COOKIE}={secret}"}
    assert await turned_away(live, "", headers=cookie) == (403, "FOREIGN_ORIGIN")
    assert await turned_away(live, "", headers=cookie, origin="http://evil.example") == (403, "FOREIGN_ORIGIN")
    async with live.talk("", headers=cookie, origin=f"http://{live.host}") as talk:
        await talk.say(type="subscribe", id="a", tenant=True)
        await end_session(api.service, digest_of(secret))
        assert (await talk.hear()).items() >= ENDED.items()
    assert await turned_away(live, "", headers=cookie, origin=f"http://{live.host}") == (401, "UNAUTHORIZED")


async def test_a_token_sees_its_customer_and_nobody_else(
    api: Any, make: Any, live: LiveServer, token: dict[str, str]
) -> None:
    await make.customer(customer_id="bob", email="bob@example.com")
    product = await make.product()
    others = await make.subscription("bob", product["product_id"])
    await api.project()
    async with live.talk(token["token"]) as talk:
        await talk.subscribe("t", tenant=True)
        assert (await talk.hear())["code"] == "FORBIDDEN"
        await talk.subscribe("b", customer_id="bob")
        foreign = await talk.hear()
        await talk.subscribe("n", customer_id="nobody")
        missing = await talk.hear()
        assert foreign["code"] == missing["code"] == "CUSTOMER_NOT_FOUND"
        await talk.subscribe("s", subscription_id=others["subscription_id"])
        assert (await talk.hear())["code"] == "SUBSCRIPTION_NOT_FOUND"
        await talk.subscribe("a")
        assert (await talk.hear())["customer_id"] == "ada"


async def test_another_tenant_is_not_there(live: LiveServer, stranger: Any, token: dict[str, str], make: Any) -> None:
    secret = stranger.headers["authorization"].removeprefix("Bearer ")
    made = await stranger.post("/customers", json={"customer_id": "ada", "email": "a@example.com", "name": "Other"})
    assert made.status_code == 200
    async with live.talk(secret) as talk, live.talk() as mine:
        await talk.subscribe("a")
        assert (await talk.hear())["subscriptions"] == []
        await mine.subscribe("a")
        assert quantities(await mine.hear()) == ["0"]
        subscription_id = (await make.api.get("/subscriptions")).json()["items"][0]["subscription_id"]
        await talk.subscribe("s", subscription_id=subscription_id)
        assert (await talk.hear())["code"] == "SUBSCRIPTION_NOT_FOUND"


async def closed_in_time(talk: Any, since: float) -> None:
    error = await talk.hear()
    assert error.items() >= ENDED.items()
    with pytest.raises(ConnectionClosed) as closed:
        await talk.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    assert time.monotonic() - since < CLOSE_SECONDS_MAX


async def test_a_revoked_key_closes_its_sockets_and_no_others(api: Any, live: LiveServer) -> None:
    key_id, secret = await create_key(api.service, api.caller, scope="read")
    async with live.talk(secret) as one, live.talk(secret) as two, live.talk() as other:
        await revoke_key(api.service, api.caller, key_id)
        since = time.monotonic()
        await asyncio.gather(closed_in_time(one, since), closed_in_time(two, since))
        await other.subscribe("none", customer_id="nobody")
        assert (await other.hear())["code"] == "CUSTOMER_NOT_FOUND"


async def test_the_end_of_a_token_closes_its_socket(api: Any, live: LiveServer, token: dict[str, str]) -> None:
    async with live.talk(token["token"]) as talk:
        await talk.subscribe()
        assert (await talk.hear())["type"] == "snapshot"
        await api.delete(f"/customer-tokens/{token['token_id']}")
        await closed_in_time(talk, time.monotonic())
    assert await turned_away(live, token["token"]) == (401, "UNAUTHORIZED")


async def test_a_token_that_expires_closes_its_socket(
    api: Any, live: LiveServer, clock: Any, token: dict[str, str]
) -> None:
    async with live.talk(token["token"]) as talk:
        clock.advance(hours=1)
        await closed_in_time(talk, time.monotonic())


class Deaf:
    """A peer that shakes hands, subscribes, and never reads again."""

    def __init__(self, live: LiveServer, secret: str) -> None:
        self.live, self.secret = live, secret

    async def __aenter__(self) -> Deaf:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.live.port, limit=1_024)
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(
            f"GET /live HTTP/1.1\r\nHost: {self.live.host}\r\nAuthorization: Bearer {self.secret}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {nonce}\r\n"
            f"Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await self.reader.readuntil(b"\r\n\r\n")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, opcode: int, payload: bytes) -> None:
        """A masked frame, of less than 126 bytes; the mask is zero."""
        self.writer.write(bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload)

    def buffered(self) -> int:
        """Bytes that the server holds for this peer."""
        (connection,) = [
            one for one in self.live.server.server_state.connections if hasattr(one, "conn") and one.client == self.name
        ]
        return connection.transport.get_write_buffer_size()

    @property
    def name(self) -> tuple[str, int]:
        return self.writer.get_extra_info("sockname")


async def test_a_peer_that_never_reads_holds_nobody_up_and_no_memory(
    api: Any, make: Any, live: LiveServer, token: dict[str, str]
) -> None:
    async with Deaf(live, live.secret) as deaf, live.talk() as talk:
        deaf.send(1, b'{"type":"subscribe","id":"d","customer_id":"ada"}')
        await talk.subscribe()
        assert (await talk.hear())["type"] == "snapshot"
        # Errors and pongs are the quickest way to make a server write.
        for _ in range(200):
            deaf.send(1, b"{")
        for _ in range(20_000):
            deaf.send(9, b"x" * 100)
        most = 0
        for number in range(20):
            since = time.monotonic()
            await api.ingest(make.event(number))
            await api.project()
            assert quantities(await talk.hear()) == [str(number + 1)]
            assert time.monotonic() - since < 5
            most = max(most, deaf.buffered())
        assert most < 100_000


async def test_a_ping_is_answered(live: LiveServer) -> None:
    async with live.connect() as connection, asyncio.timeout(20):
        for _ in range(3):
            await (await connection.ping())


async def test_a_peer_that_never_reads_is_cut_off_when_its_key_ends(api: Any, live: LiveServer) -> None:
    key_id, secret = await create_key(api.service, api.caller, scope="read")
    async with Deaf(live, secret) as deaf:
        for _ in range(20_000):
            deaf.send(9, b"x" * 100)
        await asyncio.sleep(0.5)
        assert len(live.sockets) == 1
        await revoke_key(api.service, api.caller, key_id)
        since = time.monotonic()
        while len(live.sockets) or live.server.server_state.connections:
            await asyncio.sleep(0.05)
            assert time.monotonic() - since < CLOSE_SECONDS_MAX


async def test_there_are_only_so_many_sockets(api: Any, live: LiveServer) -> None:
    application()[0].state.sockets = OpenSockets(api.service, live.feed, sockets_max=2)
    async with live.connect():
        async with live.connect():
            assert await turned_away(live) == (503, "TOO_MANY_SOCKETS")
        async with asyncio.timeout(10):
            while live.sockets.full:
                await asyncio.sleep(0.01)
        async with live.connect():
            pass


async def test_a_session_opens_the_snapshot_too(api: Any, make: Any, live: LiveServer, token: dict[str, str]) -> None:
    secret = await begin_session(api.service, api.caller)
    async with httpx.AsyncClient(base_url=f"http://{live.host}", cookies={SESSION_COOKIE: secret}) as client:
        assert (await client.get("/live/snapshot", params={"customer_id": "ada"})).status_code == 200
    async with httpx.AsyncClient(base_url=f"http://{live.host}") as client:
        assert (await client.get("/live/snapshot", params={"customer_id": "ada"})).status_code == 401
