"""The live channel over HTTP: a websocket, and the same values as one plain answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Router, asgi, get
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from app.http.live_door import SUBPROTOCOL, AnyConnection, TurnedAway, check_origin, open_door
from app.http.live_socket import LOG, LOST, Transport
from app.http.open_sockets import OpenSockets
from app.http.problems import UNAVAILABLE
from app.http.raw_path import Receive, Scope, Send
from app.http.reading import Asked, Position, Serving
from app.http.request_log import note_caller
from app.http.websocket_transport import ABORT, SEND
from app.live.changed import listed
from app.live.frames import Values
from app.live.standing import Standing
from app.live.watching import Feed
from app.service import Caller
from domain.errors import Invalid, NotFound
from domain.event import CUSTOMER_ID_MAX_CHARS

Id = Annotated[str | None, QueryParameter(min_length=1, max_length=CUSTOMER_ID_MAX_CHARS)]


@asgi("/live", copy_scope=False)
async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """The websocket. What it says is described at ``/schema/asyncapi.json``."""
    if scope["type"] != "websocket":
        raise HTTPException(status_code=426, detail="open a websocket here; plain HTTP reads /live/snapshot")
    connection: AnyConnection = ASGIConnection(scope, receive, send)  # type: ignore[arg-type]
    sockets: OpenSockets = connection.app.state.sockets
    await receive()
    try:
        if sockets.full:
            raise TurnedAway(503, "TOO_MANY_SOCKETS", "this process has as many sockets as it can hold")
        check_origin(connection, connection.app.state.allowed_origins)
        credential = await open_door(connection)
    except TurnedAway as why:
        await _turn_away(scope, send, why)
        return
    except LOST as error:
        LOG.warning("a socket was turned away: the database is not available: %s", error)
        await _turn_away(scope, send, TurnedAway(503, "DATABASE_UNAVAILABLE", UNAVAILABLE.partition(";")[0]))
        return
    chosen = SUBPROTOCOL if SUBPROTOCOL in (scope.get("subprotocols") or []) else None
    await send({"type": "websocket.accept", "subprotocol": chosen, "headers": []})
    task = asyncio.current_task()
    assert task is not None, "a request runs in a task"
    extensions = scope.get("extensions") or {}
    # Another server than ours has neither: then a task is cancelled, and every frame goes the way that waits.
    transport = Transport(extensions.get(ABORT, task.cancel), extensions.get(SEND, lambda _text: False))
    try:
        await sockets.serve(credential, receive, send, transport)
    except asyncio.CancelledError:
        # The server goes down and waits no longer, or the socket was cut off: nothing is left to do or to tell.
        LOG.debug("a socket was ended from outside")


async def _turn_away(scope: Scope, send: Send, why: TurnedAway) -> None:
    """Answer the handshake with an HTTP error, or where the server cannot, by closing it, which is a 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1013 if why.status == 503 else 1008, "reason": why.code})
        return
    body = msgspec.json.encode({"code": why.code, "message": why.message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if why.status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "websocket.http.response.start", "status": why.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


async def may_look(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard for what the socket shows, too: it lets in keys that read, customer tokens and sessions."""
    try:
        credential = await open_door(connection)
    except TurnedAway as why:
        refusal = NotAuthorizedException if why.status == 401 else PermissionDeniedException
        raise refusal(why.message) from None
    note_caller(connection, credential.caller)


class _Glance:
    """A watcher who looks once."""

    def offer(self, standing: Standing) -> None:
        """Nothing: what was asked for is answered already."""

    def alerts_until(self, position: int) -> None:
        """Nothing: alerts are not part of the answer."""

    def resync(self) -> None:
        """Nothing: it is gone before anything can be shown anew."""


@get("/live/snapshot", guards=[may_look])
async def get_live_snapshot(
    request: Asked,
    service: Serving,
    customer_id: Id = None,
    subscription_id: Id = None,
    at_least: Position = 0,
) -> Values:
    """What the socket's snapshot of a customer or a subscription shows: quantities and estimates of open cycles.

    ``at_least`` waits until so much of the log is counted.
    """
    if (customer_id is None) == (subscription_id is None):
        raise Invalid("customer_id", "either customer_id or subscription_id is required, and not both")
    feed: Feed = request.app.state.feed
    tenant_id = request.auth.tenant_id
    if at_least:
        await feed.reach(tenant_id, at_least)
    shown = await _customer(feed, request.auth, customer_id, subscription_id)
    glance = _Glance()
    try:
        standing = await feed.watch_customer(tenant_id, shown, glance)
        position = max(standing.position, feed.position(tenant_id))
    finally:
        feed.unwatch_customer(tenant_id, shown, glance)
    cycles = [standing.cycles[index] for index in listed(standing, subscription_id)]
    return Values(position, shown, cycles)


async def _customer(feed: Feed, caller: Caller, customer_id: str | None, subscription_id: str | None) -> str:
    """Whose values were asked for. To a customer token everybody else is not there."""
    if subscription_id is not None:
        owner = await feed.customer_of(caller.tenant_id, subscription_id)
        if caller.customer_id not in (None, owner):
            raise NotFound("subscription", subscription_id)
        return owner
    assert customer_id is not None, "one of the two was given"
    if caller.customer_id not in (None, customer_id):
        raise NotFound("customer", customer_id)
    return customer_id


ROUTER = Router("/", route_handlers=[live, get_live_snapshot], tags=["Live"])
