"""What every answer of the dashboard tells the browser to refuse."""

from __future__ import annotations

from app.http.raw_path import ASGIApp, Receive, Scope, Send

HOME = "/dashboard/"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        # Scripts, styles and sockets of our own alone; nothing inline, nothing evaluated.
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)

UNKEPT = (b"cache-control", b"no-store")
"""Pages show a tenant's numbers: the browser's back button must not show them after signing out."""


def is_page(path: str) -> bool:
    """Whether a path belongs to the dashboard and not to the API."""
    return path == "/" or path.startswith(HOME)


class PageHeaders:
    """ASGI middleware that puts the headers on every answer of the dashboard, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on; only answers to pages are changed."""
        if scope["type"] != "http" or not is_page(scope["path"]):
            await self.app(scope, receive, send)
            return

        async def sending(message: Scope) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                known = {name.lower() for name, _ in headers}
                headers += [pair for pair in (*HEADERS, UNKEPT) if pair[0] not in known]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, sending)
