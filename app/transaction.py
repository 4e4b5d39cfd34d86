"""One command, one transaction: lock the tenant's head, replay, decide, append, write the read models, commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from app.event_log import append_domain, lock_head
from app.measured_work import measured_command
from app.rules import rules_of, tenant_now
from app.service import Caller, Service
from domain.aggregate import Fact
from domain.tenant import Rules
from projections import catalog
from projections.aggregates import Aggregates
from projections.database import Database
from projections.fault_points import FaultPoint, reach
from projections.log_reader import Head, last_version
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
        self._versions: dict[str, int] = {}

    def add_event(self, fact: Fact) -> None:
        """Take in an event that was decided without replaying its stream."""
        self._loose.append(fact)
        self._versions[fact.originator_id] = fact.originator_version

    async def last_version(self, stream: str) -> int:
        """The number of events in a stream that is not replayed here, those that were taken in among them."""
        if stream not in self._versions:
            self._versions[stream] = await last_version(self.database, self.tenant_id, stream)
        return self._versions[stream]

    async def rules(self) -> Rules:
        """The settings in force for this tenant as the command began."""
        return self._rules

    async def append(self, command: str) -> list[Fact]:
        """Append what was decided as one commit; nothing was decided, nothing is appended. What was appended."""
        decided = (event for root in self._held.values() for event in root.collect_events())
        facts = [event for event in decided if isinstance(event, Fact)]
        facts += self._loose
        if not facts:
            return []
        origin = origin_of(self.caller, command)
        commit = await append_domain(self.database, self.tenant_id, to_stored(facts), self.now, origin)
        placed = list(enumerate(facts, start=commit.first_position))
        await reach(FaultPoint.command_appended)
        await self._record(placed)
        await catalog.mark(self.database, self.tenant_id, commit.last_position)
        await reach(FaultPoint.command_recorded)
        return facts

    async def _record(self, placed: Sequence[tuple[int, Fact]]) -> None:
        by_stream: dict[str, list[tuple[int, Fact]]] = {}
        for position, fact in placed:
            by_stream.setdefault(fact.originator_id, []).append((position, fact))
        changed = [(root, by_stream[root.id]) for root in self._held.values() if root.id in by_stream]
        await catalog.record(self.database, self.tenant_id, changed)


def origin_of(caller: Caller, command: str) -> bytes:
    """Who asked, from where, by which command and how, as the bytes that the chain covers."""
    asked = {"key_id": caller.key_id, "from": caller.address, "command": command, "via": caller.via}
    return msgspec.json.encode(asked)


@asynccontextmanager
async def transaction(service: Service, caller: Caller, command: str) -> AsyncIterator[Transaction]:
    """Run one command. What it decided is durable when the block ends, and gone when the block raises.

    Raises ``CommandsFull`` when the tenant has too many waiting. No command may begin inside of another one's block: it
    would wait for its head.
    """
    await reach(FaultPoint.command_begin)
    with measured_command(command) as appended:
        turn = service.lines.turn(caller.tenant_id)
        async with turn, service.pool.acquire() as connection, connection.transaction():
            head = await lock_head(connection, caller.tenant_id)
            await reach(FaultPoint.command_locked)
            rules = await rules_of(connection, service, caller.tenant_id)
            running = Transaction(service, connection, caller, head, rules)
            yield running
            appended.extend(await running.append(command))
    await reach(FaultPoint.command_committed)
