"""What is served while the read models are rebuilt: events are taken, everything else is asked to come again."""

from __future__ import annotations

import msgspec

from app.http.raw_path import ASGIApp, Receive, Scope, Send

SERVED = frozenset(
    {
        ("POST", "/events/ingest"),
        ("GET", "/events/rejected"),
        ("GET", "/log/head"),
        ("GET", "/log/commits"),
        ("GET", "/health/live"),
        ("GET", "/metrics"),
    }
)
"""Requests that need the log and what is kept beside it, and of the read models a tenant's settings alone."""

RETRY_SECONDS = 10
"""When to come again: a rebuild takes seconds for each million of events."""

MESSAGE = "the read models are being rebuilt after an upgrade; events are taken meanwhile. Come again later"


class EventsOnly:
    """ASGI middleware that lets the requests of ``SERVED`` pass. Websockets are refused as they open."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 503."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and (scope["method"], scope["path"]) in SERVED):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "REBUILDING"})
        else:
            await _answer(send)


async def _answer(send: Send) -> None:
    body = msgspec.json.encode({"code": "REBUILDING", "message": MESSAGE})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(RETRY_SECONDS).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
