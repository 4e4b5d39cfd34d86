"""How fast what is due closes: so many subscriptions with usage, closed by one `taximeter close-due`.

    python bench/close.py                       on an embedded server of its own
    python bench/close.py --subscriptions 500   a smaller run
    python bench/close.py --ingest 10000        so many events a second arrive through a service meanwhile
    python bench/close.py --profile             in this process, and says what a close asks of the database
    python bench/close.py --events 1000000      instead: one customer with so many events in the cycle

Every subscription has a customer of its own, a fixed fee, a metered price with a free threshold, and ten events in the
cycle that closes. The total of the invoices is checked: a rate of wrong invoices would be worth nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import cast
from uuid import uuid4

import msgspec
from cpu import cpu, parent_of
from paced import Paced
from service import ROOT, fresh_home, served
from watched import Seen, WatchedPool

from app.billing import close_cycle
from app.close_progress import Summary, close_telling
from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.event_log import Sent, append_usage
from app.keys import create_key, system_caller
from app.opening import open_cycles
from app.projecting import project_all
from app.service import Caller, Pool, Service
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.customer import Customer
from domain.cycle import Anchor, Interval, Unit
from domain.event import UsageEvent
from domain.meter import Meter
from domain.plan import Item
from domain.price import UNTIL_CANCELLED, MeterPrice, Price
from domain.product import Product
from domain.subscription import Subscription
from domain.tenant import Rules

MONTH = Interval(count=1, unit=Unit.Month)
RULES = Rules(event_ahead_max=None, event_age_max=None, close_grace=timedelta(), number_prefix="INV-", company={})
EVENTS_EACH = 10
TOKENS = 100
FEE, FREE = 500, 200
EXPECTED_EACH = FEE + (EVENTS_EACH * TOKENS - FREE) // 2
"""What one invoice comes to, at half a minor unit per token."""

COMMIT_SUBSCRIPTIONS = 250
COMMIT_EVENTS = 5_000
SLOWEST_SHOWN = 12
WARM_SECONDS = 10
"""The load goes on for so long before the closing begins, to have something to compare with."""

LARGE_CLOSES = 9

CHECK = """
select count(*) as invoices, count(distinct subscription_id) as subscriptions, count(distinct number) as numbers,
       coalesce(sum((document::jsonb->>'total_amount')::bigint), 0)::bigint as total
  from invoice
 where tenant_id = $1
"""


async def declare(service: Service, caller: Caller) -> None:
    """A meter and a product."""
    await create_key(service, caller, scope="write")
    async with transaction(service, caller, "bench.declare") as running:
        running.add(
            Meter.create(
                "tokens",
                name="Tokens",
                event_name="llm.completion",
                aggregation=read_aggregation({"type": "sum", "key": "tokens"}),
                filter="",
                measurement_unit="token",
                description=None,
                at=running.now,
            )
        )
        price = Price(
            currency="USD",
            fixed_price=FEE,
            cycle=MONTH,
            subscription_period=UNTIL_CANCELLED,
            meters=(MeterPrice(meter_id="tokens", price_per_unit="0.5", free_threshold=str(FREE)),),
        )
        running.add(
            Product.create(
                "api",
                name="API",
                tax_category="saas",
                description=None,
                metadata="{}",
                price=price,
                at=running.now,
            )
        )


async def subscribe_all(service: Service, caller: Caller, count: int, start: datetime, prefix: str = "") -> None:
    """The customers and their subscriptions (ids begin with ``prefix``), whose first cycle began at ``start``."""
    for first in range(0, count, COMMIT_SUBSCRIPTIONS):
        async with transaction(service, caller, "bench.subscribe") as running:
            for number in range(first, min(first + COMMIT_SUBSCRIPTIONS, count)):
                running.add(customer(number, running.now))
                made = subscription(f"{prefix}sub-{number}", number, Anchor(date=start.date()), running.now)
                running.add(made)
                await open_cycles(running, made, running.now)


def customer(number: int, at: datetime) -> Customer:
    """One of the customers."""
    return Customer.create(
        f"customer-{number}", personal="", time_zone="UTC", preferred_locale=None, metadata="{}", at=at
    )


def subscription(subscription_id: str, number: int, anchor: Anchor, at: datetime) -> Subscription:
    """A subscription of a customer to the product."""
    return Subscription.create(
        subscription_id,
        customer_id=f"customer-{number}",
        items=(Item("api", 1),),
        currency="USD",
        interval=MONTH,
        period=UNTIL_CANCELLED,
        anchor=anchor,
        billing="",
        metadata="{}",
        at=at,
    )


async def use_all(service: Service, caller: Caller, count: int, start: datetime) -> None:
    """The usage of the first cycle, spread over ten of its days, folded as a running projector would have."""
    events = [
        UsageEvent(
            f"e{number}-{n}",
            "llm.completion",
            f"customer-{number}",
            start + timedelta(days=n, minutes=number % 1440),
            f'{{"tokens":{TOKENS}}}',
        )
        for n in range(EVENTS_EACH)
        for number in range(count)
    ]
    async with service.pool.acquire() as connection:
        for first in range(0, len(events), COMMIT_EVENTS):
            sent = Sent(events[first : first + COMMIT_EVENTS])
            await append_usage(connection, caller.tenant_id, [sent], service.clock())
    await project_all(service)


async def closed_by_command(dsn: str) -> Summary:
    """Run the command, whose progress goes on to this one's stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "close-due", "--json", "--database-url", dsn),
        cwd=ROOT,
        env={**os.environ, "TAXIMETER_CLOSE_GRACE": "0s"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"close-due failed with {process.returncode}: {out.decode()}")
    return msgspec.json.decode(out, type=Summary)


async def closed_here(service: Service, tell: Callable[[str], None]) -> Summary:
    """Close in this process, and print where the time went."""
    seen = Seen()
    watched = replace(service, pool=cast("Pool", WatchedPool(service.pool, seen)))
    done = await close_telling(watched, tell)
    each = 1_000 / max(done.closed, 1)
    asked, waited = seen.calls.total(), sum(seen.seconds.values())
    print(f"per close: {done.seconds * each:.2f} ms, of which {waited * each:.2f} ms in {asked * each / 1_000:.1f}")
    held = [seconds * 1_000 for seconds in seen.held]
    print(f"head held: {len(held)} times, {median(held):.0f} ms (median), {max(held):.0f} ms at most")
    print("statements, the slowest first:")
    for query, took in sorted(seen.seconds.items(), key=itemgetter(1), reverse=True)[:SLOWEST_SHOWN]:
        print(f"  {took * each:6.3f} ms {seen.calls[query] * each / 1_000:5.2f}x  {query}")
    return done


async def check(service: Service, caller: Caller, count: int) -> None:
    """Every invoice is there once, and comes to what it should."""
    row = await service.pool.fetchrow(CHECK, caller.tenant_id)
    expected = {"invoices": count, "subscriptions": count, "numbers": count, "total": count * EXPECTED_EACH}
    assert row is not None
    found = {name: row[name] for name in expected}
    if found != expected:
        raise SystemExit(f"expected {expected} and found {found}: no figure")


@asynccontextmanager
async def load(dsn: str, key: str, rate: int, customers: int) -> AsyncIterator[Paced | None]:
    """Usage that arrives through a service while the block runs; none when the rate is 0."""
    if not rate:
        yield None
        return
    async with served(dsn, []) as url, asyncio.TaskGroup() as tasks:
        paced = Paced(url, key, rate, customers)
        tasks.create_task(paced.run())
        began = time.perf_counter()
        await asyncio.sleep(WARM_SECONDS)
        print(f"usage before:  {paced.text(began, time.perf_counter())}")
        yield paced
        paced.stop()


def last_month(now: datetime) -> datetime:
    """Where the cycle began that ended with the last month."""
    ended = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (ended - timedelta(days=1)).replace(day=1)


async def server_of(service: Service) -> int:
    """The first process of the database server, which is on this machine."""
    return parent_of(await service.pool.fetchval("select pg_backend_pid()"))


class Figures(msgspec.Struct):
    """What a run came to. ``seconds`` is for all that closed; CPU is milliseconds for each close, of whoever asks (with
    usage beside: of the service and the sender too) and of PostgreSQL."""

    date: str
    machine: str
    closed: int
    seconds: float
    client_ms: float
    server_ms: float
    usage: str = ""


class Large(msgspec.Struct):
    """Closes of one customer with much usage. Times are milliseconds, the median and the longest."""

    what: str
    events: int
    closed: int
    median_ms: float
    longest_ms: float


def dated() -> tuple[str, str]:
    """The day, and the machine."""
    return f"{datetime.now(UTC):%Y-%m-%d}", f"{os.cpu_count()} cores, Python {platform.python_version()}"


async def measure(dsn: str, count: int, rate: int, profile: bool) -> Figures:
    """Fill an empty database and close everything."""
    caller = system_caller(f"bench-{uuid4().hex[:12]}")
    now = datetime.now(UTC)
    start = last_month(now)
    async with open_service(dsn, RULES) as service:
        await declare(service, caller)
        _, key = await create_key(service, caller, scope="write")
        await subscribe_all(service, caller, count, start)
        await use_all(service, caller, count, start)
        async with load(dsn, key, rate, count) as paced:
            server = await server_of(service)
            before, began = cpu(server), time.perf_counter()
            done = await (
                closed_here(service, lambda line: print(line, file=sys.stderr)) if profile else closed_by_command(dsn)
            )
            spent, ended = cpu(server).since(before), time.perf_counter()
        await check(service, caller, count)
    usage = "" if paced is None else paced.text(began, ended)
    client, server_ms = spent.client * 1_000 / done.closed, spent.server * 1_000 / done.closed
    return Figures(*dated(), done.closed, done.seconds, client, server_ms, usage)


def told(figures: Figures) -> str:
    """The figures for people."""
    one, each = figures, f"{EVENTS_EACH} events in the cycle of each"
    lines = [
        f"{one.date}, {one.machine}",
        f"closed        {one.closed:,} cycles in {one.seconds:.1f} s, {one.closed / one.seconds:.0f} a second; {each}",
        f"CPU           {one.client_ms:.2f} ms for each close in Python, {one.server_ms:.2f} ms in PostgreSQL"
        + (" (service and sender among them)" if one.usage else ""),
    ]
    return "\n".join([*lines, *([f"usage beside  {one.usage}"] if one.usage else [])])


def told_large(figures: list[Large]) -> str:
    """The figures for people."""
    return "\n".join(
        f"{one.what}: closed {one.closed} with {one.events:,} events in {one.median_ms:.1f} ms (median), "
        f"{one.longest_ms:.1f} ms at most"
        for one in figures
    )


async def measure_large(dsn: str, events: int) -> list[Large]:
    """Close cycles of one customer with so many events in each, by day and by an instant within an hour."""
    caller, figures = system_caller(f"bench-{uuid4().hex[:12]}"), list[Large]()
    start = last_month(datetime.now(UTC))
    async with open_service(dsn, RULES) as service:
        await declare(service, caller)
        await use_much(service, caller, events, start)
        for what, anchor in (
            ("whole days", Anchor(date=start.date())),
            ("cut hours", Anchor(instant=start + timedelta(minutes=37))),
        ):
            ids = await subscribe_large(service, caller, what.split()[-1], anchor)
            took, bills = list[float](), []
            for subscription_id in ids:
                began = time.perf_counter()
                bills.append(await close_cycle(service, caller, subscription_id))
                took.append((time.perf_counter() - began) * 1_000)
            (line,) = [line for line in bills[-1].document.lines if line.meter_id]
            events_billed = int(line.consumed_units) // TOKENS
            figures.append(Large(what, events_billed, len(took), median(took), max(took)))
    return figures


async def use_much(service: Service, caller: Caller, events: int, start: datetime) -> None:
    """So many events of one customer, spread evenly over the month of ``start`` and counted."""
    step = ((start + timedelta(days=31)).replace(day=1) - start) / events
    async with service.pool.acquire() as connection:
        for first in range(0, events, COMMIT_EVENTS):
            numbers = range(first, min(first + COMMIT_EVENTS, events))
            metadata = f'{{"tokens":{TOKENS}}}'
            sent = [UsageEvent(f"e{n}", "llm.completion", "customer-0", start + step * n, metadata) for n in numbers]
            await append_usage(connection, caller.tenant_id, [Sent(sent)], service.clock())
    await project_all(service)


async def subscribe_large(service: Service, caller: Caller, prefix: str, anchor: Anchor) -> list[str]:
    """Subscriptions of that customer, each of which rates all of its usage."""
    ids = [f"{prefix}-{number}" for number in range(LARGE_CLOSES)]
    async with transaction(service, caller, "bench.subscribe") as running:
        if await running.find(Customer, "customer-0") is None:
            running.add(customer(0, running.now))
        for subscription_id in ids:
            running.add(subscription(subscription_id, 0, anchor, running.now))
    return ids


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="Closing what is due.")
    parser.add_argument("--subscriptions", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--ingest", type=int, default=0, metavar="RATE", help="events a second meanwhile (default: 0)")
    parser.add_argument("--profile", action="store_true", help="say what a close asks of the database")
    parser.add_argument("--events", type=int, default=0, help="instead: one customer with so many events in a cycle")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    flags = parser.parse_args()
    home = fresh_home()
    try:
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            if flags.events:
                large = await measure_large(engine.dsn, flags.events)
                figures, text = msgspec.json.encode(large), told_large(large)
            else:
                done = await measure(engine.dsn, flags.subscriptions, flags.ingest, flags.profile)
                figures, text = msgspec.json.encode(done), told(done)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(text)
    if flags.json:
        flags.json.write_bytes(msgspec.json.format(figures, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
