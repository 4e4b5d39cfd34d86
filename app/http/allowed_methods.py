"""What ``OPTIONS`` answers: every method of a path.

The framework names those of the handler that was registered first (litestar-org/litestar#4169,
mended in its version 3).
"""

from __future__ import annotations

from litestar import Litestar
from litestar.routes import HTTPRoute

from app.http.raw_path import ASGIApp, Receive, Scope, Send


class AllowedMethods:
    """ASGI middleware, the innermost: what is within is the application itself."""

    def __init__(self, app: ASGIApp, application: Litestar) -> None:
        self.app = app
        self._methods = {
            route.path_format: ", ".join(sorted(route.methods)).encode()
            for route in application.routes
            if isinstance(route, HTTPRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; only answers to ``OPTIONS`` are changed."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self.app(scope, receive, send)
            return

        async def sending(message: Scope) -> None:
            methods = self._methods.get(scope.get("path_template", ""))
            if message["type"] == "http.response.start" and methods is not None:
                headers = [pair for pair in message["headers"] if pair[0].lower() != b"allow"]
                message = {**message, "headers": [*headers, (b"allow", methods)]}
            await send(message)

        await self.app(scope, receive, sending)
