"""Who asks, and whether the key may: a guard per route."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from app.callers import Callers
from app.http.request_log import note_caller
from app.keys import ALLOWED
from app.limits import SECRET_MAX_CHARS


def requires(scope: str) -> Guard:
    """A guard that lets keys pass whose scope covers ``scope``: 401 without a key that opens anything, else 403."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret or len(secret) > SECRET_MAX_CHARS:
            raise NotAuthorizedException("send your API key as `Authorization: Bearer KEY`")
        address = connection.client.host if connection.client else ""
        callers: Callers = connection.app.state.callers
        caller = await callers.find(secret, address)
        if caller is None:
            raise NotAuthorizedException("this API key opens nothing")
        if scope not in ALLOWED[caller.scope]:
            raise PermissionDeniedException(f"this key has the scope '{caller.scope}'; '{scope}' is needed")
        note_caller(connection, caller)

    return guard
