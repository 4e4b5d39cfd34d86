"""Events to append, and what the tables of the log then hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from asyncpg import Connection, Record

from app.event_log import Receipt, Sent, append_usage
from app.service import Service
from domain import chain, instant
from domain.chain import Commit
from domain.event import UsageEvent, canonical
from projections.database import Database
from projections.log_reader import SQL as LOG
from projections.log_reader import commits_after
from tests.conftest import MovingClock

MANY = 10_000
"""More commits than a test makes."""


def use(event_id: str, **changes: Any) -> UsageEvent:
    """An event of one customer, an hour before the clock of the tests."""
    fields: dict[str, Any] = {
        "event_id": event_id,
        "event_name": "api.call",
        "customer_id": "ada",
        "timestamp": MovingClock().now - timedelta(hours=1),
        "metadata": '{"tokens": 7}',
    }
    return UsageEvent(**(fields | changes))


async def stored(service: Service, tenant_id: str) -> list[tuple[int, Record]]:
    """The recorded usage rows with their positions, in order."""
    found: list[tuple[int, Record]] = []
    for commit in await commits_after(service.pool, tenant_id, 0, limit=MANY):
        rows = await service.pool.fetch(LOG["usage_of_batch"], tenant_id, commit.batch)
        found += [(commit.commit.first_position + row["ordinal"], row) for row in rows]
    return found


async def rows_of(service: Service, tenant_id: str) -> Counter[str]:
    """How many rows each table of the log holds for the tenant, whether a commit names them or not."""
    counts: Counter[str] = Counter()
    for table in ("usage_event", "event_key", "commit", "domain_event", "retraction"):
        counts[table] = await service.pool.fetchval(
            f"select count(*) from log.{table} where tenant_id = $1",
            tenant_id,
        )
    return counts


async def rejected_of(service: Service, tenant_id: str) -> list[Record]:
    return await service.pool.fetch(
        "select event_id, reason, content from kept.rejected_event where tenant_id = $1 order by batch, ordinal",
        tenant_id,
    )


async def root_of_usage(service: Service, tenant_id: str, batch: object, _: Commit) -> bytes:
    rows = await service.pool.fetch(LOG["usage_of_batch"], tenant_id, batch)
    return chain.root_of(
        canonical(
            row["event_id"].encode(),
            row["event_name"].encode(),
            row["customer_id"].encode(),
            instant.micros(row["timestamp"]),
            row["metadata"].encode(),
        )
        for row in rows
    )


async def root_of_domain(service: Service, tenant_id: str, _: object, commit: Commit) -> bytes:
    rows = await service.pool.fetch(
        LOG["facts_after"], tenant_id, commit.first_position - 1, commit.last_position, MANY
    )
    return chain.root_of(
        chain.canonical_fact(row["originator_id"], row["originator_version"], row["kind"], row["state"]) for row in rows
    )


def tampered(commit: Commit) -> Commit:
    """The commit with one bit of its root changed: another digest, or the chain covers nothing."""
    return msgspec.structs.replace(commit, root=bytes([commit.root[0] ^ 1]) + commit.root[1:])


async def record_usage(database: Database, tenant_id: str, events: Sequence[UsageEvent], now: datetime) -> Receipt:
    """Record events as one request."""
    (receipt,) = await append_usage(database, tenant_id, [Sent(events)], now)
    return receipt


async def recomputed_digest(service: Service, tenant_id: str) -> bytes:
    """The digest that the chain ends in, computed from the stored rows alone; each commit has to fit on the way."""
    digest = chain.GENESIS
    for held in await commits_after(service.pool, tenant_id, 0, limit=MANY):
        root_of = root_of_usage if held.commit.kind == "usage" else root_of_domain
        assert await root_of(service, tenant_id, held.batch, held.commit) == held.commit.root
        digest = chain.digest_of(digest, held.commit)
        assert digest == held.commit.digest
    return digest


async def until_waiting(owner: Connection[Record], waiting: int) -> None:
    """Return when so many backends wait for another one's lock."""
    # Not pg_stat_activity, which goes on to show the backends of its first look as long as a transaction is open.
    blocked = "select count(distinct pid) from pg_locks where not granted"
    async with asyncio.timeout(10):
        while await owner.fetchval(blocked) < waiting:
            pass


async def copy_rows(connection: Any, tenant_id: str, batch: object, ordinals: list[int]) -> None:
    """Copy rows of a batch, without their keys and without sealing them."""
    at = MovingClock().now
    rows = [(tenant_id, batch, ordinal, f"e{ordinal}", "api.call", "ada", at, "") for ordinal in ordinals]
    columns = ["tenant_id", "batch", "ordinal", "event_id", "event_name", "customer_id", "timestamp", "metadata"]
    await connection.copy_records_to_table("usage_event", schema_name="log", columns=columns, records=rows)
