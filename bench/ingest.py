"""How fast usage events get in: HTTP, durable, projected; beside a bare COPY of the same rows in the same run.

    python bench/ingest.py                            starts a `taximeter serve` of its own on a fresh directory
    python bench/ingest.py --url URL --key KEY        uses a running service; --database-url for the COPY beside it

The ratio says more than the rate: both were measured on the same machine, minutes apart at most.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import msgspec

from app.engine.launcher import Engine, embedded

ROOT = Path(__file__).resolve().parents[1]
REQUEST_EVENTS = 1_000
"""Events per request: the most that the wire contract allows."""

START_SECONDS = 120
BENCH_KEY = "bench-key"
CUSTOMERS = 1_000
TOKENS = 4_096
METADATA = '{"model":"large","region":"eu-central","tokens":%d,"cached":false,"latency":"%d.25"}'

Row = tuple[str, str, str, datetime, str]
"""An event as the table holds it: id, name, customer, time, metadata."""


@dataclass(frozen=True)
class Target:
    """A running service, its key, and the address of a database to copy into."""

    url: str
    key: str
    dsn: str | None


def rows(count: int) -> list[Row]:
    """The workload: one event name, 1,000 customers in turn, five metadata keys, ids that no run shares."""
    run, now = uuid4().hex[:12], datetime.now(UTC)
    return [
        (f"{run}-{n:09d}", "llm.completion", f"customer-{n % CUSTOMERS}", now, METADATA % (n % TOKENS, n % 900))
        for n in range(count)
    ]


def bodies(events: list[Row]) -> list[bytes]:
    """The workload as requests, encoded before any clock runs."""
    made: list[bytes] = []
    for first in range(0, len(events), REQUEST_EVENTS):
        batch = [
            {
                "event_id": event_id,
                "event_name": name,
                "customer_id": customer_id,
                "timestamp": timestamp.isoformat(),
                "metadata": msgspec.Raw(metadata.encode()),
            }
            for event_id, name, customer_id, timestamp, metadata in events[first : first + REQUEST_EVENTS]
        ]
        made.append(msgspec.json.encode({"events": batch}))
    return made


def fresh_home() -> Path:
    """A directory that the account of the embedded server may enter, also when that is not ours."""
    home = Path(tempfile.mkdtemp(prefix="taximeter-bench-"))
    home.chmod(0o711)
    return home


@asynccontextmanager
async def own_service(workers: int) -> AsyncIterator[Target]:
    """A ``taximeter serve`` on an embedded server that lives for this run only."""
    home = fresh_home()
    try:
        async with embedded(home / "data") as engine, _served(engine, workers) as url:
            yield Target(url, BENCH_KEY, engine.dsn)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@asynccontextmanager
async def _served(engine: Engine, workers: int) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve", "--port", "0", "--workers", str(workers)),
        *("--database-url", engine.dsn),
        cwd=ROOT,
        env={**os.environ, "TAXIMETER_API_KEY": BENCH_KEY},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (found := re.search(r"serves at (\S+)", (await process.stdout.readline()).decode())):
                if process.stdout.at_eof():
                    raise SystemExit("the service did not start")
        yield found[1]
    finally:
        process.terminate()
        await process.communicate()


def headers(key: str) -> dict[str, str]:
    """What each request carries."""
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}


async def post_all(client: httpx.AsyncClient, requests: list[bytes], connections: int) -> tuple[int, int]:
    """Send every request, so many at a time; the last position that was answered, and the events recorded."""
    waiting, last, recorded = iter(requests), 0, 0

    async def sender() -> None:
        nonlocal last, recorded
        for body in waiting:
            answered = await client.post("/events/ingest", content=body)
            answered.raise_for_status()
            receipt = answered.json()
            last, recorded = max(last, receipt["position"]), recorded + receipt["ingested_count"]

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(sender())
    return last, recorded


async def declare_meter(client: httpx.AsyncClient) -> str:
    """A meter that sums a value of every event, so that there is something to project."""
    answered = await client.post(
        "/meters",
        json={
            "name": "Tokens",
            "event_name": "llm.completion",
            "aggregation": {"type": "sum", "key": "tokens"},
            "measurement_unit": "token",
        },
    )
    answered.raise_for_status()
    return answered.json()["id"]


async def projected_total(client: httpx.AsyncClient, meter_id: str, position: int) -> str:
    """The meter's quantity over everything, as soon as the read models know everything up to ``position``."""
    span = {"start": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z"}
    while True:
        answered = await client.get(f"/meters/{meter_id}/usage", params={**span, "at_least": position})
        if answered.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            answered.raise_for_status()
            return answered.json()["quantity"]


async def copy_bare(dsn: str, events: list[Row]) -> int:
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
        return round(len(events) / (time.perf_counter() - began))
    finally:
        await connection.execute("drop table if exists public.bench_bare")
        await connection.close()


async def measure(target: Target, count: int, connections: int) -> None:
    """Run both ways in and print what came out."""
    events = rows(count)
    requests = bodies(events)
    pool = httpx.Limits(max_connections=connections + 1)
    async with httpx.AsyncClient(
        base_url=target.url, headers=headers(target.key), timeout=60, limits=pool, trust_env=False
    ) as client:
        meter_id = await declare_meter(client)
        began = time.perf_counter()
        position, recorded = await post_all(client, requests, connections)
        durable = time.perf_counter() - began
        total = await projected_total(client, meter_id, position)
        projected = time.perf_counter() - began
    # A rate of events that were lost on the way would be worth nothing.
    if recorded != count or total != str(sum(n % TOKENS for n in range(count))):
        raise SystemExit(f"{recorded} of {count} events were recorded, and the meter says {total}: no figure")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{count:,} events of {sum(map(len, requests)) // count} bytes in requests of {REQUEST_EVENTS:,}, ", end="")
    print(f"{connections} connections")
    print(f"durable:    {round(count / durable):>9,} events/s  ({durable:.2f} s)")
    print(f"projected:  {round(count / projected):>9,} events/s  ({projected:.2f} s)")
    if target.dsn is None:
        return
    bare = await copy_bare(target.dsn, events)
    print(
        f"bare COPY:  {bare:>9,} events/s  (the same rows, transactions of {REQUEST_EVENTS:,}, no key, one connection)"
    )
    print(f"ratio:      {count / projected / bare:>9.1%}  of the bare COPY, over HTTP, checked, chained and projected")


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description="Ingest end to end, beside a bare COPY.")
    parser.add_argument("--events", type=int, default=200_000, help="how many (default: 200000)")
    parser.add_argument("--connections", type=int, default=4, help="requests in flight (default: 4)")
    parser.add_argument("--workers", type=int, default=1, help="web processes of an own service (default: 1)")
    parser.add_argument("--url", help="a running service instead of an own one; needs --key")
    parser.add_argument("--key", default=BENCH_KEY, help="its API key, scope write")
    parser.add_argument("--database-url", help="where to COPY beside it; without it there is no ratio")
    return parser.parse_args()


async def main() -> None:
    """Measure once."""
    flags = arguments()
    if flags.url:
        await measure(Target(flags.url, flags.key, flags.database_url), flags.events, flags.connections)
        return
    async with own_service(flags.workers) as target:
        await measure(target, flags.events, flags.connections)


if __name__ == "__main__":
    asyncio.run(main())
