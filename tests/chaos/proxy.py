"""A small TCP proxy before the database, whose connections can be cut in the middle of anything, or held up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

CHUNK = 4_096
"""Bytes passed on at once: small enough that a batch takes several."""

COPIED_BYTES = 3_000
"""About what a batch copies: a cut lies before the first row, among the rows, or after the last."""


@dataclass(eq=False)
class Link:
    """One connection and its other half. ``copying`` says that the server has asked for rows and not confirmed them."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    copying: bool = False
    bytes_left: int | None = None

    def cut(self) -> None:
        """End both halves without a farewell."""
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Stands between a service and the server's socket."""

    def __init__(self, dsn: str, dice: Random) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self._socket = Path(query["host"][0]) / f".s.PGSQL.{query['port'][0]}"
        self._database = parts.path.strip("/")
        self._user = parts.username or "postgres"
        self._dice = dice
        self._links: set[Link] = set()
        self._cut_next_copy = False
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self.cuts = 0
        self.cuts_in_copy = 0

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for link in list(self._links):
            link.cut()
        self._passing.set()

    @property
    def dsn(self) -> str:
        """The address of the database through this proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._user}@127.0.0.1:{port}/{self._database}?sslmode=disable"

    def cut_one(self) -> None:
        """Cut a connection after a random number of further bytes, in either direction."""
        if self._links:
            link = self._dice.choice(sorted(self._links, key=id))
            link.bytes_left = self._dice.randrange(2 * CHUNK)

    def cut_in_copy(self) -> None:
        """Cut the next connection that copies rows, somewhere among its rows."""
        self._cut_next_copy = True

    async def hold_up(self, seconds: float) -> None:
        """Pass nothing on for a while: the other side neither answers nor hangs up."""
        self._passing.clear()
        await asyncio.sleep(seconds)
        self._passing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, forth)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(link, reader, forth, upstream=True))
                tasks.create_task(self._pass_on(link, back, writer, upstream=False))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(link)
            link.cut()

    async def _pass_on(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upstream: bool
    ) -> None:
        while chunk := await reader.read(CHUNK):
            await self._passing.wait()
            if not upstream:
                self._note_copying(link, chunk)
            if link.bytes_left is not None:
                passed, link.bytes_left = chunk[: link.bytes_left], link.bytes_left - len(chunk)
                if link.bytes_left < 0:
                    writer.write(passed)
                    self._count(link)
                    raise ConnectionResetError
            writer.write(chunk)
            await writer.drain()
        # The end of one half is the end of both: a client that is killed leaves no half behind.
        raise ConnectionResetError

    def _note_copying(self, link: Link, chunk: bytes) -> None:
        # CopyInResponse; whatever the server says next ends it.
        link.copying = chunk[:1] == b"G"
        if link.copying and self._cut_next_copy:
            self._cut_next_copy = False
            link.bytes_left = len(chunk) + self._dice.randrange(COPIED_BYTES)

    def _count(self, link: Link) -> None:
        self.cuts += 1
        self.cuts_in_copy += link.copying
