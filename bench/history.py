"""Whether what a tenant, a customer or a meter costs grows with the history behind it.

    python bench/history.py                             histories of 10^5 and 10^6 events
    python bench/history.py --sizes 100000 1000000 10000000

One tenant's log grows to each size in turn: 1,000 customers with an event every six minutes, all of it before the cycle
that is measured, so that only the history differs. Then a running service is asked the same things over HTTP, and as
many cycles with ten events each are closed. What was sent has to be visible, and every invoice has to come to what it
should: otherwise there is no figure.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import uvloop
from audit import settle
from close import COMMIT_EVENTS, EXPECTED_EACH, RULES, dated, declare, last_month, subscribe_all, use_all
from memory import resident_megabytes
from service import fresh_home, served
from workload import CUSTOMERS, METADATA, REQUEST_EVENTS, TOKENS, bodies, rows

from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.event_log import Sent, append_usage
from app.keys import create_key, system_caller
from app.service import Caller, Service
from domain.event import UsageEvent

REPEATS = 20
"""How often each thing is done at each size; the median is told."""

STEP = timedelta(minutes=6)
BEFORE = timedelta(days=60)
"""How long before the measured cycle the history begins: ten million events take 42 days."""

SECONDS_MAX = 60.0
"""For a request; none of them waits for longer than a position takes to be projected, or is answered TOO_EARLY."""

TOO_EARLY = httpx.codes.SERVICE_UNAVAILABLE


class Figures(msgspec.Struct):
    """Milliseconds of each thing (medians), and megabytes of the service's processes, by the size of the history."""

    date: str
    machine: str
    milliseconds: dict[str, dict[int, float]]
    megabytes: dict[str, dict[int, float]]


async def record(service: Service, tenant_id: str, first: int, last: int, begin: datetime) -> None:
    """The events ``first`` to ``last`` of the history, each customer's one after another."""
    async with service.pool.acquire() as connection:
        for at in range(first, last, COMMIT_EVENTS):
            sent = [
                UsageEvent(
                    f"old-{n:09d}",
                    "llm.completion",
                    f"customer-{n % CUSTOMERS}",
                    begin + n // CUSTOMERS * STEP,
                    METADATA % (n % TOKENS, n % 900),
                )
                for n in range(at, min(at + COMMIT_EVENTS, last))
            ]
            await append_usage(connection, tenant_id, [Sent(sent)], service.clock())


class Asked:
    """A service that is asked over HTTP, and how long each thing took."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.took: dict[str, list[float]] = {}

    async def request(self, what: str, method: str, path: str, **more: Any) -> Any:
        """Ask one thing; its answer. What is not projected yet is asked for again."""
        began = time.perf_counter()
        while (answered := await self._client.request(method, path, **more)).status_code == TOO_EARLY:
            pass
        self.took.setdefault(what, []).append((time.perf_counter() - began) * 1_000)
        answered.raise_for_status()
        return answered.json()

    async def usage(self, what: str, at_least: int, span: tuple[datetime, datetime], customer: int) -> str:
        """A customer's quantity in a span, as soon as everything up to a position is in it."""
        start, end = (at.isoformat() for at in span)
        asked = {"start": start, "end": end, "customer_id": f"customer-{customer}", "at_least": at_least}
        return (await self.request(what, "GET", "/meters/tokens/usage", params=asked))["quantity"]


async def measure_one(asked: Asked, number: int, month: tuple[datetime, datetime]) -> None:
    """Each thing once, for a customer whose cycle is still open."""
    [body] = bodies(rows(REQUEST_EVENTS, 0, f"new-{number}"))
    receipt = await asked.request("1,000 events recorded", "POST", "/events/ingest", content=body)
    assert receipt["ingested_count"] == REQUEST_EVENTS
    await asked.usage("visible after the answer", receipt["position"], month, number)
    again = await asked.request("the same 1,000 again", "POST", "/events/ingest", content=body)
    assert again["duplicate_count"] == REQUEST_EVENTS
    await asked.usage("a customer's usage of a month", 0, month, number)
    subscription_id = f"sub-{number}"
    await asked.request("an estimate", "GET", f"/subscriptions/{subscription_id}/estimate")
    events = {"customer_id": f"customer-{number}", "page_size": 100}
    await asked.request("a customer's newest events", "GET", "/events", params=events)
    closed = await asked.request("a cycle closed", "POST", f"/subscriptions/{subscription_id}/close-cycle")
    assert closed["total_amount"] == EXPECTED_EACH, closed
    await asked.request("the invoice explained", "GET", f"/invoices/{closed['invoice_id']}/explain")


@asynccontextmanager
async def asking(dsn: str, key: str, pids: list[int]) -> AsyncIterator[Asked]:
    """A service on the database."""
    async with (
        served(dsn, pids) as url,
        httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=httpx.Timeout(SECONDS_MAX)
        ) as client,
    ):
        yield Asked(client)


async def prepared(service: Service, caller: Caller, customers: int, start: datetime) -> str:
    """Everything but the history: customers whose last cycle has ten events, and a key."""
    await declare(service, caller)
    _, key = await create_key(service, caller, scope="write")
    await subscribe_all(service, caller, customers, start)
    await use_all(service, caller, customers, start)
    return key


async def measure(dsn: str, sizes: list[int], tell: Callable[[str], None]) -> Figures:
    """Let one log grow through all the sizes."""
    caller, figures = system_caller(f"bench-{uuid4().hex[:12]}"), Figures(*dated(), {}, {})
    async with open_service(dsn, RULES) as service:
        start = last_month(service.clock())
        month = (start, service.clock())
        key = await prepared(service, caller, REPEATS * len(sizes), start)
        recorded, pids = 0, list[int]()
        async with asking(dsn, key, pids) as asked:
            for place, size in enumerate(sizes):
                began = time.perf_counter()
                await record(service, caller.tenant_id, recorded, size, start - BEFORE)
                recorded = size
                await asked.usage("projected", await end_of(service, caller), month, 0)
                tell(f"{size:,} events of history after {time.perf_counter() - began:.0f} s")
                await settle(dsn)
                asked.took = {}
                for repeat in range(REPEATS):
                    await measure_one(asked, place * REPEATS + repeat, month)
                for what, took in asked.took.items():
                    figures.milliseconds.setdefault(what, {})[size] = median(took)
                for process, megabytes in resident_megabytes(pids[0]).items():
                    figures.megabytes.setdefault(process, {})[size] = megabytes
    return figures


async def end_of(service: Service, caller: Caller) -> int:
    """Where the log ends."""
    return await service.pool.fetchval("select position from log.head where tenant_id = $1", caller.tenant_id)


def told(figures: Figures) -> str:
    """The figures for people: a line for each thing, a column for each size, and the last beside the first."""
    sizes = list(next(iter(figures.milliseconds.values())))
    lines = [f"{figures.date}, {figures.machine}; medians of {REPEATS}"]
    lines.append(f"{'events of history':<30}" + "".join(f"{size:>14,}" for size in sizes))
    for unit, table in (("ms", figures.milliseconds), ("MB", figures.megabytes)):
        for what, found in table.items():
            cells = "".join(f"{found[size]:>11,.1f} {unit}" for size in sizes)
            lines.append(f"{what:<30}{cells}   {found[sizes[-1]] / found[sizes[0]]:.2f} times")
    return "\n".join(lines)


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="What things cost, by the history behind them.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="events of history")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    flags = parser.parse_args()
    home = fresh_home()
    try:
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            figures = await measure(engine.dsn, sorted(flags.sizes), lambda line: print(line, file=sys.stderr))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(told(figures))
    if flags.json is not None:
        flags.json.write_bytes(msgspec.json.encode(figures))


if __name__ == "__main__":
    uvloop.run(main())
