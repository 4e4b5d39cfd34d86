"""Clients that are slow on purpose, over a real server: each is given up in time, and the others notice nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.http import gate, http_transport
from app.http.admission import Room
from app.limits import HEAD_MAX_BYTES, PIPELINED_MAX
from app.logs import REQUESTS
from tests.app.http.live_server import LiveServer, live_server

PATIENCE = 20.0
"""A test waits so long for what must come; what it waits for is set to far less."""

SHORT = 0.3


@pytest.fixture
async def server(api: Any) -> AsyncIterator[LiveServer]:
    async with live_server(api) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_count() -> Iterator[None]:
    """How many connections there may be is found out once for a process, and here for each test."""
    http_transport.connections_max.cache_clear()
    yield
    http_transport.connections_max.cache_clear()


class Connection:
    """A client in bytes."""

    def __init__(self, server: LiveServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer

    def head(self, line: str = "GET /health/live HTTP/1.1", *more: str) -> bytes:
        own = ["Host: test", f"Authorization: Bearer {self._server.secret}"]
        return "\r\n".join([line, *own, *more, "", ""]).encode()

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, Any]:
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            return int(head.split()[1]), json.loads(await self._reader.readexactly(length))

    async def ended(self) -> bytes:
        """Wait for the server's end of the connection; what it still said."""
        heard = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while received := await self._reader.read(65_536):
                    heard += received
            except ConnectionResetError:
                pass  # It closes while it is still being sent to.
        return heard

    async def lost(self) -> None:
        """Wait until the connection is gone, without reading."""
        async with asyncio.timeout(PATIENCE):
            while not self._writer.transport.is_closing():
                self._writer.write(b"\r\n")
                await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(server: LiveServer) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Connection(server, reader, writer)
    finally:
        writer.close()


async def test_who_never_asks_is_given_up(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "HEAD_SECONDS", SHORT)
    async with connected(server) as silent:
        await silent.ended()


async def test_who_sends_his_head_byte_by_byte_is_given_up(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "HEAD_SECONDS", SHORT)
    async with connected(server) as slow, connected(server) as known:
        for connection in (slow, known):
            connection.say(b"GET /health/live HTTP/1.1\r\n")
        await slow.ended()
        await known.ended()


async def test_a_second_head_has_its_time_too(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(server) as client:
        client.say(client.head())
        assert (await client.answer())[0] == 200
        monkeypatch.setattr(http_transport, "HEAD_SECONDS", SHORT)
        client.say(b"GET /health")
        await client.ended()


async def test_a_head_that_came_is_given_up_no_more(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "HEAD_SECONDS", SHORT)
    async with connected(server) as client:
        for _ in range(2):
            client.say(client.head())
            assert (await client.answer())[0] == 200
            await asyncio.sleep(SHORT * 2)


@pytest.mark.parametrize("ends", [True, False])
async def test_a_head_has_so_many_bytes(server: LiveServer, ends: bool) -> None:
    long = f"X-Long: {'x' * HEAD_MAX_BYTES}"
    async with connected(server) as client:
        data = client.head("GET /health/live HTTP/1.1", long)
        client.say(data if ends else data[:-4])
        status, problem = await client.answer()
        assert (status, problem["code"]) == (431, "HEAD_TOO_LARGE")
        await client.ended()


async def test_many_small_headers_are_a_long_head(server: LiveServer) -> None:
    async with connected(server) as client:
        client.say(client.head("GET /health/live HTTP/1.1", *(f"X-{number}: 1" for number in range(20_000))))
        assert (await client.answer())[0] == 431


async def test_what_is_no_http_is_told_so_in_our_form(server: LiveServer) -> None:
    async with connected(server) as client:
        client.say(b"hello\r\n\r\n")
        status, problem = await client.answer()
        assert (status, problem["code"]) == (400, "MALFORMED_REQUEST")
        await client.ended()


async def test_some_may_be_asked_at_once_and_no_crowd(server: LiveServer) -> None:
    async with connected(server) as client:
        client.say(client.head() * PIPELINED_MAX)
        for _ in range(PIPELINED_MAX):
            assert (await client.answer())[0] == 200
    async with connected(server) as client:
        client.say(client.head() * (PIPELINED_MAX * 5))
        assert b'"TOO_MANY_PIPELINED"' in await client.ended()


async def test_a_head_after_much_else_is_no_longer_for_it(server: LiveServer) -> None:
    async with connected(server) as client:
        body = b" " * (HEAD_MAX_BYTES * 2)
        next_head = client.head()
        client.say(client.head("GET /health/live HTTP/1.1", f"Content-Length: {len(body)}") + body + next_head[:30])
        assert (await client.answer())[0] == 200
        client.say(next_head[30:])
        assert (await client.answer())[0] == 200


async def test_who_leaves_his_answers_unread_is_cut_off(
    server: LiveServer, api: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await large_answers(api, make)
    monkeypatch.setattr(http_transport, "UNREAD_SECONDS", SHORT)
    async with connected(server) as deaf:
        deaf._writer.transport.pause_reading()  # type: ignore[attr-defined]
        deaf.say(deaf.head(line) * 20)
        await deaf.lost()


async def large_answers(api: Any, make: Any) -> str:
    """How to ask for more than the buffers between service and client hold, if it is asked for a few times."""
    for first in range(0, 3_000, 1_000):
        await api.ingest(*(make.event(n, metadata={"t": "x" * 400}) for n in range(first, first + 1_000)))
    return "GET /events?page_size=1000 HTTP/1.1"


async def test_only_so_many_answers_lie_unread(
    server: LiveServer, api: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await large_answers(api, make)
    monkeypatch.setattr(http_transport, "UNREAD_MAX", 1)
    async with connected(server) as first, connected(server) as second:
        for deaf in (first, second):
            deaf._writer.transport.pause_reading()  # type: ignore[attr-defined]
            deaf.say(deaf.head(line) * 20)
        async with asyncio.timeout(PATIENCE):
            while not any(deaf._writer.transport.is_closing() for deaf in (first, second)):
                for deaf in (first, second):
                    deaf.say(b"\r\n")
                await asyncio.sleep(0.01)
        assert len(http_transport.BoundedHttp.unread) <= 1


async def test_who_hangs_up_on_his_answers_is_no_failure(
    server: LiveServer, api: Any, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    line = await large_answers(api, make)
    async with connected(server) as client:
        client._writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.say(client.head(line) * 20)
        async with asyncio.timeout(PATIENCE):
            while not http_transport.BoundedHttp.unread:
                await asyncio.sleep(0.01)
        client._writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while http_transport.BoundedHttp.unread or server.server.server_state.tasks:
                await asyncio.sleep(0.01)
    assert "Exception in ASGI application" not in caplog.text


async def test_the_rest_of_a_refused_body_is_not_waited_for_without_end(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_transport, "BODY_DEADLINE_SECONDS", SHORT)
    async with connected(server) as client:
        # No such method: answered before the body is there.
        client.say(client.head("GET /health/live HTTP/1.1", "Content-Length: 1000"))
        assert (await client.answer())[0] == 200
        client.say(b"x")
        await client.ended()


async def test_after_the_rest_of_a_refused_body_the_connection_goes_on(server: LiveServer) -> None:
    async with connected(server) as client:
        client.say(client.head("GET /health/live HTTP/1.1", "Content-Length: 5"))
        assert (await client.answer())[0] == 200
        client.say(b"12345" + client.head())
        assert (await client.answer())[0] == 200


async def test_a_full_house_is_told_without_asking_the_application(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Where each request has a line in the log, the application tells it.
    caplog.set_level(logging.WARNING, logger=REQUESTS.name)
    asked: list[str] = []
    monkeypatch.setattr(gate.Gate, "__call__", lambda _self, scope, *_: asked.append(scope["path"]))
    monkeypatch.setattr(Room, "full", True)
    async with connected(server) as client:
        for _ in range(2):
            client.say(client.head("POST /events/ingest HTTP/1.1", "Content-Length: 9") + b'{"a": 1}\n')
            status, problem = await client.answer()
            assert (status, problem["code"]) == (503, "OVERLOADED")
            client.say(client.head("GET /events?at_least=5 HTTP/1.1"))
            assert (await client.answer())[0] == 503
    assert asked == []


async def test_after_a_full_house_the_same_connection_is_served(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(server) as client:
        with monkeypatch.context() as full:
            full.setattr(Room, "full", True)
            client.say(client.head("POST /customers HTTP/1.1", "Content-Length: 2") + b"{")
            assert (await client.answer())[0] == 503
            client.say(b"}")
            client.say(client.head())
            assert (await client.answer())[0] == 200
        client.say(client.head("GET /meters HTTP/1.1"))
        assert await client.answer() == (200, {"items": []})


async def test_one_connection_too_many_is_told_so(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "CONNECTIONS_MAX", 1)
    async with connected(server) as client:
        client.say(client.head())
        assert (await client.answer())[0] == 200
        async with connected(server) as late:
            status, problem = await late.answer()
            assert (status, problem["code"]) == (503, "OVERLOADED")
            await late.ended()
        client.say(client.head())
        assert (await client.answer())[0] == 200


def test_there_are_no_more_connections_than_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport.resource, "getrlimit", lambda _: (1_024, 1_024))
    assert http_transport.connections_max() == 1_024 - http_transport.OTHER_FILES_MAX
