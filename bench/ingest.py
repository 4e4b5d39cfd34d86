"""How fast usage gets in: HTTP, checked, durable, chained, projected; beside a bare COPY of the same rows.

    python bench/ingest.py                            400,000 events
    python bench/ingest.py --events 20000000          takes 5 GB of memory for the requests, made before any clock runs
    python bench/ingest.py --json FILE                the figures, for a plot or a comparison

The ratio says more than the rate: both were measured on the same machine, minutes apart at most. Nothing is printed
unless every event was recorded and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import uvloop
from asking import ask_all, ask_paced, percentile, request
from limit import copy_bare, copy_log, recorder_rate
from memory import resident_megabytes
from service import ROOT, Target, headers, own_service
from workload import REQUEST_EVENTS, bodies, declare_meter, projected_total, rows, total

from projections.shape import LIVE

PATH = "/events/ingest"
CHUNK = 100_000
"""Events made at once."""

BARE_EVENTS = 400_000
"""Events of the bare COPY, or all where there are fewer: more of them change nothing in its rate."""

RECORDER_EVENTS = 50_000
SHARES = 10
"""Into so many parts a run is cut, to compare its end with its beginning."""

PACED_SECONDS = 15
FRESH_SECONDS = 0.01
"""How often the projected position is asked for while freshness is measured."""


class Receipt(msgspec.Struct):
    """What the measurement reads of an answer."""

    ingested_count: int
    position: int


class Figures(msgspec.Struct):
    """What a run came to. Rates are events a second, times are milliseconds; memory is megabytes of each process of the
    service, as the run went on."""

    date: str
    machine: str
    events: int
    connections: int
    workers: int
    durable: float
    projected: float
    bare: float
    log_alone: float
    recorder: float
    ratio: float
    shares: list[float]
    memory: dict[str, list[float]]
    request_p50: float
    request_p99: float
    fresh_full_p99: float
    fresh_half_p99: float
    rebuild: float


class Sent:
    """The answers of a run: when each came, what it said, how long it took."""

    def __init__(self) -> None:
        self.answers: list[tuple[float, Receipt]] = []
        self.seconds: list[float] = []

    def __call__(self, body: bytes, seconds: float) -> None:
        """Note an answer."""
        self.answers.append((time.perf_counter(), msgspec.json.decode(body, type=Receipt)))
        self.seconds.append(seconds)

    @property
    def recorded(self) -> int:
        """Events that were recorded."""
        return sum(receipt.ingested_count for _, receipt in self.answers)

    @property
    def position(self) -> int:
        """The last position that was answered."""
        return max(receipt.position for _, receipt in self.answers)

    def shares(self) -> list[float]:
        """The rates of the parts of the run, one after another."""
        size = len(self.answers) // SHARES
        ends = [self.answers[size * share][0] for share in range(SHARES)] + [self.answers[-1][0]]
        return [size * REQUEST_EVENTS / (end - begin) for begin, end in itertools.pairwise(ends)]


class Watching:
    """Watches how far the quantities are, beside a run."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._seen: list[tuple[float, int]] = []
        self._moved = asyncio.Event()

    async def __aenter__(self) -> Watching:
        self._connection = await asyncpg.connect(self._dsn, server_settings={"search_path": LIVE})
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close()

    async def _watch(self) -> None:
        while True:
            position = await self._connection.fetchval("select max(position) from progress")
            if position and (not self._seen or position > self._seen[-1][1]):
                self._seen.append((time.perf_counter(), position))
                self._moved.set()
            await asyncio.sleep(FRESH_SECONDS)

    async def until(self, position: int) -> None:
        """Wait until everything up to a position is visible."""
        while not self._seen or self._seen[-1][1] < position:
            self._moved.clear()
            await self._moved.wait()

    def fresh(self, sent: Sent) -> list[float]:
        """Of each answer, the seconds until what it recorded was visible."""
        found, seen = list[float](), iter(self._seen)
        at, position = next(seen)
        for answered, receipt in sorted(sent.answers, key=lambda answer: answer[1].position):
            while position < receipt.position:
                at, position = next(seen)
            found.append(max(0.0, at - answered))
        return found


async def watch_memory(pid: int, seen: list[dict[str, float]]) -> None:
    """Note each second what memory each process of the service has."""
    while True:
        seen.append(resident_megabytes(pid))
        await asyncio.sleep(1)


def by_process(seen: list[dict[str, float]]) -> dict[str, list[float]]:
    """Of each process the most that it had in each part of the run. A run of few seconds has fewer parts."""
    parts = min(SHARES, len(seen))
    ends = [len(seen) * part // parts for part in range(parts + 1)]
    return {
        name: [round(max(one.get(name, 0.0) for one in seen[a:b])) for a, b in itertools.pairwise(ends)]
        for name in seen[0]
    }


def made(target: Target, count: int, start: int, run: str) -> list[bytes]:
    """The requests of a run, ready to be written."""
    return [
        request(PATH, target.key, body)
        for first in range(start, start + count, CHUNK)
        for body in bodies(rows(min(CHUNK, start + count - first), first, run))
    ]


async def rebuilt(dsn: str) -> float:
    """The seconds that `taximeter rebuild` takes."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "rebuild", "--database-url", dsn),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        raise SystemExit("the rebuild failed")
    return time.perf_counter() - began


async def measure(target: Target, count: int, connections: int, workers: int) -> Figures:
    """The way in at full load and at half of it, beside what it is compared with."""
    run, sample = uuid4().hex[:12], rows(min(count, BARE_EVENTS))
    requests = made(target, count, 0, run)
    async with httpx.AsyncClient(
        base_url=target.url, headers=headers(target.key), timeout=60, trust_env=False
    ) as client:
        meter_id = await declare_meter(client)
        gc.freeze()  # What is to be sent need not be looked at by the garbage collector while the clock runs.
        bare = [await copy_bare(target.dsn, sample)]
        full, half, memory = Sent(), Sent(), list[dict[str, float]]()
        watching_memory = asyncio.create_task(watch_memory(target.pid, memory))
        async with Watching(target.dsn) as watching:
            began = time.perf_counter()
            durable = await ask_all(target.port, requests, connections, full)
            await watching.until(full.position)
            projected = time.perf_counter() - began
            fresh_full = watching.fresh(full)
        watching_memory.cancel()
        bare.append(await copy_bare(target.dsn, sample))
        pace = count / projected / 2
        paced = int(pace * PACED_SECONDS) // REQUEST_EVENTS * REQUEST_EVENTS
        async with Watching(target.dsn) as watching:
            later = iter(made(target, paced, count, run))
            await ask_paced(target.port, later, connections, REQUEST_EVENTS / pace, half)
            await watching.until(half.position)
            fresh_half = watching.fresh(half)
        found = await projected_total(client, meter_id, half.position)
    # A rate of events that were lost on the way would be worth nothing.
    recorded = full.recorded + half.recorded
    if recorded != count + paced or found != str(total(count + paced)):
        raise SystemExit(f"{recorded} of {count + paced} events were recorded, and the meter says {found}: no figure")
    rebuild = (count + paced) / await rebuilt(target.dsn)
    bare.append(await copy_bare(target.dsn, sample))
    limit = statistics.median(bare)
    return Figures(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=f"{os.cpu_count()} cores, Python {platform.python_version()}",
        events=count,
        connections=connections,
        workers=workers,
        durable=count / durable,
        projected=count / projected,
        bare=limit,
        log_alone=await copy_log(target.dsn, rows(len(sample))),
        recorder=recorder_rate(target.dsn, sample[:RECORDER_EVENTS]),
        ratio=count / projected / limit,
        shares=full.shares(),
        memory=by_process(memory),
        request_p50=percentile(full.seconds, 0.5) * 1_000,
        request_p99=percentile(full.seconds, 0.99) * 1_000,
        fresh_full_p99=percentile(fresh_full, 0.99) * 1_000,
        fresh_half_p99=percentile(fresh_half, 0.99) * 1_000,
        rebuild=rebuild,
    )


def told(figures: Figures) -> str:
    """The figures for people."""
    first, last = figures.shares[0], figures.shares[-1]
    memory = "   ".join(f"{name} {most[0]:,.0f} to {most[-1]:,.0f} MB" for name, most in figures.memory.items())
    lines = [
        f"{figures.date}, {figures.machine}; sender, service and PostgreSQL on the same cores",
        f"{figures.events:,} events in requests of {REQUEST_EVENTS:,}, {figures.connections} connections, "
        f"{figures.workers} web process{'es' if figures.workers > 1 else ''}",
        f"durable      {figures.durable:>9,.0f} events/s   a request p50 {figures.request_p50:.0f} ms, "
        f"p99 {figures.request_p99:.0f} ms",
        f"projected    {figures.projected:>9,.0f} events/s   the last tenth at {last / first:.0%} of the first",
        f"visible      p99 {figures.fresh_full_p99:,.0f} ms after the answer at full load, "
        f"{figures.fresh_half_p99:,.0f} ms at half",
        f"memory       {memory}",
        f"rebuild      {figures.rebuild:>9,.0f} events/s   all read models from the log, compared and swapped",
        f"bare COPY    {figures.bare:>9,.0f} events/s   the same rows, decoded, no key, one connection (median of 3)",
        f"log alone    {figures.log_alone:>9,.0f} events/s   into the log's tables, packed before, one connection",
        f"recorder     {figures.recorder:>9,.0f} events/s   the eventsourcing library's own for PostgreSQL, rows alone",
        f"ratio        {figures.ratio:>9.1%}            projected to bare COPY",
    ]
    return "\n".join(lines)


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="Ingest end to end, beside a bare COPY.")
    parser.add_argument("--events", type=int, default=400_000, help="how many (default: 400000)")
    parser.add_argument("--connections", type=int, default=4, help="requests in flight (default: 4)")
    parser.add_argument("--workers", type=int, default=1, help="web processes (default: 1)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    flags = parser.parse_args()
    async with own_service(flags.workers) as target:
        figures = await measure(target, flags.events, flags.connections, flags.workers)
    print(told(figures))
    if flags.json:
        flags.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))


if __name__ == "__main__":
    uvloop.run(main())
