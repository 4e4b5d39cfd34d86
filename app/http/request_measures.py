"""Counts and times requests, and traces them on request, by the template of their route."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from app import measures, tracing
from app.http.raw_path import ASGIApp, Receive, Scope, Send
from app.http.request_log import HUNG_UP

ROUTE = "taximeter.route"
"""Where, in the scope, the innermost layer leaves word of the route; copies of the scope on the way share it."""

UNROUTED = "(none)"
"""The route of what was answered before any was found: no such path, or a body that the gate refused."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A client may send any word as a method; the others are counted as one."""

OTHER_METHOD = "other"


class RequestMeasures:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._requests = measures.Requests()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and measure it when it has been answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        if tracing.is_on():
            with tracing.request_span(method, scope["headers"]) as span:
                tracing.answered(span, method, *await self._measured(method, scope, receive, send))
        else:
            await self._measured(method, scope, receive, send)

    async def _measured(self, method: str, scope: Scope, receive: Receive, send: Send) -> tuple[str, int]:
        began, status = time.perf_counter(), HUNG_UP
        route: list[str] = []
        scope[ROUTE] = route

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            template = route[0] if route else UNROUTED
            self._requests.note(method, template, status, time.perf_counter() - began)
        return template, status


class NoteRoute:
    """ASGI middleware, the innermost: the router leaves the template in the scope that it is given."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and hand its route outwards."""
        try:
            await self.app(scope, receive, send)
        finally:
            if ROUTE in scope and "path_template" in scope:
                scope[ROUTE].append(scope["path_template"])
