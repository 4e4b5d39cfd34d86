"""A stop as clients meet it: real processes, requests throughout, and every one of them answered or refused whole."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.app.test_supervisor import START_SECONDS, Serving, ready, serving

KEY = "a-key-of-my-own"
HEADERS = {"Authorization": f"Bearer {KEY}"}
SERVICE_RESTARTS = "1012"


@asynccontextmanager
async def client_of(running: Serving, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, headers=HEADERS, timeout=START_SECONDS, **more) as client:
        yield client


@dataclass
class Sender:
    """Sends one event after the other until it is refused, and notes what became of each."""

    name: str
    pause: float
    recorded: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    async def send(self, running: Serving, limits: httpx.Limits) -> None:
        async with client_of(running, limits=limits) as client:
            for number in range(100_000):
                event = {"event_id": f"{self.name}-{number}", "customer_id": "ada", "event_name": "api.call"}
                try:
                    answer = await client.post("/events/ingest", json={"events": [event]})
                except httpx.ConnectError:
                    return  # Nobody listens: it is known that nothing was taken.
                except httpx.TransportError as error:
                    self.broken.append(repr(error))
                    return
                if answer.status_code == 200:
                    self.recorded.append(event["event_id"])
                else:
                    self.broken.append(answer.text)
                await asyncio.sleep(self.pause)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_no_request_is_cut_off_by_a_stop(data: Path, number: signal.Signals) -> None:
    """Half of the senders keep their connection, half open one for each event; half of each leave time in between."""
    senders = [Sender(f"sender-{number}", pause=THINKING_SECONDS * (number // 4)) for number in range(8)]
    async with serving(data, "--workers", "2", "--drain", "1s", TAXIMETER_API_KEY=KEY) as running:
        async with client_of(running) as client:
            await ready(client)
        tasks = [
            asyncio.create_task(one.send(running, httpx.Limits(max_keepalive_connections=index % 2)))
            for index, one in enumerate(senders)
        ]
        async with asyncio.timeout(START_SECONDS):
            while not all(len(one.recorded) >= 5 for one in senders):
                await asyncio.sleep(0.01)
        running.process.send_signal(number)
        async with asyncio.timeout(START_SECONDS):
            await asyncio.gather(*tasks)
            assert await running.process.wait() == 0
    assert [one.broken for one in senders] == [[] for _ in senders]
    answered = [event_id for one in senders for event_id in one.recorded]
    # Whatever was answered is there, and nothing else: what was refused was not taken.
    async with serving(data, TAXIMETER_API_KEY=KEY) as again, client_of(again) as client:
        await ready(client)
        assert (await client.get("/log/head")).json()["position"] == len(answered) + len(OWN_EVENTS)


THINKING_SECONDS = 0.02
"""What leaves a connection idle at the moment in which an idle one would be closed."""

OWN_EVENTS = ("the tenant is created", "its key is created")
"""What a new log begins with."""


async def test_while_it_drains_it_is_not_ready_and_still_serves(data: Path) -> None:
    async with (
        serving(data, "--drain", "10m", TAXIMETER_API_KEY=KEY) as running,
        client_of(running) as client,
    ):
        await ready(client)
        kept = await client.get("/health/ready")
        assert "connection" not in kept.headers
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_SECONDS):
            while (answer := await client.get("/health/ready")).status_code == 200:
                await asyncio.sleep(0.01)
        assert answer.status_code == 503
        assert answer.json()["parts"] == {"draining": "the process is about to stop"}
        event = {"event_id": "late", "customer_id": "ada", "event_name": "api.call"}
        recorded = await client.post("/events/ingest", json={"events": [event]})
        assert recorded.json()["ingested_count"] == 1
        assert recorded.headers["connection"] == "close"
        assert (await client.get("/health/live")).status_code == 200
        # Who does not want to wait says so again.
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_SECONDS):
            assert await running.process.wait() == 0


async def test_ctrl_c_does_not_wait_for_who_looks_whether_it_is_ready(data: Path) -> None:
    async with serving(data, "--drain", "10m", TAXIMETER_API_KEY=KEY) as running:
        async with client_of(running) as client:
            await ready(client)
        began = time.monotonic()
        assert await running.interrupt() == 0
        assert time.monotonic() - began < START_SECONDS


async def test_a_request_in_flight_is_answered_after_the_stop_began(dsn: str, empty: Path) -> None:
    """Its tenant's head is held by somebody else, until nobody is let in any more."""
    holder = await asyncpg.connect(dsn)
    async with serving(
        empty, "--database-url", dsn, "--tenant", "in-flight", "--drain", "0s", TAXIMETER_API_KEY=KEY + "-flight"
    ) as running:
        headers = {"Authorization": f"Bearer {KEY}-flight"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=START_SECONDS) as client:
            await ready(client)
            event = {"event_id": "slow", "customer_id": "ada", "event_name": "api.call"}
            async with holder.transaction():
                await holder.execute("select * from log.head where tenant_id = 'in-flight' for update")
                asked = asyncio.create_task(client.post("/events/ingest", json={"events": [event]}))
                await until_someone_waits(holder)
                running.process.send_signal(signal.SIGTERM)
                await until_refused(running.url)
                assert not asked.done()
            answer = await asked
        assert answer.json()["ingested_count"] == 1
        assert answer.headers["connection"] == "close"
        async with asyncio.timeout(START_SECONDS):
            assert await running.process.wait() == 0
    await holder.close()


async def until_someone_waits(database: asyncpg.Connection) -> None:
    async with asyncio.timeout(START_SECONDS):
        while not await database.fetchval("select count(*) from pg_locks where not granted"):
            await asyncio.sleep(0.01)


async def until_refused(url: str) -> None:
    """Until no connection is let in."""
    host, port = url.removeprefix("http://").split(":")
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 0.5)
            except (OSError, TimeoutError):
                return
            writer.close()
            await asyncio.sleep(0.01)


async def hear_all(socket: ClientConnection) -> None:
    """Listen until the connection is closed, which raises."""
    while True:
        await socket.recv()


async def test_a_socket_is_told_that_the_service_goes_away(data: Path) -> None:
    async with serving(data, "--drain", "0s", TAXIMETER_API_KEY=KEY) as running:
        async with client_of(running) as client:
            await ready(client)
        url = running.url.replace("http", "ws") + "/live"
        async with connect(url, additional_headers=HEADERS, proxy=None) as socket:
            await socket.send(json.dumps({"type": "subscribe", "id": "a", "tenant": True}))
            await socket.recv()
            running.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed, match=SERVICE_RESTARTS):
                await asyncio.wait_for(hear_all(socket), START_SECONDS)
        assert await running.process.wait() == 0
