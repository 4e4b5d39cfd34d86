"""Who asks, looked up for many requests at once: those that wait together share one question to the database.

Nothing is remembered: each question begins after all its requests have come, so a key that was revoked before a request
opens nothing for it.
"""

from __future__ import annotations

import asyncio

from app.keys import callers_of, digest_of
from app.service import Caller, Service


class Callers:
    """One per process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: dict[bytes, asyncio.Future[Caller | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def find(self, secret: str, address: str) -> Caller | None:
        """The caller that a secret belongs to; ``None`` when it opens nothing."""
        digest = digest_of(secret)
        if digest not in self._waiting:
            self._waiting[digest] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # Shielded, for the others that wait for the same.
        found = await asyncio.shield(self._waiting[digest])
        return None if found is None else Caller(found.tenant_id, found.key_id, found.scope, address)

    async def _ask(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            try:
                found = await callers_of(self._service, list(asked))
            except Exception as error:
                for waiting in asked.values():
                    waiting.set_exception(error)
                    waiting.exception()  # Whoever still waits is told; that nobody does is no defect.
                continue
            for digest, waiting in asked.items():
                waiting.set_result(found.get(digest))
        self._asking = None
