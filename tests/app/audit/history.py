"""A tenant's history to tamper with, and what somebody with the database's password can do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from asyncpg import Connection, Record
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.audit.crew import crew
from app.audit.findings import Finding, Verdict
from app.audit.heads import SignedHead
from app.audit.place import database_place, export_snapshot
from app.audit.publishing import signed_heads
from app.audit.verifying import verify
from app.event_log import append_retraction
from app.keys import create_key, system_caller
from app.service import Service
from domain import chain
from domain.chain import GENESIS
from projections.log_reader import commits_after
from projections.log_source import CommitKind, DatabaseSource
from tests.app.log_rows import MANY, record_usage, use

KEY = Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class History:
    """Positions: 1 and 2 the tenant and its key, 3 to 7 usage, 8 usage, 9 to 18 usage, 19 and 20 retractions of 4 and
    8, 21 a key, 22 to 25 usage."""

    dsn: str
    owner: Connection[Record]
    tenant_id: str

    async def tamper(self, statement: str, *values: object, needed: bool = True) -> None:
        """Run a statement of somebody who may do everything; $1 is the tenant. It has to change something if needed."""
        async with self.owner.transaction():
            await self.owner.execute("set local session_replication_role = replica")
            done = await self.owner.execute(statement, self.tenant_id, *values)
        assert not (needed and done.endswith(" 0")), f"nothing was tampered with: {done}"

    async def verdict(self, heads: Sequence[SignedHead] = (), processes: int = 1) -> Verdict:
        async with database_place(self.dsn) as place:
            opening = partial(database_place, self.dsn, await export_snapshot(place))
            async with crew(opening, processes) as workers:
                published = {self.tenant_id: heads} if heads else {}
                (verdict,) = await verify(place, workers, published, lambda _: None, self.tenant_id)
                return verdict

    async def first(self, heads: Sequence[SignedHead] = ()) -> Finding:
        """The first finding; there has to be one."""
        return (await self.verdict(heads)).findings[0]

    async def publish(self, service: Service, key: Ed25519PrivateKey = KEY) -> list[SignedHead]:
        heads, misfits = await signed_heads(DatabaseSource(self.owner), key, service.clock(), {}, self.tenant_id)
        assert not misfits
        return heads

    async def rechain(self, first_position: int) -> None:
        """Make the chain fit whatever the rows hold from a position on: roots, digests and head."""
        digest = GENESIS
        for held in await commits_after(self.owner, self.tenant_id, 0, limit=MANY):
            commit = held.commit
            if commit.last_position >= first_position:
                kind, contents = CommitKind(commit.kind), list[bytes]()
                span = (commit.first_position - 1, commit.last_position)
                async for page in DatabaseSource(self.owner).events(self.tenant_id, kind, *span):
                    contents += page.contents
                root = chain.root_of(contents)
                header: dict[str, Any] = {
                    "kind": kind,
                    "tenant_id": self.tenant_id,
                    "root": root,
                    "origin": commit.origin,
                }
                made = chain.header(
                    **header, first=commit.first_position, last=commit.last_position, recorded_at=commit.recorded_at
                )
                forged = chain.extend(digest, made)
                await self.tamper(
                    "update log.commit set root = $3, digest = $4 where tenant_id = $1 and last_position = $2",
                    *(commit.last_position, root, forged),
                )
                digest = forged
            else:
                digest = commit.digest
        await self.tamper("update log.head set digest = $2 where tenant_id = $1", digest)

    async def cut_off(self, last_position: int) -> None:
        """Take everything past a position out of every table, and move the head back, so that nothing inside tells."""
        for statement in (
            "delete from log.usage_event u using log.commit c where u.tenant_id = $1 and c.tenant_id = $1"
            " and c.batch = u.batch and c.last_position > $2",
            "delete from log.event_key k using log.commit c where k.tenant_id = $1 and c.tenant_id = $1"
            " and c.batch = k.batch and c.last_position > $2",
            "delete from log.domain_event where tenant_id = $1 and position > $2",
            "delete from log.retraction where tenant_id = $1 and position > $2",
            "delete from log.commit where tenant_id = $1 and last_position > $2",
            "update log.head h set position = c.last_position, digest = c.digest, recorded_at = c.recorded_at"
            " from log.commit c where h.tenant_id = $1 and c.tenant_id = $1 and c.last_position = $2",
        ):
            await self.tamper(statement, last_position, needed=False)


async def live(service: Service, dsn: str, owner: Connection[Record]) -> History:
    """A tenant of its own with a history of all kinds of commits."""
    tenant_id = f"t{uuid4().hex[:12]}"
    await create_key(service, system_caller(tenant_id), scope="write")
    for letter, count in (("a", 5), ("b", 1), ("c", 10)):
        await record_usage(owner, tenant_id, [use(f"{letter}{number}") for number in range(count)], service.clock())
    async with owner.transaction():
        await append_retraction(owner, tenant_id, ["a1", "b0"], "sent by mistake", service.clock(), b"{}")
    await create_key(service, system_caller(tenant_id), scope="read")
    await record_usage(owner, tenant_id, [use(f"d{number}") for number in range(4)], service.clock())
    return History(dsn, owner, tenant_id)
