"""What a simulation costs those who send usage at the same time: full ingest with and without one beside it, in turn.

    python bench/simulating.py                    200 customers, 3 spans of 20 seconds each way
    python bench/simulating.py --meter            the proposal counts with a new meter, in the log itself

Rates are of a machine that others may use, so both ways alternate in one run; CPU time says what a
simulation takes when it has the service for itself.
Nothing is printed unless every invoice was reproduced by the prices that it has.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import uvloop
from asking import ask_all, request
from cpu import cpu, parent_of
from service import BENCH_KEY, Target, fresh_home, headers, served
from workload import CUSTOMERS, REQUEST_EVENTS, bodies, declare_meter, rows

from app.engine.launcher import embedded

CONNECTIONS = 8
SEED_EVENTS = 100_000

SETTLE_SECONDS = 3
"""After the closes, so that what follows them is not counted as the simulation's."""


class Phase(msgspec.Struct):
    """One span: events recorded, its seconds, CPU seconds of service and database, customers simulated meanwhile."""

    events: int
    seconds: float
    cpu: float
    customers: int

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds


def last_month() -> date:
    """The first day of last month."""
    return (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1)


async def business(client: httpx.AsyncClient, customers: int) -> tuple[str, str]:
    """A product with one meter, and customers who were invoiced for last month's usage; ids of meter and product."""
    (await client.patch("/settings", json={"event_age_max": "none"})).raise_for_status()
    meter_id = await declare_meter(client)
    price: dict[str, Any] = {
        "type": "usage_based_price",
        "currency": "USD",
        "fixed_price": 500,
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
        "subscription_period_count": 20,
        "subscription_period_interval": "Year",
        "meters": [{"meter_id": meter_id, "price_per_unit": "0.1", "free_threshold": 10_000}],
    }
    made = await client.post("/products", json={"name": "API", "tax_category": "saas", "price": price})
    product_id = made.raise_for_status().json()["product_id"]
    start = last_month()
    seeded = [(*row[:3], datetime(start.year, start.month, 2, tzinfo=UTC), row[4]) for row in rows(SEED_EVENTS)]
    for body in bodies(seeded):
        (await client.post("/events/ingest", content=body)).raise_for_status()
    for number in range(customers):
        name = f"customer-{number}"
        await client.post("/customers", json={"customer_id": name, "email": f"{number}@example.com", "name": name})
        order = {"customer": {"customer_id": name}, "billing": {"country": "US"}, "product_id": product_id}
        made = await client.post("/subscriptions", json={**order, "quantity": 1, "anchor_date": start.isoformat()})
        subscription_id = made.raise_for_status().json()["subscription_id"]
        (await client.post(f"/subscriptions/{subscription_id}/close-cycle", json={})).raise_for_status()
    return meter_id, product_id


def proposal(meter_id: str, product_id: str, *, new_meter: bool) -> dict[str, Any]:
    """Another price over all cycles that there are; with a new meter, that one in place of the old."""
    line = {"meter_id": "large" if new_meter else meter_id, "price_per_unit": "0.2"}
    body: dict[str, Any] = {
        "start": f"{last_month().isoformat()}T00:00:00Z",
        "products": [{"product_id": product_id, "meters": [line]}],
    }
    if new_meter:
        clause = {"key": "model", "operator": "equals", "value": "large"}
        body["products"][0]["without_meters"] = [meter_id]
        body["meters"] = [
            {
                "meter_id": "large",
                "name": "Tokens of large models",
                "event_name": "llm.completion",
                "aggregation": {"type": "sum", "key": "tokens"},
                "measurement_unit": "token",
                "filter": {"conjunction": "and", "clauses": [clause]},
            }
        ]
    return body


class Simulating:
    """Asks for one simulation after another until it is cancelled, and counts their customers."""

    def __init__(self, target: Target, body: dict[str, Any]) -> None:
        self._target = target
        self._body = body
        self.customers = 0

    async def run(self) -> None:
        """Never ends. Raises when an invoice is not reproduced."""
        async with httpx.AsyncClient(
            base_url=self._target.url, headers=headers(self._target.key), timeout=600, trust_env=False
        ) as client:
            while True:
                await self.one(client)

    async def one(self, client: httpx.AsyncClient) -> None:
        """One simulation, to its end. Another that is being ended is waited for."""
        async with client.stream("POST", "/simulations", json=self._body, params={"detail": "amounts"}) as answered:
            if answered.status_code == httpx.codes.CONFLICT:
                await asyncio.sleep(0.2)
                return
            answered.raise_for_status()
            async for line in answered.aiter_lines():
                told = msgspec.json.decode(line)
                self.customers += told["type"] == "customer"
                if told["type"] == "totals" and told["invoices"] != told["invoices_reproduced"]:
                    raise SystemExit(f"invoices were not reproduced: {told}")


class Bench:
    """A service, its processes, and requests that are made before any clock of theirs runs."""

    def __init__(self, target: Target, pids: tuple[int, int]) -> None:
        self._target = target
        self._pids = pids
        self.requests: Iterator[bytes] = iter(())

    def cpu(self) -> float:
        """CPU seconds of the service and the database so far."""
        return sum(cpu(pid).server for pid in self._pids)

    async def phase(self, seconds: float, simulating: Simulating | None) -> Phase:
        """Send as much as is taken for so long."""
        answers = 0

        def answered(_: bytes, __: float) -> None:
            nonlocal answers
            answers += 1

        beside = asyncio.create_task(simulating.run()) if simulating else None
        done_before = simulating.customers if simulating else 0
        used, until = self.cpu(), time.perf_counter() + seconds
        some = takewhile(lambda _: time.perf_counter() < until, self.requests)
        took = await ask_all(self._target.port, some, CONNECTIONS, answered)
        spent = self.cpu() - used
        if beside is not None:
            failed = beside.done() and not beside.cancelled()
            beside.cancel()
            with suppress(asyncio.CancelledError):
                await beside
            assert not failed, "the simulations ended"
        done = simulating.customers - done_before if simulating else 0
        return Phase(answers * REQUEST_EVENTS, took, spent, done)


def report(alone: list[Phase], beside: list[Phase], only: Phase) -> None:
    """Print what the spans came to, and the simulation that had the service for itself."""
    without, with_one = (statistics.median(phase.rate for phase in phases) for phases in (alone, beside))
    share, cores = only.cpu / only.seconds, os.cpu_count() or 1
    simulated = sum(phase.customers for phase in beside) / sum(phase.seconds for phase in beside)
    print(f"ingest alone:               {without:10,.0f} events/s   {[round(phase.rate) for phase in alone]}")
    print(f"ingest beside a simulation: {with_one:10,.0f} events/s   {[round(phase.rate) for phase in beside]}")
    print(f"ratio:                      {with_one / without:10.3f}")
    print(f"simulated beside ingest:    {simulated:10.1f} customers/s")
    print(f"simulated alone:            {only.customers / only.seconds:10.1f} customers/s of two cycles each")
    print(f"its CPU, alone:             {share:10.3f} s a second, {share / cores:.1%} of {cores} cores")
    print(f"its CPU for a customer:     {only.cpu / only.customers * 1_000:10.1f} ms")


async def run(flags: argparse.Namespace) -> None:
    """The whole bench, in a directory that is gone afterwards."""
    home = fresh_home()
    try:
        await measure(home, flags)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def measure(home: Path, flags: argparse.Namespace) -> None:
    """Bill customers, simulate alone, then send usage with and without a simulation beside, in turn."""
    pids = list[int]()
    async with embedded(home / "data") as engine, served(engine.dsn, pids, key=BENCH_KEY) as url:
        target = Target(url, BENCH_KEY, engine.dsn, pids[0])
        connection = await asyncpg.connect(engine.dsn)
        server = parent_of(await connection.fetchval("select pg_backend_pid()"))
        await connection.close()
        async with httpx.AsyncClient(base_url=url, headers=headers(BENCH_KEY), timeout=120, trust_env=False) as client:
            meter_id, product_id = await business(client, flags.customers)
            simulating = Simulating(target, proposal(meter_id, product_id, new_meter=flags.meter))
            await asyncio.sleep(SETTLE_SECONDS)
            bench = Bench(target, (pids[0], server))
            began, used = time.perf_counter(), bench.cpu()
            await simulating.one(client)
            only = Phase(0, time.perf_counter() - began, bench.cpu() - used, simulating.customers)
        wanted = int(flags.rate_max * flags.seconds * flags.pairs * 2)
        bench.requests = (request("/events/ingest", BENCH_KEY, body) for body in list(bodies(rows(wanted))))
        await bench.phase(flags.seconds / 2, None)
        alone, beside = list[Phase](), list[Phase]()
        for pair in range(flags.pairs):
            # The order changes, so that a machine that slows down or wakes up favours neither.
            for quiet in (True, False) if pair % 2 == 0 else (False, True):
                phase = await bench.phase(flags.seconds, None if quiet else simulating)
                (alone if quiet else beside).append(phase)
        if next(bench.requests, None) is None:
            raise SystemExit("more was taken in than was made before it ran: give a higher --rate-max; no figure")
        report(alone, beside, only)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=200, help=f"customers to bill, {CUSTOMERS} at most")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of each span; a simulation takes some to find its pace"
    )
    parser.add_argument("--pairs", type=int, default=3, help="spans each way")
    parser.add_argument("--rate-max", type=int, default=60_000, help="events made for each second before it runs")
    parser.add_argument("--meter", action="store_true", help="propose a new meter")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
