"""Oddities below HTTP's own rules, sent over a socket: an answer or a closed connection in a second, never a failure of
ours, and nobody's request becomes part of another's."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.app.example.conftest import RunningService

ANSWER_SECONDS = 10.0
"""When a silent service counts as hanging; on an idle machine it is milliseconds."""

BODY = b'{"events":[{"event_id":"w","event_name":"n","customer_id":"c"}]}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def chunk(data: bytes, size: bytes | None = None) -> bytes:
    return (size or f"{len(data):x}".encode()) + b"\r\n" + data + b"\r\n"


WHOLE = chunk(BODY) + b"0\r\n\r\n"
PACKED = gzip.compress(BODY)

REFUSED = {
    "no chunk size": (CHUNKED, b"zz\r\n" + BODY),
    "a negative chunk size": (CHUNKED, chunk(BODY, b"-1")),
    "a chunk size beyond 64 bits": (CHUNKED, chunk(BODY, b"f" * 40)),
    "a chunk shorter than its data": (CHUNKED, chunk(BODY, b"3") + b"0\r\n\r\n"),
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 64\r\n", BODY),
    "a negative length": (b"Content-Length: -64\r\n", BODY),
    "a length with a plus sign": (b"Content-Length: +64\r\n", BODY),
    "a length in hexadecimal": (b"Content-Length: 0x40\r\n", BODY),
    "a length beyond 64 bits": (b"Content-Length: " + b"9" * 40 + b"\r\n", BODY),
    "a length over the limit": (b"Content-Length: 99999999999\r\n", b""),
    "a length and chunks": (CHUNKED + b"Content-Length: 64\r\n", WHOLE),
    "chunks that are not last": (b"Transfer-Encoding: chunked, gzip\r\n", WHOLE),
    "a NUL in a header": (b"X-Odd: a\0b\r\nContent-Length: 64\r\n", BODY),
    "a packed body cut short": (
        b"Content-Encoding: gzip\r\n" + CHUNKED,
        chunk(PACKED[:-6]) + b"0\r\n\r\n",
    ),
    "an unknown packing": (b"Content-Encoding: deflate\r\n" + CHUNKED, WHOLE),
}
"""What is answered with 4xx, or with nothing and a closed connection."""

TAKEN = {
    "one chunk": (CHUNKED, WHOLE),
    "a chunk for each byte": (CHUNKED, b"".join(chunk(BODY[at : at + 1]) for at in range(len(BODY))) + b"0\r\n\r\n"),
    "chunk extensions": (CHUNKED, chunk(BODY, f"{len(BODY):x};name=value".encode()) + b"0\r\n\r\n"),
    "a trailer": (CHUNKED, chunk(BODY) + b"0\r\nX-Trailer: 1\r\n\r\n"),
    "a packed body in chunks": (
        b"Content-Encoding: gzip\r\n" + CHUNKED,
        chunk(PACKED[:9]) + chunk(PACKED[9:]) + b"0\r\n\r\n",
    ),
    "a client that waits to be asked": (f"Expect: 100-continue\r\nContent-Length: {len(BODY)}\r\n".encode(), BODY),
}


class Wire:
    """A connection, spoken to in bytes."""

    def __init__(self, service: RunningService) -> None:
        address = urlsplit(service.base_url)
        self.service, self.key = service, service.api_key
        self.socket = socket.create_connection((address.hostname, address.port), timeout=ANSWER_SECONDS)

    def another(self) -> Wire:
        """A second connection to the same service."""
        return Wire(self.service)

    def head(self, lines: bytes, target: bytes = b"POST /events/ingest HTTP/1.1") -> bytes:
        own = f"Host: test\r\nAuthorization: Bearer {self.key}\r\nConnection: close\r\n".encode()
        return target + b"\r\n" + own + lines + b"\r\n"

    def say(self, data: bytes, *, end: bool = False) -> bytes:
        """Send, and read until the service closes the connection, then close it here: what was answered."""
        heard = b""
        with self.socket, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            # The service may close while it is still being sent to.
            self.socket.sendall(data)
            if end:
                self.socket.shutdown(socket.SHUT_WR)
            while received := self.socket.recv(65_536):
                heard += received
        return heard


_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def statuses(heard: bytes) -> list[int]:
    """The status of every answer but the interim ones."""
    return [status for found in _STATUS.findall(heard) if (status := int(found)) >= 200]


@pytest.fixture
def wire(running_service: RunningService) -> Iterator[Wire]:
    """A connection; after whatever was done to it, others are served as before."""
    opened = Wire(running_service)
    yield opened
    other = opened.another()
    assert statuses(other.say(other.head(b"", b"GET /health/live HTTP/1.1"))) == [200]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_refused(wire: Wire, name: str) -> None:
    lines, body = REFUSED[name]
    found = statuses(wire.say(wire.head(lines) + body, end=True))
    assert found in ([], [400], [413], [415], [422]), found


@pytest.mark.parametrize("name", TAKEN)
def test_what_only_looks_odd_is_taken(wire: Wire, name: str) -> None:
    lines, body = TAKEN[name]
    heard = wire.say(wire.head(lines) + body)
    assert statuses(heard) == [200], heard
    assert b'"ingested_count"' in heard


@pytest.mark.parametrize("lines", [CHUNKED, b"Content-Length: 64\r\n"])
def test_who_hangs_up_in_his_body_has_recorded_nothing(wire: Wire, lines: bytes) -> None:
    body = BODY.replace(b'"w"', b'"hung-up"')
    cut = body[:20] if lines is not CHUNKED else b"%x\r\n" % len(body) + body
    assert statuses(wire.say(wire.head(lines) + cut, end=True)) in ([], [400])
    other = wire.another()
    assert statuses(other.say(other.head(b"", b"GET /events/hung-up HTTP/1.1"))) == [404]


def test_what_follows_a_body_is_no_part_of_it(wire: Wire) -> None:
    request = wire.head(f"Content-Length: {len(BODY)}\r\n".encode()).replace(b"Connection: close\r\n", b"")
    smuggled = wire.head(b"", b"GET /health/live HTTP/1.1")
    heard = wire.say(request + BODY + smuggled)
    assert statuses(heard) == [200, 200]
    assert heard.endswith(b'{"status":"live"}')


def test_a_header_without_end_is_given_up(wire: Wire) -> None:
    began = time.monotonic()
    found = statuses(wire.say(wire.head(b"X-Long: " + b"x" * 2_000_000 + b"\r\n")))
    assert found in ([], [400], [431])
    assert time.monotonic() - began < ANSWER_SECONDS
