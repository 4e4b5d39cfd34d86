"""Who may open the live channel: where a browser's page comes from, and what the caller brings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection

from app.credentials import Credential, find_credential
from app.dashboard.session import caller_of_session, session_digest
from app.keys import ALLOWED
from app.limits import SECRET_MAX_CHARS
from app.service import Service

SUBPROTOCOL = "taximeter.v1"
BEARER = "bearer."
"""A browser cannot set headers, so its token is the second of two subprotocols; only the first is chosen."""

AnyConnection = ASGIConnection[Any, Any, Any, Any]


class TurnedAway(Exception):
    """Why somebody is not let in, as an HTTP answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class _Secret(NamedTuple):
    text: str
    where: str


async def open_door(connection: AnyConnection) -> Credential:
    """Whoever asks, if it may read: by key, customer token or session. Raises ``TurnedAway`` (401, 403)."""
    service: Service = connection.app.state.service
    secret = _secret_of(connection)
    if secret is None:
        credential = await _of_session(connection)
    elif len(secret.text) > SECRET_MAX_CHARS:
        credential = None
    else:
        address = connection.client.host if connection.client else ""
        credential = await find_credential(service, secret.text, address)
    if credential is None:
        what = f"this {secret.where} opens nothing" if secret else "send a key or token as `Authorization: Bearer`"
        raise TurnedAway(401, "UNAUTHORIZED", what)
    if "read" not in ALLOWED[credential.caller.scope]:
        rule = f"this key has the scope '{credential.caller.scope}'; 'read' is needed"
        raise TurnedAway(403, "FORBIDDEN", rule)
    return credential


def _secret_of(connection: AnyConnection) -> _Secret | None:
    scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
    if scheme:
        return _Secret(secret.strip() if scheme.lower() == "bearer" else "", "authorization")
    offered: list[str] = list(connection.scope.get("subprotocols") or [])
    tokens = [one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)]
    return _Secret(tokens[0], "bearer subprotocol") if tokens and SUBPROTOCOL in offered else None


async def _of_session(connection: AnyConnection) -> Credential | None:
    caller, digest = await caller_of_session(connection), session_digest(connection)
    return None if caller is None or digest is None else Credential(caller, digest)


def check_origin(connection: AnyConnection, allowed: Collection[str]) -> None:
    """Refuse pages of other sites: a browser lets any page open a socket, and sends its cookies along.

    A page is of this site when it comes from the host that the request names, whatever a proxy made of its scheme. A
    session is a browser's, which always says where the page is from. Raises ``TurnedAway`` (403).
    """
    origin = connection.headers.get("origin")
    if origin is None:
        if _secret_of(connection) is None and session_digest(connection) is not None:
            raise TurnedAway(403, "FOREIGN_ORIGIN", "a session opens the channel from its own pages only")
        return
    if origin.lower() in allowed or _is_own(origin, connection.headers.get("host", "")):
        return
    raise TurnedAway(403, "FOREIGN_ORIGIN", "pages of this origin are not allowed; see the setting --allow-origin")


def _is_own(origin: str, host: str) -> bool:
    try:
        page = urlsplit(origin.lower())
        port = {"http": ":80", "https": ":443"}[page.scheme]
        return bool(page.netloc) and page.netloc.removesuffix(port) == host.lower().removesuffix(port)
    except (KeyError, ValueError):
        return False
