"""The end of a listening socket."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from app import last_connections
from app.last_connections import let_nobody_in, queued

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel offers no way")

PATIENCE_SECONDS = 10.0


def listening(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    return socket.create_server((host, 0), family=family)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_nobody_is_let_in_and_who_is_in_goes_on_talking(family: socket.AddressFamily) -> None:
    with listening(family) as listener, socket.create_connection(listener.getsockname()[:2]) as early:
        inside, _ = listener.accept()
        await let_nobody_in(listener)
        with socket.socket(family) as late:
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.connect(listener.getsockname()[:2])
        with inside:
            early.sendall(b"hello")
            assert inside.recv(10) == b"hello"
            inside.sendall(b"and you")
            assert early.recv(10) == b"and you"


async def test_it_waits_for_those_who_are_not_accepted_yet() -> None:
    with listening() as listener:
        queue = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        assert queued(listener) == 3
        ending = asyncio.create_task(let_nobody_in(listener))
        await asyncio.sleep(2 * last_connections.SETTLE_SECONDS)
        assert not ending.done()
        for _ in queue:
            listener.accept()[0].close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ending
        assert queued(listener) == 0
        for one in queue:
            one.close()


async def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_connections, "QUEUE_SECONDS", 0.5)
    with listening() as listener, socket.create_connection(listener.getsockname()):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await let_nobody_in(listener)
        assert queued(listener) == 1
