"""Paths as they were sent: an id may hold a slash, and ``%2F`` must stay inside its path segment.

An ASGI server decodes the path before the router sees it, so ``/events/a%2Fb`` would look for a segment too
many.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, cast
from urllib.parse import quote, unquote_to_bytes

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_PATH_SAFE = "/:@!$&'()*+,;=~"
"""What RFC 3986 allows unencoded in a path, beside what ``quote`` never encodes."""


_FILE = re.compile(r"(/invoices/[^/]+)\.(pdf)")
"""A file's path. For the router its suffix would be part of the id, so it goes on as a segment of its own."""


class RawPath:
    """ASGI middleware: the application within routes on the path still percent-encoded.

    Its handlers therefore receive encoded path values and pass each one through ``unquote_id``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the connection on; only HTTP requests are changed, and only their ``path``."""
        if scope["type"] == "http":
            scope = {**scope, "path": _routed_path(_encoded_path(scope))}
        await self.app(scope, receive, send)


def unquote_id(value: str) -> str:
    """The id in one percent-encoded path value.

    Raises ``ValueError`` when its bytes are not UTF-8 or hold a NUL: no stored id can be meant then.
    """
    try:
        text = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise ValueError("an id in a path must be percent-encoded UTF-8") from None
    if "\0" in text:
        raise ValueError("an id in a path must not hold a NUL character")
    return text


def _routed_path(path: str) -> str:
    file = _FILE.fullmatch(path)
    return path if file is None else f"{file[1]}/{file[2]}"


def _encoded_path(scope: Scope) -> str:
    raw = cast("bytes | None", scope.get("raw_path"))
    if raw is None:
        # The specification lets a server leave it out. Which slashes were encoded is lost then, but the
        # rest is not: encoding again keeps the promise that the application within always sees an encoded
        # path.
        return quote(scope["path"], safe=_PATH_SAFE)
    # A query does not belong here, but some servers have put it here. Bytes that should have been encoded
    # are now.
    return quote(raw.partition(b"?")[0], safe=_PATH_SAFE + "%")
