"""Listening to channels of the database on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

from app.service import Pool


class _Listening(Protocol):
    """What listening needs of asyncpg's connection."""

    async def add_listener(self, channel: str, callback: Any) -> None: ...

    async def remove_listener(self, channel: str, callback: Any) -> None: ...

    def add_termination_listener(self, callback: Any) -> None: ...

    def remove_termination_listener(self, callback: Any) -> None: ...

    def is_closed(self) -> bool: ...


@asynccontextmanager
async def listening(pool: Pool, channels: Collection[str], rang: Callable[[str], None]) -> AsyncIterator[asyncio.Event]:
    """``rang`` is called with the payload of each ring; the event that is given is set when the connection ends."""
    async with pool.acquire() as connection:
        listener = cast("_Listening", connection)
        hung_up = asyncio.Event()

        def rung(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            rang(payload)

        def ended(_connection: object) -> None:
            hung_up.set()

        listener.add_termination_listener(ended)
        for channel in channels:
            await listener.add_listener(channel, rung)
        try:
            yield hung_up
        finally:
            listener.remove_termination_listener(ended)
            for channel in channels if not listener.is_closed() else ():
                await listener.remove_listener(channel, rung)
