"""What live dashboards see: thousands of sockets while usage arrives, all on one machine, the generator included.

    python bench/live.py                                        5,000 sockets, 5,000 events a second, one minute
    python bench/live.py --sockets 500 --events 1000 --seconds 20

Two tenants have customers of the same ids. Each socket watches one customer. Some never read, some hang up and come
back all the time; then, with the load going on and told apart in the figures, many are cut at once. At the end every
viewer must have seen exactly what was sent for its customer, nobody may have seen a value go back, and nobody a
stranger's: otherwise there is no figure.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import random
import shutil
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import uvloop
from asking import percentile
from close import RULES, TOKENS, declare, subscribe_all
from memory import resident_megabytes
from service import fresh_home, headers, served
from sockets import Outcome, Seat, endpoint

from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.keys import create_key, system_caller

TENANTS = ("one", "two")
RAMP_AT_ONCE = 20
"""Sockets that connect at the same time."""

REQUESTS_PER_SECOND = 10
WATCHED_REQUESTS = 4
"""Of so many requests one is watched until every viewer has seen it: watching all of them costs more than sending."""

WARM_SECONDS = 5
"""The load goes on for so long before it is measured: at its first moment everybody's values are due at once."""

CUT_SECONDS = 15
CUT_AFTER = 3
"""After the measurement the load goes on for so long, and so far into it many are cut."""

SETTLE_SECONDS = 30
ENDING_SOCKETS = 100
ALONE_EVENTS = 200
ALONE_PAUSE = 0.05


@dataclass
class Business:
    """A tenant under load: its key, its viewers by customer, and the events sent for each customer."""

    name: str
    key: str
    seats: dict[str, list[Seat]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)


async def found_businesses(dsn: str, customers: int) -> list[Business]:
    """Two tenants with a meter, a product and subscribed customers each, made beside the service."""
    start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    made: list[Business] = []
    async with open_service(dsn, RULES) as service:
        for name in TENANTS:
            caller = system_caller(f"{name}-{uuid4().hex[:8]}")
            await declare(service, caller)
            await subscribe_all(service, caller, customers, start, f"{name}-")
            _, secret = await create_key(service, caller, scope="write")
            made.append(Business(name, secret))
    return made


def seats_of(businesses: list[Business], url: str, flags: argparse.Namespace, outcome: Outcome) -> list[Seat]:
    """The viewers: as many of each tenant, spread evenly over the customers; every so many never reads."""
    host, port = endpoint(url)
    every = round(1 / flags.never_read) if flags.never_read else flags.sockets + 1
    seats: list[Seat] = []
    for number in range(flags.sockets):
        business = businesses[number % len(businesses)]
        customer_id = f"customer-{number // len(businesses) % flags.customers}"
        seat = Seat(
            host, port, business.key, customer_id, f"{business.name}-", outcome, reads=(number + 1) % every != 0
        )
        business.seats.setdefault(customer_id, []).append(seat)
        seats.append(seat)
    return seats


async def connect_all(seats: list[Seat]) -> float:
    """Connect everybody; seconds that it took."""
    began, waiting = time.perf_counter(), iter(seats)

    async def some() -> None:
        for seat in waiting:
            await seat.connect()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(RAMP_AT_ONCE):
            tasks.create_task(some())
    return time.perf_counter() - began


async def send(client: httpx.AsyncClient, business: Business, customers: list[str], *, watched: bool = True) -> None:
    """One request with an event for each of the customers; whoever watches them is owed its position."""
    batch = uuid4().hex
    events = [
        {
            "event_id": f"{batch}-{number}",
            "customer_id": customer_id,
            "event_name": "llm.completion",
            "metadata": {"tokens": TOKENS, "model": "large", "region": "eu-central"},
        }
        for number, customer_id in enumerate(customers)
    ]
    answered = await client.post(
        "/events/ingest", content=msgspec.json.encode({"events": events}), headers=headers(business.key)
    )
    at = time.perf_counter()
    answered.raise_for_status()
    position = answered.json()["position"]
    for customer_id in customers:
        business.sent[customer_id] = business.sent.get(customer_id, 0) + 1
        for seat in business.seats.get(customer_id, ()) if watched else ():
            seat.answered(position, at)


async def load(client: httpx.AsyncClient, businesses: list[Business], flags: argparse.Namespace, seconds: int) -> float:
    """Send at the rate for so long, customers in turn; the rate that was reached."""
    size, turn = flags.events // REQUESTS_PER_SECOND, itertools.count()
    began, sent = time.perf_counter(), 0
    async with asyncio.TaskGroup() as tasks:
        for number in range(seconds * REQUESTS_PER_SECOND):
            pause = began + number / REQUESTS_PER_SECOND - time.perf_counter()
            await asyncio.sleep(max(0.0, pause))
            business = businesses[number % len(businesses)]
            customers = [f"customer-{next(turn) % flags.customers}" for _ in range(size)]
            watched = number // len(businesses) % WATCHED_REQUESTS == 0
            tasks.create_task(send(client, business, customers, watched=watched))
            sent += size
    return sent / (time.perf_counter() - began)


async def churn(seats: list[Seat], flags: argparse.Namespace) -> None:
    """A share of the readers hangs up and comes back each minute."""
    readers, chance = [seat for seat in seats if seat.reads], random.Random(7)
    each_second = round(len(readers) * flags.reconnecting / 60)
    for _ in range(flags.seconds):
        await asyncio.sleep(1)
        await asyncio.gather(*(seat.cut() for seat in chance.sample(readers, each_second)))


async def cut_many(seats: list[Seat], cuts: int) -> float:
    """So many lose the connection at once and all come back at once; seconds until the last is back."""
    await asyncio.sleep(CUT_AFTER)
    chosen = random.Random(8).sample([seat for seat in seats if seat.reads], cuts)
    began = time.perf_counter()
    await asyncio.gather(*(seat.cut() for seat in chosen))
    return time.perf_counter() - began


async def watch_memory(pid: int, highest: dict[str, float]) -> None:
    """Note, each second, the most memory that each process had."""
    while True:
        for name, megabytes in resident_megabytes(pid).items():
            highest[name] = max(megabytes, highest.get(name, 0.0))
        await asyncio.sleep(1)


async def settle(businesses: list[Business], seats: list[Seat]) -> list[Seat]:
    """Wait until every reader has seen all that was sent; whoever has not in time."""
    expected = {
        (business.name + "-", customer_id): Decimal(count * TOKENS)
        for business in businesses
        for customer_id, count in business.sent.items()
    }
    deadline = time.perf_counter() + SETTLE_SECONDS
    while True:
        late = [
            seat for seat in seats if seat.reads and seat.quantity != expected.get((seat.prefix, seat.customer_id), 0)
        ]
        if not late or time.perf_counter() > deadline:
            return late
        await asyncio.sleep(0.2)


async def end_tokens(client: httpx.AsyncClient, business: Business, url: str) -> list[float]:
    """Revoke tokens whose sockets are open; the seconds until each socket was closed."""
    host, port = endpoint(url)
    seats: list[tuple[Seat, str]] = []
    for number in range(min(ENDING_SOCKETS, len(business.sent))):
        answered = await client.post(
            "/customer-tokens", json={"customer_id": f"customer-{number}"}, headers=headers(business.key)
        )
        answered.raise_for_status()
        minted = answered.json()
        seat = Seat(host, port, minted["token"], f"customer-{number}", f"{business.name}-", Outcome())
        await seat.connect()
        seats.append((seat, minted["token_id"]))
    taken: list[float] = []

    async def end(seat: Seat, token_id: str) -> None:
        (await client.delete(f"/customer-tokens/{token_id}", headers=headers(business.key))).raise_for_status()
        began = time.perf_counter()
        await seat.ended.wait()
        taken.append(time.perf_counter() - began)

    async with asyncio.timeout(SETTLE_SECONDS):
        await asyncio.gather(*(end(seat, token_id) for seat, token_id in seats))
    return taken


async def alone(client: httpx.AsyncClient, business: Business, url: str) -> list[float]:
    """One socket, one event at a time: from its answer to its value on the socket."""
    host, port = endpoint(url)
    seat = Seat(host, port, business.key, "customer-0", f"{business.name}-", Outcome())
    business.seats = {"customer-0": [seat]}
    await seat.connect()
    for _ in range(ALONE_EVENTS):
        await send(client, business, ["customer-0"])
        await asyncio.sleep(ALONE_PAUSE)
    await asyncio.sleep(1)
    if seat.owed or seat.outcome.errors:
        raise SystemExit(f"{len(seat.owed)} values never came, errors {seat.outcome.errors[:3]}: no figure")
    if seat.connection is not None:
        seat.connection.abort()
    return seat.outcome.delays


async def measure(url: str, pid: int, businesses: list[Business], flags: argparse.Namespace) -> dict[str, Any]:
    """Run every part; the figures."""
    outcome, highest = Outcome(), dict[str, float]()
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
        single = await alone(client, businesses[0], url)
        businesses[0].seats = {}
        seats = seats_of(businesses, url, flags, outcome)
        connecting = await connect_all(seats)
        await asyncio.gather(*(seat.shown.wait() for seat in seats if seat.reads))
        print(f"{len(seats):,} sockets connected in {connecting:.1f} s and shown everything", file=sys.stderr)
        memory = asyncio.create_task(watch_memory(pid, highest))
        await load(client, businesses, flags, WARM_SECONDS)
        outcome.delays.clear()
        churning = asyncio.create_task(churn(seats, flags))
        rate = await load(client, businesses, flags, flags.seconds)
        await churning
        late = await settle(businesses, seats)
        steady, outcome.delays = outcome.delays, []
        cutting = asyncio.create_task(cut_many(seats, flags.cuts))
        await load(client, businesses, flags, CUT_SECONDS)
        back = await cutting
        late += await settle(businesses, seats)
        memory.cancel()
        for seat in seats:
            if seat.connection is not None:
                seat.connection.abort()
        ended = await end_tokens(client, businesses[0], url)
    wrong = {
        "late": len(late),
        "foreign": outcome.foreign,
        "went_back": outcome.went_back,
        "errors": outcome.errors[:3],
    }
    if any(wrong.values()):
        raise SystemExit(f"{wrong}: no figure")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sockets": len(seats),
        "never_read": sum(not seat.reads for seat in seats),
        "customers": flags.customers * len(businesses),
        "events_per_second": round(rate),
        "seconds": flags.seconds,
        "reconnects": sum(seat.reconnects for seat in seats),
        "deliveries": outcome.deliveries,
        "foreign": outcome.foreign,
        "went_back": outcome.went_back,
        "seen_ms": _milliseconds(steady),
        "cuts_at_once": flags.cuts,
        "all_back_s": round(back, 1),
        "seen_while_cut_ms": _milliseconds(outcome.delays),
        "alone_ms": _milliseconds(single),
        "token_end_s": round(max(ended), 2),
        "memory_mb": {name: round(megabytes) for name, megabytes in highest.items()},
        "memory_mb_all": round(sum(highest.values())),
    }


SHARES = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


def _milliseconds(delays: list[float]) -> dict[str, float]:
    return {name: round(percentile(delays, share) * 1e3, 1) for name, share in SHARES}


def table(figures: dict[str, Any]) -> str:
    """The figures as one table."""
    rows = [f"{name:<20} {figures[name]}" for name in figures if not isinstance(figures[name], dict)]
    rows += [
        f"{name:<20} " + "  ".join(f"{part} {value}" for part, value in figures[name].items())
        for name in ("seen_ms", "seen_while_cut_ms", "alone_ms", "memory_mb")
    ]
    return "\n".join(rows)


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description="Live sockets under load.")
    parser.add_argument("--sockets", type=int, default=5_000, help="how many (default: 5000)")
    parser.add_argument("--customers", type=int, default=500, help="of each of the two tenants (default: 500)")
    parser.add_argument("--events", type=int, default=5_000, help="per second (default: 5000)")
    parser.add_argument("--seconds", type=int, default=60, help="of load (default: 60)")
    parser.add_argument("--never-read", type=float, default=0.05, help="share of sockets (default: 0.05)")
    parser.add_argument("--reconnecting", type=float, default=0.05, help="share of readers each minute (default: 0.05)")
    parser.add_argument("--cuts", type=int, default=1_000, help="cut at once, after that (default: 1000)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


async def main() -> None:
    """Measure once."""
    flags, home, pids = arguments(), fresh_home(), list[int]()
    try:
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            businesses = await found_businesses(engine.dsn, flags.customers)
            async with served(engine.dsn, pids) as url:
                figures = await measure(url, pids[0], businesses, flags)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(table(figures))
    if flags.json:
        flags.json.write_text(msgspec.json.format(msgspec.json.encode(figures)).decode() + "\n")


if __name__ == "__main__":
    uvloop.run(main())
