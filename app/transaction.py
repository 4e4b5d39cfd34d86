"""One command, one transaction: lock the tenant's head, replay, decide, append, write the read models, commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

import msgspec

from app.event_log import append_domain, lock_head
from app.service import Caller, Service
from domain.aggregate import Fact, Root
from domain.chain import Commit
from domain.errors import NotFound
from domain.tenant import Rules, Tenant, rules_in_force
from projections import catalog
from projections.database import Database
from projections.log_reader import Head, aggregate
from projections.mapper import to_stored

AnyRoot = TypeVar("AnyRoot", bound=Root)


class Transaction:
    """A command at work. The head is locked, so what it reads stays true until it commits.

    ``now`` is the command's one reading of the clock, never before the log's last recording.
    """

    def __init__(self, service: Service, database: Database, caller: Caller, head: Head) -> None:
        self.service = service
        self.database = database
        self.caller = caller
        self.head = head
        self.now: datetime = max(service.clock(), head.recorded_at)
        self._aggregates: dict[str, Root] = {}
        self._loose: list[Fact] = []

    @property
    def tenant_id(self) -> str:
        """The tenant of the caller: the only one this command sees."""
        return self.caller.tenant_id

    async def find(self, kind: type[AnyRoot], object_id: str) -> AnyRoot | None:
        """An aggregate of this tenant, replayed from its stream once per command; ``None`` when there is none."""
        stream = kind.stream(object_id)
        held = self._aggregates.get(stream)
        if held is None:
            held = await aggregate(self.database, self.tenant_id, kind, object_id)
            if held is None:
                return None
            self._aggregates[stream] = held
        assert isinstance(held, kind)
        return held

    async def get(self, kind: type[AnyRoot], object_id: str) -> AnyRoot:
        """As ``find``; raises ``NotFound``."""
        found = await self.find(kind, object_id)
        if found is None:
            raise NotFound(kind.TOPIC, object_id)
        return found

    def add(self, new: Root) -> None:
        """Take in an aggregate that this command made."""
        self._aggregates[new.id] = new

    def add_event(self, fact: Fact) -> None:
        """Take in an event that was decided without replaying its stream."""
        self._loose.append(fact)

    async def rules(self) -> Rules:
        """The settings in force for this tenant."""
        tenant = await self.find(Tenant, self.tenant_id)
        return self.service.rules if tenant is None else rules_in_force(tenant.settings, self.service.rules)

    async def append(self, command: str) -> Commit | None:
        """Append what was decided as one commit; nothing was decided, nothing is appended."""
        changed = {root.id: root.collect_events() for root in self._aggregates.values()}
        facts: list[Fact] = [fact for events in changed.values() for fact in events if isinstance(fact, Fact)]
        facts += self._loose
        if not facts:
            return None
        origin = origin_of(self.caller, command)
        commit = await append_domain(self.database, self.tenant_id, to_stored(facts), self.now, origin)
        placed = list(enumerate(facts, start=commit.first_position))
        await self._record(placed)
        await catalog.mark(self.database, self.tenant_id, commit.last_position)
        return commit

    async def _record(self, placed: Sequence[tuple[int, Fact]]) -> None:
        for root in self._aggregates.values():
            own = [(position, fact) for position, fact in placed if fact.originator_id == root.id]
            if own:
                await catalog.record(self.database, self.tenant_id, root, own)


def origin_of(caller: Caller, command: str) -> bytes:
    """Who asked, from where and by which command, as the bytes that the chain covers."""
    return msgspec.json.encode({"key_id": caller.key_id, "from": caller.address, "command": command})


@asynccontextmanager
async def transaction(service: Service, caller: Caller, command: str) -> AsyncIterator[Transaction]:
    """Run one command. What it decided is durable when the block ends, and gone when the block raises."""
    async with service.pool.acquire() as connection, connection.transaction():
        head = await lock_head(connection, caller.tenant_id)
        running = Transaction(service, connection, caller, head)
        yield running
        await running.append(command)
