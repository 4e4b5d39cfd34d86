"""Commands of one tenant wait in the process and not on connections, for all of them need the tenant's head."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.limits import COMMAND_WAIT_SECONDS, COMMANDS_AT_ONCE, COMMANDS_WAITING_MAX
from domain.errors import Refusal


class CommandsFull(Refusal):
    """Too many commands of this tenant wait already, or this one has waited too long. Nothing of it was done."""

    def __init__(self, why: str) -> None:
        super().__init__("OVERLOADED", f"{why}; nothing was done, send it again")


class _Line:
    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(COMMANDS_AT_ONCE)
        self.waiting = 0
        self.there = 0


class CommandLines:
    """The lines of one process: for each tenant whose commands are at work or wait, in order of arrival."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def turn(self, tenant_id: str) -> AsyncIterator[None]:
        """The tenant's turn, for as long as the block lasts. Raises ``CommandsFull``."""
        line = self._lines.setdefault(tenant_id, _Line())
        line.there += 1
        try:
            await self._wait(line)
            try:
                yield
            finally:
                line.turns.release()
        finally:
            line.there -= 1
            if not line.there:
                del self._lines[tenant_id]

    async def _wait(self, line: _Line) -> None:
        if not line.turns.locked():
            await line.turns.acquire()
            return
        if line.waiting >= COMMANDS_WAITING_MAX:
            raise CommandsFull(f"{line.waiting} commands of this tenant wait already")
        line.waiting += 1
        try:
            async with asyncio.timeout(COMMAND_WAIT_SECONDS):
                await line.turns.acquire()
        except TimeoutError:
            raise CommandsFull(f"other commands of this tenant took {COMMAND_WAIT_SECONDS} seconds") from None
        finally:
            line.waiting -= 1
