"""What there is to compare with: a bare COPY of the same rows, the log's own tables alone, and another recorder."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from uuid import NAMESPACE_OID, UUID, uuid5

import asyncpg
import msgspec
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from workload import REQUEST_EVENTS, Row

from app.event_log import NO_ORIGIN, SQL
from app.identity import new_batch
from app.usage_copy import KEY_COLUMNS, ROW_COLUMNS, UsageCopy, usage_copy
from domain.event import UsageEvent

LIMIT_TENANT = "limit"


async def copy_bare(dsn: str, events: list[Row]) -> float:
    """Events per second of COPY into a table without a key, in transactions of one request's size."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("drop table if exists public.bench_bare")
        await connection.execute(
            "create table public.bench_bare (event_id text, event_name text, customer_id text, timestamp timestamptz,"
            " metadata text)"
        )
        began = time.perf_counter()
        for first in range(0, len(events), REQUEST_EVENTS):
            await connection.copy_records_to_table(
                "bench_bare", schema_name="public", records=events[first : first + REQUEST_EVENTS]
            )
        return len(events) / (time.perf_counter() - began)
    finally:
        await connection.execute("drop table if exists public.bench_bare")
        await connection.close()


async def copy_log(dsn: str, events: list[Row]) -> float:
    """Events per second into the log's tables with all their keys, each transaction sealed: what PostgreSQL can take.

    One connection; decoded, checked, packed and hashed before any clock runs, and nothing is projected.
    """
    batches = list[tuple[UUID, UsageCopy, int]]()
    for first in range(0, len(events), REQUEST_EVENTS):
        batch, some = new_batch(), [UsageEvent(*row) for row in events[first : first + REQUEST_EVENTS]]
        batches.append((batch, usage_copy(LIMIT_TENANT, batch, some), len(some)))
    connection = await asyncpg.connect(dsn)
    try:
        began = time.perf_counter()
        for batch, packed, count in batches:
            async with connection.transaction():
                for table, columns, rows in (
                    ("event_key", KEY_COLUMNS, packed.keys),
                    ("usage_event", ROW_COLUMNS, packed.rows),
                ):
                    await connection.copy_to_table(
                        table, schema_name="log", columns=columns, source=io.BytesIO(rows), format="binary"
                    )
                now = datetime.now(UTC)
                sealed = (LIMIT_TENANT, batch, count, packed.root, now, NO_ORIGIN)
                await connection.fetchrow(SQL["append_usage"], *sealed)
        return len(events) / (time.perf_counter() - began)
    finally:
        await connection.close()


def recorder_rate(dsn: str, events: list[Row]) -> float:
    """Events per second of the library's own recorder: each event a stream of its own, so that its id counts once.

    No HTTP, no checks, no chain, nothing projected: the rows alone, in transactions of one request's size.
    """
    address = urlsplit(dsn)
    query = parse_qs(address.query)
    datastore = PostgresDatastore(
        dbname=address.path.strip("/"),
        host=query["host"][0] if "host" in query else str(address.hostname),
        port=query["port"][0] if "port" in query else str(address.port or 5432),
        user=address.username or "postgres",
        password=address.password or "",
        schema="public",
    )
    recorder = PostgresApplicationRecorder(datastore, events_table_name="bench_stored_events")
    recorder.create_table()
    stored = [
        StoredEvent(
            originator_id=uuid5(NAMESPACE_OID, event_id),
            originator_version=1,
            topic=name,
            state=msgspec.json.encode(
                {"customer_id": customer_id, "timestamp": timestamp, "metadata": msgspec.Raw(metadata.encode())}
            ),
        )
        for event_id, name, customer_id, timestamp, metadata in events
    ]
    try:
        began = time.perf_counter()
        for first in range(0, len(stored), REQUEST_EVENTS):
            recorder.insert_events(stored[first : first + REQUEST_EVENTS])
        return len(stored) / (time.perf_counter() - began)
    finally:
        with datastore.transaction(commit=True) as statements:
            statements.execute("drop table bench_stored_events")
        datastore.close()
