"""One line of the log for each request: what was asked, by whom, what came of it and how long it took."""

from __future__ import annotations

import logging
import time
from collections.abc import MutableMapping
from typing import Any, cast

from litestar.connection import ASGIConnection

from app.http.raw_path import ASGIApp, Receive, Scope, Send
from app.logs import FIELDS, REQUESTS
from app.service import Caller

CALLER = "taximeter.caller"
"""Where, in the scope, the way in leaves word of who asks: copies of the scope on the way share it."""

HUNG_UP = 499
"""The status of a request whose client hung up before the answer, as it is commonly logged."""


class RequestLog:
    """ASGI middleware, the outermost. It costs nothing while nobody wants the lines.

    No query is logged, and no header: they may hold secrets, and personal data.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log it when it has been answered."""
        if scope["type"] != "http" or not REQUESTS.isEnabledFor(logging.INFO):
            await self.app(scope, receive, send)
            return
        began, status, size = time.perf_counter(), HUNG_UP, 0
        asked: dict[str, str] = {}

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app({**scope, CALLER: asked}, receive, counted)
        finally:
            fields = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round((time.perf_counter() - began) * 1_000, 3),
                "bytes": size,
                "client": scope["client"][0] if scope.get("client") else None,
                **asked,
            }
            message = f"{scope['method']} {scope['path']} {status}"
            REQUESTS.info("%s", message, extra={FIELDS: fields})


def note_caller(connection: ASGIConnection[Any, Any, Any, Any], caller: Caller) -> None:
    """Make the caller the request's, and let the log know."""
    scope = cast("MutableMapping[str, Any]", connection.scope)
    scope["auth"] = caller
    if CALLER in scope:
        scope[CALLER].update(tenant_id=caller.tenant_id, key_id=caller.key_id)
