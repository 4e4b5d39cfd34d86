"""The end of a listening socket: whoever was let in is served, and nobody else is let in.

To close a listening socket resets the connections that wait in the kernel to be accepted: their clients are connected,
and may have sent a request. So first no new ones are let in, then those that wait are accepted, then it is closed.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys

SETTLE_SECONDS = 0.3
"""How long nobody has to have waited before the socket may be closed: a handshake that was under way ends, and who is
connected sends its request. A client farther away than this is refused in the middle, before it could send anything."""

QUEUE_SECONDS = 5.0
"""How long it is waited for that at most: web processes that accept nothing for so long are stuck."""

LOOK_SECONDS = 0.02

_SO_ATTACH_FILTER = 26
"""Linux' number, which Python has no name for."""

_NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # Load the byte with the flags of the TCP header.
    (0x54, 0, 0, 0x12),  # Keep SYN and ACK.
    (0x15, 0, 1, 0x02),  # SYN alone is the first packet of a connection:
    (0x06, 0, 0, 0),  # drop it;
    (0x06, 0, 0, 0xFFFFFFFF),  # let everything else through.
)
"""A program of the kernel's packet filter (BPF). A dropped client tries again within a second or so, and is refused
when the socket is closed by then: it knows that nothing was taken."""

_QUEUED_AT = 24
"""Where the kernel says of a listening socket how many wait: `tcpi_unacked` in `struct tcp_info`."""


async def let_nobody_in(listener: socket.socket) -> None:
    """Return when the socket can be closed without cutting anybody off. Elsewhere than on Linux, new connections are
    let in until the end, and the last of them may be cut off."""
    if sys.platform == "linux":
        _drop_newcomers(listener)
    loop = asyncio.get_running_loop()
    began = quiet_since = loop.time()
    while loop.time() - quiet_since < SETTLE_SECONDS and loop.time() - began < QUEUE_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)
        if queued(listener):
            quiet_since = loop.time()


def _drop_newcomers(listener: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_NEW_CONNECTIONS))
    option = struct.pack("HL", len(_NO_NEW_CONNECTIONS), ctypes.addressof(program))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def queued(listener: socket.socket) -> int:
    """How many connections wait to be accepted; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED_AT + 4)
    return int.from_bytes(info[_QUEUED_AT:], sys.byteorder)
