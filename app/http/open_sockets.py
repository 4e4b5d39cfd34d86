"""The open sockets of one process: how many there may be, their heartbeats, and whether they may stay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from app.credentials import Credential, living
from app.http.live_socket import LOG, LOST, LiveSocket, Transport
from app.http.raw_path import Receive, Send
from app.limits import LIVE_SOCKETS_MAX
from app.live.shared import Shared
from app.live.watching import Feed
from app.service import Service

BEAT_SECONDS = 1.0
"""How often it is looked for heartbeats that are due."""

CHECK_SECONDS = 2.0
"""How often credentials are asked for. With the time to close, a socket outlives its credential by less than five."""

ALERT_READERS = 3
"""Sockets that read alerts at once: one alert is told to all sockets of its tenant, and requests need connections."""


class OpenSockets:
    """Every socket of this process, by the credential that opened it."""

    def __init__(self, service: Service, feed: Feed, sockets_max: int = LIVE_SOCKETS_MAX) -> None:
        self._service = service
        self._feed = feed
        self._sockets_max = sockets_max
        self._count = 0
        self._shared = Shared()
        self._alert_readers = asyncio.Semaphore(ALERT_READERS)
        self._by_digest: dict[bytes, set[LiveSocket]] = {}

    def __len__(self) -> int:
        """How many are open."""
        return self._count

    @property
    def frames_sent(self) -> int:
        """Frames that were sent so far, to all of them."""
        return self._shared.frames_sent

    @property
    def values_dropped(self) -> int:
        """Values in whose place a newer one was sent, or waits."""
        return self._shared.values_dropped

    @property
    def full(self) -> bool:
        """Whether another one is to be sent away."""
        return self._count >= self._sockets_max

    async def serve(self, credential: Credential, receive: Receive, send: Send, transport: Transport) -> None:
        """Hold an accepted socket open until either side hangs up."""
        socket = LiveSocket(self._service, self._feed, self._shared, self._alert_readers, credential, transport)
        self._count += 1
        self._by_digest.setdefault(credential.digest, set()).add(socket)
        try:
            await socket.run(receive, send)
        finally:
            self._count -= 1
            same = self._by_digest[credential.digest]
            same.discard(socket)
            if not same:
                del self._by_digest[credential.digest]

    async def run(self) -> None:
        """Keep heartbeats and checks going until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._check())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = asyncio.get_running_loop().time()
            for socket in self._all():
                socket.beat(now)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except LOST as error:
                # Without the database nothing new is shown either; whoever has no right to it is found right after.
                LOG.warning("the credentials of sockets could not be checked: %s", error)

    async def check(self) -> None:
        """Hang up on those whose key, token or session has ended: one statement for all of them."""
        digests = list(self._by_digest)
        if not digests:
            return
        alive = await living(self._service, digests)
        for digest in digests:
            if digest not in alive:
                for socket in list(self._by_digest.get(digest, ())):
                    socket.end()

    def _all(self) -> Iterator[LiveSocket]:
        for same in list(self._by_digest.values()):
            yield from list(same)
