"""The application behind a real server in this process, and sockets that talk to it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from app.http.application import following
from app.http.open_sockets import OpenSockets
from app.live.feed import LogFeed
from app.web_process import server_config
from tests.conftest import application, serving

ANSWER_SECONDS = 20.0
"""How long a frame may take on a loaded machine."""


@dataclass
class LiveServer:
    """Where the application is served."""

    port: int
    secret: str
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/live"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def sockets(self) -> OpenSockets:
        return application()[0].state.sockets

    @property
    def feed(self) -> LogFeed:
        return application()[0].state.feed

    def connect(self, secret: str | None = None, **more: Any) -> connect:
        """A connection with the tenant's key, or another secret; with an empty one, without any."""
        secret = self.secret if secret is None else secret
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        headers |= more.pop("headers", {})
        return connect(self.url, additional_headers=headers, proxy=None, **more)

    @asynccontextmanager
    async def talk(self, secret: str | None = None, **more: Any) -> AsyncIterator[Talk]:
        """An open connection to talk over."""
        async with self.connect(secret, **more) as connection:
            yield Talk(connection)


class Talk:
    """A client's side of a socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **frame: Any) -> None:
        await self.connection.send(json.dumps(frame))

    async def subscribe(self, name: str = "a", **target: Any) -> None:
        await self.say(type="subscribe", id=name, **(target or {"customer_id": "ada"}))

    async def hear(self) -> dict[str, Any]:
        """The next frame that is no heartbeat."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                frame = json.loads(await self.connection.recv())
                if frame["type"] != "heartbeat":
                    return frame

    async def send_and_hear(self, message: Any) -> dict[str, Any]:
        """Send a message and read one frame."""
        await self.connection.send(message)
        return await self.hear()

    async def send_for_ever(self, message: Any) -> None:
        """Send a message and read one frame, again and again."""
        while True:
            await self.send_and_hear(message)

    async def hear_until(self, position: int) -> list[dict[str, Any]]:
        """The frames up to one that is at ``position`` or past it."""
        heard = [await self.hear()]
        while heard[-1].get("position", 0) < position:
            heard.append(await self.hear())
        return heard


def quantities(frame: dict[str, Any]) -> list[str]:
    return [meter["quantity"] for one in frame["subscriptions"] for meter in one["meters"]]


@asynccontextmanager
async def live_server(api: Any) -> AsyncIterator[LiveServer]:
    """Serve the application of ``api`` on a port of this machine, as a web process does."""
    served = serving(api.service)
    state = application()[0].state
    config = server_config(served, state.admission)
    config.lifespan = "off"
    config.load()
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with following(state):
            # Signals are the test runner's: only what is below their handling runs here.
            task = asyncio.create_task(server._serve(sockets=[listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            yield LiveServer(listener.getsockname()[1], api.headers["authorization"].removeprefix("Bearer "), server)
            server.should_exit = True
            await task
