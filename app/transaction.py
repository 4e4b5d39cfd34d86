"""One command, one transaction: lock the tenant's head, replay, decide, append, write the read models, commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from app.event_log import append_domain, lock_head
from app.rules import rules_of, tenant_now
from app.service import Caller, Service
from domain.aggregate import Fact
from domain.chain import Commit
from domain.tenant import Rules
from projections import catalog
from projections.aggregates import Aggregates
from projections.database import Database
from projections.log_reader import Head
from projections.mapper import to_stored


class Transaction(Aggregates):
    """A command at work. The head is locked, so what it reads stays true until it commits.

    ``now`` is the command's one reading of the tenant's clock, never before the log's last recording.
    """

    def __init__(self, service: Service, database: Database, caller: Caller, head: Head, rules: Rules) -> None:
        now = max(tenant_now(service, rules), head.recorded_at)
        super().__init__(database, caller.tenant_id, now, head.position)
        self.service = service
        self.caller = caller
        self.head = head
        self._rules = rules
        self._loose: list[Fact] = []

    def add_event(self, fact: Fact) -> None:
        """Take in an event that was decided without replaying its stream."""
        self._loose.append(fact)

    async def rules(self) -> Rules:
        """The settings in force for this tenant as the command began."""
        return self._rules

    async def append(self, command: str) -> Commit | None:
        """Append what was decided as one commit; nothing was decided, nothing is appended."""
        changed = {root.id: root.collect_events() for root in self._held.values()}
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
        for root in self._held.values():
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
        rules = await rules_of(connection, service, caller.tenant_id)
        running = Transaction(service, connection, caller, head, rules)
        yield running
        await running.append(command)
