"""HTTP as uvicorn serves it, made safe against clients that are slow on purpose, or never were clients.

uvicorn waits without end for a head that does not end, for an answer to be read, and for the rest of a body that was
refused. Here each of these has a time and a size.
"""

from __future__ import annotations

import logging
import resource
from asyncio import TimerHandle
from asyncio.transports import BaseTransport
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.http.admission import OVERLOADED, RETRY_AFTER_SECONDS, UNCOUNTED, Admission, Full
from app.http.body import BODY_DEADLINE_SECONDS
from app.limits import (
    HEAD_MAX_BYTES,
    HEAD_SECONDS,
    HTTP_CONNECTIONS_MAX,
    LIVE_SOCKETS_MAX,
    OTHER_FILES_MAX,
    PIPELINED_MAX,
    UNREAD_MAX,
    UNREAD_SECONDS,
)
from app.logs import REQUESTS

CONNECTIONS_MAX = LIVE_SOCKETS_MAX + HTTP_CONNECTIONS_MAX
"""Connections of one process, sockets of the live channel among them."""

RETRY_AFTER = b"retry-after: %b\r\n" % RETRY_AFTER_SECONDS
FULL = (503, OVERLOADED, "there are more connections than the service can hold; try again", RETRY_AFTER)
TOO_LARGE = (431, "HEAD_TOO_LARGE", f"line and headers of a request have at most {HEAD_MAX_BYTES} bytes", b"")
PIPELINED = (400, "TOO_MANY_PIPELINED", f"at most {PIPELINED_MAX} requests may wait behind one of a connection", b"")
MALFORMED = (400, "MALFORMED_REQUEST", "this is no HTTP request", b"")


UNCOUNTED_BYTES = UNCOUNTED.encode()


def _whole(status: int, code: str, message: str, lines: bytes) -> bytes:
    """A refusal as it goes out."""
    body = msgspec.json.encode({"code": code, "message": message})
    head = b"content-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (lines, len(body))
    return STATUS_LINE[status] + head + body


REFUSAL = _whole(503, OVERLOADED, Full().message, RETRY_AFTER)
"""What is answered where the house is full, as the gate answers it."""


class HeadTooLarge(Exception):
    """The head of a request has more bytes than are read."""


class TooManyPipelined(Exception):
    """Too many requests of one connection wait behind another."""


@cache
def connections_max() -> int:
    """How many connections this process may have: as many as are meant, or as the system gives it files for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, files - OTHER_FILES_MAX)


class BoundedHttp(HttpToolsProtocol):
    """One connection. Private parts of uvicorn are not touched: what is overridden are the protocol's own steps."""

    admission: ClassVar[Admission | None] = None
    """The rooms of the application behind, if who finds them full is to be refused right here."""

    unread: ClassVar[dict[BoundedHttp, None]] = {}
    """Those whose client does not keep up with his answer, who began so first."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._cycles: deque[RequestResponseCycle] = deque()
        self._refused = False
        self._heads = 0
        self._head_bytes = 0
        self._head_came = False
        self._body_came = True
        self._answer = MALFORMED
        self._timers: dict[str, TimerHandle] = {}

    def connection_made(self, transport: BaseTransport) -> None:
        """Take the connection, if there is room, and begin to wait for a request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > connections_max():
            self._answer = FULL
            self.send_400_response("")
        else:
            self._start("head", HEAD_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was waited for. uvicorn tells the last request alone, and an earlier one would go on to write."""
        for name in [*self._timers]:
            self._stop(name)
        self.unread.pop(self, None)
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()
        self._cycles.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on. What came for a head alone, and did not end it, is counted."""
        if self.transport.is_closing():
            return
        heads, in_head = self._heads, not self._head_came
        super().data_received(data)
        if self._head_came or self.transport.is_closing():
            return
        if in_head and heads == self._heads:
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_MAX_BYTES:
            self._answer = TOO_LARGE
            self.send_400_response("")
        elif "head" not in self._timers:
            self._start("head", HEAD_SECONDS, self.transport.abort)

    def on_message_begin(self) -> None:
        """A request begins, perhaps behind others that are still at work. Raises ``TooManyPipelined``."""
        if len(self.pipeline) >= PIPELINED_MAX:
            self._answer = PIPELINED
            raise TooManyPipelined
        super().on_message_begin()
        self._head_came, self._body_came = False, False

    def on_headers_complete(self) -> None:
        """Its head is there; a body may follow. Raises ``HeadTooLarge``, which ends the
        connection: uvicorn answers whatever its parser's callbacks raise with ``send_400_response``."""
        self._head_came, self._head_bytes = True, 0
        self._heads += 1
        self._stop("head")
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_MAX_BYTES:
            self._answer = TOO_LARGE
            raise HeadTooLarge
        self._refused = self._is_refused()
        if self._refused:
            self.transport.write(REFUSAL)
            self._start("rest", BODY_DEADLINE_SECONDS, self.transport.abort)
            return
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self._cycles.append(self.cycle)

    def _is_refused(self) -> bool:
        """Whether the request meets a full house. Told here it costs a quarter of what it costs in the application, and
        beyond capacity there is no time for more. Where each request has its line in the log, that one tells it."""
        if self.admission is None or self._cycles or REQUESTS.isEnabledFor(logging.INFO):
            return False
        if any(name == b"upgrade" for name, _ in self.headers):
            return False  # A socket of the live channel, which is counted by itself.
        path, _, query = self.url.partition(b"?")
        return not path.startswith(UNCOUNTED_BYTES) and self.admission.room(path.decode("latin-1"), query).full

    def on_body(self, body: bytes) -> None:
        """A piece of its body came; of a refused one nothing is kept."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        if self._refused:
            self._start("head", self.timeout_keep_alive, self.transport.abort)
        else:
            super().on_message_complete()
        self._body_came = True
        self._stop("rest")

    def on_response_complete(self) -> None:
        """It is answered. The rest of a body that was refused is read and thrown away, but not for ever."""
        if self._cycles:
            self._cycles.popleft()
        super().on_response_complete()
        if self.transport.is_closing():
            if self.transport.get_write_buffer_size():
                self._start("unread", UNREAD_SECONDS, self.transport.abort)
        elif not self._body_came:
            self._start("rest", BODY_DEADLINE_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """The client does not keep up with his answer."""
        super().pause_writing()
        self.unread[self] = None
        if len(self.unread) > UNREAD_MAX:
            next(iter(self.unread)).transport.abort()
        self._start("unread", UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """He does again."""
        super().resume_writing()
        self.unread.pop(self, None)
        self._stop("unread")

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for long. Whoever has not even read his last answer is cut off, since closing would wait."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over."""
        for name in [*self._timers]:
            self._stop(name)
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in the form of every refusal."""
        status, code, message, lines = self._answer
        self.transport.write(_whole(status, code, message, b"connection: close\r\n" + lines))
        self.transport.close()

    def _start(self, name: str, seconds: float, then: Callable[[], None]) -> None:
        self._stop(name)
        self._timers[name] = self.loop.call_later(seconds, then)

    def _stop(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()


def bounded_http(admission: Admission) -> type[BoundedHttp]:
    """The protocol for an application with these rooms."""
    return type("AdmittingHttp", (BoundedHttp,), {"admission": admission})
