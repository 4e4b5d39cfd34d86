"""Who is signed in: a random secret in a cookie, kept hashed, worth what the key is worth that opened it."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from app.keys import digest_of
from app.limits import SECRET_MAX_CHARS
from app.service import Caller, Service, Via
from projections.statements import load

SQL = load("app.sql", "session.sql")

SESSION_COOKIE = "taximeter_session"

SESSION_LIFETIME = timedelta(hours=12)
"""A working day: who comes back the next morning signs in again."""

AnyConnection = ASGIConnection[Any, Any, Any, Any]
"""A request or a websocket."""


def session_digest(connection: AnyConnection) -> bytes | None:
    """What is kept of the secret in the connection's cookie; ``None`` without one."""
    secret = connection.cookies.get(SESSION_COOKIE, "")
    return digest_of(secret) if 0 < len(secret) <= SECRET_MAX_CHARS else None


async def caller_of_session(connection: AnyConnection) -> Caller | None:
    """The caller that the connection's cookie stands for; ``None`` without a session that lives.

    A browser sends the cookie along whoever asks, so this alone does not say that the dashboard asked: forms need their
    token beside it, and a websocket an ``Origin`` of our own.
    """
    digest = session_digest(connection)
    if digest is None:
        return None
    service: Service = connection.app.state.service
    row = await service.pool.fetchrow(SQL["find_session"], digest, service.clock())
    # As for keys: the database compares digests, and this once more in constant time.
    if row is None or not hmac.compare_digest(row["digest"], digest):
        return None
    address = connection.client.host if connection.client else ""
    return Caller(row["tenant_id"], row["key_id"], row["scope"], address, via=Via.session)


async def living_sessions(service: Service, digests: Iterable[bytes]) -> set[bytes]:
    """Those of the sessions that have not ended: signed out, expired, or their key revoked. One statement."""
    rows = await service.pool.fetch(SQL["living_sessions"], list(digests), service.clock())
    return {row["digest"] for row in rows}


async def begin_session(service: Service, caller: Caller) -> str:
    """Sign a caller in; the secret for the cookie. Sessions that have expired are dropped on the way."""
    secret, now = secrets.token_urlsafe(32), service.clock()
    await service.pool.execute(SQL["drop_expired_sessions"], now)
    await service.pool.execute(
        SQL["begin_session"], digest_of(secret), caller.tenant_id, caller.key_id, now, now + SESSION_LIFETIME
    )
    return secret


async def end_session(service: Service, digest: bytes) -> None:
    """Sign out; a session that is gone already is no error."""
    await service.pool.execute(SQL["end_session"], digest)


def session_cookie(connection: AnyConnection, secret: str) -> Cookie:
    """The cookie with a session's secret; with an empty one, the cookie that takes it back."""
    return Cookie(
        key=SESSION_COOKIE,
        value=secret,
        path="/",
        httponly=True,
        # A link from elsewhere opens the dashboard signed in; a form from elsewhere does not carry the cookie.
        samesite="lax",
        secure=connection.url.scheme in ("https", "wss"),
        max_age=int(SESSION_LIFETIME.total_seconds()) if secret else 0,
    )


async def form_secret(service: Service) -> str:
    """What tokens of forms are signed with, in every process of this database."""
    return str(await service.pool.fetchval(SQL["form_secret"]))
