"""Websockets as uvicorn serves them, made safe against peers that do not read.

uvicorn waits for a slow peer before it sends more, but answers his pings without waiting, and closes politely, which
never ends while he reads nothing. Here such a peer costs a bounded buffer, and is cut off.
"""

from __future__ import annotations

import socket
from asyncio.transports import BaseTransport
from functools import lru_cache
from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

ABORT = "taximeter.abort"
"""The extension of the ASGI scope that cuts the connection off: a call without arguments."""

SEND = "taximeter.send"
"""The extension that sends a text frame without waiting: a call with the text, which says whether it was possible."""

SEND_BUFFER_BYTES = 32 * 1_024
"""What waits in this process and, twice that, in the kernel for a peer that does not read. What waits is old when it is
read, so it should be little; one frame always fits."""

FRAGMENTS_MAX = 64
"""Pieces of one message: a client of ours sends one, and empty ones would not count as bytes."""

CLOSE_SECONDS = 2.0
"""How long a peer may take to read the last frames before the connection is cut off."""

PING_SECONDS = 30.0
PONG_SECONDS = 20.0
"""How often a peer is asked whether it is there, and how long it may take to answer."""


FRAMES_KEPT = 16
"""Frames that are kept for the next socket: those who watch the same customer are sent it one after the other."""

_PONG = b"\x8a"
"""How the frame that answers a ping begins."""


@lru_cache(FRAMES_KEPT)
def framed(text: str) -> bytes:
    """A text frame of a server, which is the same for everybody who is sent the same text."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One websocket. Private parts of uvicorn are not touched: what is overridden are the protocol's own steps."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound what is buffered."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=SEND_BUFFER_BYTES)
        connected = cast("socket.socket | None", transport.get_extra_info("socket"))
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    async def run_asgi(self) -> None:
        """Give the application the means to cut the connection off, and to send without waiting."""
        self.scope["extensions"][ABORT] = self.abort  # type: ignore[index]
        self.scope["extensions"][SEND] = self.send_text  # type: ignore[index]
        try:
            await super().run_asgi()
        finally:
            # They lead back to here: the memory is free at once when nothing does.
            self.scope["extensions"].clear()  # type: ignore[union-attr]

    def send_text(self, text: str) -> bool:
        """Send a text frame, if the connection is open and the peer keeps up. Otherwise ASGI's own way waits, or tells
        why. That way leads through the application's layers, which cost as much as all else done for a frame.
        """
        if not self.writable.is_set() or self.conn.state is not OPEN or self.transport.is_closing():
            return False
        self.transport.write(framed(text))
        return True

    def abort(self) -> None:
        """Cut the connection off; nothing happens when it is closed."""
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer the newest of the pings that came together, as RFC 6455 (5.5.3) allows, and none of a peer that leaves
        the answers unread: the answers to all pings of one read would be a quarter of a megabyte."""
        output = self.conn.data_to_send()
        pongs = [sent for sent in output if sent[:1] == _PONG] if self.writable.is_set() else []
        others = [sent for sent in output if sent[:1] != _PONG]
        self.transport.write(b"".join(pongs[-1:] + others))

    def handle_cont(self, event: Frame) -> None:
        """Take a further piece of a message."""
        if len(self.frames) >= FRAGMENTS_MAX:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def keepalive_timeout(self) -> None:
        """Give up a peer that does not answer."""
        super().keepalive_timeout()
        self.abort()

    def shutdown(self) -> None:
        """Say that the service goes away, and wait for nobody who does not listen."""
        super().shutdown()
        self.loop.call_later(CLOSE_SECONDS, self.abort)
