"""The gate before the router: a request's body is read whole, within limits, and checked as JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import msgspec

from app.http.admission import RETRY_AFTER_SECONDS, UNCOUNTED, Admission, Full, Room
from app.http.body import INGEST_LIMITS, OBJECT_LIMITS, BodyError, ClientDisconnected, read_body
from app.http.raw_path import ASGIApp, Receive, Scope, Send

RAW_BODY_PATHS = frozenset({"/events/ingest"})
"""Routes that read their body themselves, event by event, and take large ones."""

FORM_PATHS = "/dashboard/"
FORM_TYPE = b"application/x-www-form-urlencoded"
"""Where a body may be a form, and what it then says that it is."""

JSON_STATE = "json"
"""Where the gate leaves the exactly decoded members of a JSON object, in the scope's state."""


class Gate:
    """ASGI middleware. Routes behind it get only so many requests at once, and of each a body that has arrived, is
    unpacked and, if JSON, has one meaning."""

    def __init__(self, app: ASGIApp, admission: Admission | None = None) -> None:
        self.app = app
        self._admission = admission or Admission()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body and pass the request on, or answer what is wrong with it. No text may hold a NUL: the
        database has none."""
        if scope["type"] != "http" or scope["path"].startswith(UNCOUNTED):
            await self.app(scope, receive, send)
            return
        if b"%00" in scope["query_string"]:
            await _answer(send, BodyError(422, "INVALID_TEXT", "the query holds a NUL character"))
            return
        room = self._admission.room(scope["path"], scope["query_string"])
        try:
            if scope["method"] in ("GET", "HEAD", "OPTIONS"):
                with room.entered() as leave:
                    await self.app(scope, receive, _leaving(send, leave))
            else:
                await self._with_body(room, scope, receive, send)
        except BodyError as error:
            await _answer(send, error)
        except ClientDisconnected:
            return

    async def _with_body(self, room: Room, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body while others are at work, and take a place among them when it is there: who is slow to send
        takes no place. Raises ``BodyError`` and ``ClientDisconnected``."""
        if room.full:
            raise Full
        raw = scope["path"] in RAW_BODY_PATHS
        with self._admission.bodies.counted() as hold:
            body = await read_body(scope, receive, limits=INGEST_LIMITS if raw else OBJECT_LIMITS, hold=hold)
            state: dict[str, Any] = {}
            if _is_form(scope):
                _check_form(body)
            elif body and not raw:
                state = {JSON_STATE: exact_members(body)}
            headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-encoding", b"content-length")]
            headers.append((b"content-length", str(len(body)).encode()))
            inner = {**scope, "headers": headers, "state": {**scope.get("state", {}), **state}}
            with room.entered() as leave:
                await self.app(inner, _replay(body, receive), _leaving(send, leave))


def _leaving(send: Send, leave: Callable[[], None]) -> Send:
    """A ``send`` with which a request gives up its place as its answer begins: answers are whole then, and who is slow
    to read takes no place either."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        leave()
        await send(message)

    return sending


def _is_form(scope: Scope) -> bool:
    """Whether a browser sends a form of the dashboard: the API itself reads JSON alone."""
    sent = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return scope["path"].startswith(FORM_PATHS) and sent.partition(b";")[0].strip().lower() == FORM_TYPE


def _check_form(body: bytes) -> None:
    if b"\0" in body or b"%00" in body:
        raise BodyError(422, "INVALID_TEXT", "the form holds a NUL character")
    try:
        unquote_to_bytes(body).decode()
    except UnicodeDecodeError:
        raise BodyError(422, "INVALID_TEXT", "the form is not valid UTF-8") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once and then whatever the server has to say, such as a disconnect."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Any:
        return pending.pop() if pending else await receive()

    return replayed


async def _answer(send: Send, error: BodyError) -> None:
    body = msgspec.json.encode({"code": error.code, "message": error.message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.status == 503:
        headers.append((b"retry-after", RETRY_AFTER_SECONDS))
    if error.status in (408, 413):
        # The rest of the body may still be on its way: what follows on this connection is not a new request.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def exact_members(body: bytes) -> Mapping[str, Any]:
    """The members of a JSON object, numbers as exact decimals.

    Raises ``BodyError`` (422) for anything that two readers could take differently, or that the database cannot
    hold: duplicate keys, lone surrogates, NUL, NaN, and what is no JSON object at all.
    """
    try:
        value = _DECODER.decode(body.decode())
        # What cannot be encoded again holds a lone surrogate.
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeDecodeError as error:
        raise BodyError(422, "INVALID_TEXT", f"the body is not valid UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        raise BodyError(422, "INVALID_TEXT", "the body holds a lone surrogate, which is no character") from None
    except RecursionError:
        raise BodyError(422, "TOO_DEEP", "the body nests too deep to be read") from None
    except ValueError as error:
        raise BodyError(422, "MALFORMED_JSON", f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BodyError(422, "INVALID_TYPE", "the body must be a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BodyError(422, "DUPLICATE_KEY", f"the key {twice!r} stands twice in one object")
    for name, member in pairs:
        if "\0" in name or (isinstance(member, str) and "\0" in member):
            raise BodyError(422, "INVALID_TEXT", f"the value of {name!r} holds a NUL character")
    return members


def _number(text: str) -> Decimal:
    if len(text) > _NUMBER_MAX_CHARS:
        raise BodyError(422, "INVALID_NUMBER", f"a number has more than {_NUMBER_MAX_CHARS} characters")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise BodyError(422, "INVALID_NUMBER", f"the exponent of {text} is beyond every number's") from None


_NUMBER_MAX_CHARS = 64
"""A legal number has 20 digits before and 30 after the point; reading millions of digits would cost seconds."""


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_int=_number, parse_constant=_constant)
