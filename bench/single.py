"""Single events on many connections, beside a route of the same server that only decodes the body.

    python bench/single.py                            200 connections, one event a request

Both are asked by the same client on the same cores, in turns. What the second route answers is what this server and
this client can do at all, so the ratio says what recording costs: durable, de-duplicated, chained and projected.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx
import msgspec
import uvloop
from asking import ask_all, percentile, request
from close import RULES
from service import ROOT, START_SECONDS, fresh_home, headers
from single_server import DECODE
from workload import bodies, declare_meter, projected_total, rows, total

from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.keys import create_key, system_caller

INGEST = "/events/ingest"
TENANT = "bench"
ROUNDS = 3
"""How often both routes are measured, in turns: the machine's speed drifts."""

WARM_REQUESTS = 2_000
ALONE_REQUESTS = 300


@dataclass
class Run:
    """What came out of one route: requests a second, and how long each took in seconds."""

    rate: float
    seconds: list[float]


def made(path: str, key: str, count: int) -> list[bytes]:
    """Requests of one event each, ready to be written."""
    return [request(path, key, body) for body in bodies(rows(count), each=1)]


async def ask(port: int, path: str, key: str, count: int, connections: int) -> Run:
    """Send so many requests over so many connections."""
    times: list[float] = []
    requests = made(path, key, count)
    seconds = await ask_all(port, requests, connections, lambda _, took: times.append(took))
    return Run(count / seconds, times)


@asynccontextmanager
async def serving(dsn: str) -> AsyncIterator[int]:
    """A web process and a projector on a database; the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        web = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "bench" / "single_server.py"), dsn, str(listener.fileno())),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'bench'}"},
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
    projector = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "project", "--database-url", dsn), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        for process in (web, projector):
            process.terminate()
            await process.wait()


class Figures(msgspec.Struct):
    """What a run came to. Rates are requests a second, the median of the rounds; times are milliseconds."""

    date: str
    machine: str
    requests: int
    connections: int
    decoded: float
    recorded: float
    ratio: float
    ratios: list[float]
    decoded_p50: float
    decoded_p99: float
    recorded_p50: float
    recorded_p99: float
    alone_p50: float
    alone_p99: float


async def measure(dsn: str, key: str, count: int, connections: int) -> Figures:
    """Both routes in turns, then one connection alone."""
    options = {"headers": headers(key), "timeout": START_SECONDS, "trust_env": False}
    async with serving(dsn) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", **options) as client:
        meter_id = await declare_meter(client)
        for path in (DECODE, INGEST):
            await ask(port, path, key, WARM_REQUESTS, connections)
        decoded, recorded = list[Run](), list[Run]()
        for _ in range(ROUNDS):
            decoded.append(await ask(port, DECODE, key, count, connections))
            recorded.append(await ask(port, INGEST, key, count, connections))
        alone = await ask(port, INGEST, key, ALONE_REQUESTS, 1)
        expected = total(WARM_REQUESTS) + ROUNDS * total(count) + total(ALONE_REQUESTS)
        position = (await client.get("/log/head")).json()["position"]
        found = await projected_total(client, meter_id, position)
    # A rate of events that were lost on the way would be worth nothing.
    if found != str(expected):
        raise SystemExit(f"the meter says {found}, not {expected}: no figure")
    ratios = [one.rate / other.rate for one, other in zip(recorded, decoded, strict=True)]
    return Figures(
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} cores, Python {platform.python_version()}",
        count,
        connections,
        median(run.rate for run in decoded),
        median(run.rate for run in recorded),
        median(ratios),
        sorted(ratios),
        *quantiles(decoded),
        *quantiles(recorded),
        *quantiles([alone]),
    )


def quantiles(runs: list[Run]) -> tuple[float, float]:
    """The middle and the slow end of all requests, in milliseconds."""
    times = [second * 1_000 for run in runs for second in run.seconds]
    return percentile(times, 0.5), percentile(times, 0.99)


def told(figures: Figures) -> str:
    """The figures for people."""
    one = figures
    lines = [
        f"{one.date}, {one.machine}",
        f"{ROUNDS} rounds of {one.requests:,} requests of one event, {one.connections} connections, one web process",
        f"only decoded  {one.decoded:>8,.0f} requests/s   {_spread(one.decoded_p50, one.decoded_p99)}",
        f"recorded      {one.recorded:>8,.0f} requests/s   {_spread(one.recorded_p50, one.recorded_p99)}",
        f"ratio         {one.ratio:>8.2f}  ({one.ratios[0]:.2f} to {one.ratios[-1]:.2f}) of the one that only decodes",
        f"alone         {_spread(one.alone_p50, one.alone_p99)}",
    ]
    return "\n".join(lines)


def _spread(middle: float, slow: float) -> str:
    return f"p50 {middle:.1f} ms   p99 {slow:.1f} ms"


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="Single events, beside a route that only decodes them.")
    parser.add_argument("--requests", type=int, default=10_000, help="of each round (default: 10000)")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    flags = parser.parse_args()
    home = fresh_home()
    try:
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            async with open_service(engine.dsn, RULES) as service:
                _, key = await create_key(service, system_caller(TENANT), scope="write")
            figures = await measure(engine.dsn, key, flags.requests, flags.connections)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(told(figures))
    if flags.json:
        flags.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))


if __name__ == "__main__":
    uvloop.run(main())
