"""The answers of a process that is about to stop: each ends its connection, and none is left out."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import msgspec

from app.draining import Draining
from app.http.problems import UNAVAILABLE
from app.http.raw_path import ASGIApp, Receive, Scope, Send

STOPPING = "the service stops; " + UNAVAILABLE.partition("; ")[2]

_CLOSE = (b"connection", b"close")


class LastAnswers:
    """ASGI middleware. While the process drains, answers say ``Connection: close``.

    A client then opens a new connection, which leads to another process or is refused, instead of sending on one that
    is being closed: that request would get no answer, and the client could not know whether it was taken. A request
    that takes longer than the server's patience at the end is answered 503.
    """

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self.app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answered = False

        async def last(message: MutableMapping[str, Any]) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                if self._draining.begun:
                    message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        try:
            await self.app(scope, receive, last)
        except asyncio.CancelledError:
            # The server cancels what has not ended in time. What nobody would be answered is cancelled as it was.
            if answered or not self._draining.begun:
                raise
            await _say_stopping(send)


async def _say_stopping(send: Send) -> None:
    body = msgspec.json.encode({"code": "STOPPING", "message": STOPPING})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
        _CLOSE,
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
