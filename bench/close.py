"""How fast what is due closes: so many subscriptions with usage, closed by one `taximeter close-due`.

    python bench/close.py                       on an embedded server of its own
    python bench/close.py --subscriptions 500   a smaller run
    python bench/close.py --profile             in this process, and says what a close asks of the database

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
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import msgspec
from ingest import ROOT, fresh_home

from app.close_progress import Summary, close_telling
from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.event_log import append_usage
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
                customer_id = f"customer-{number}"
                running.add(
                    Customer.create(
                        customer_id,
                        personal="",
                        time_zone="UTC",
                        preferred_locale=None,
                        metadata="{}",
                        at=running.now,
                    )
                )
                subscription = Subscription.create(
                    f"{prefix}sub-{number}",
                    customer_id=customer_id,
                    items=(Item("api", 1),),
                    currency="USD",
                    interval=MONTH,
                    period=UNTIL_CANCELLED,
                    anchor=Anchor(date=start.date()),
                    billing="",
                    metadata="{}",
                    at=running.now,
                )
                running.add(subscription)
                await open_cycles(running, subscription, running.now)


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
            await append_usage(connection, caller.tenant_id, events[first : first + COMMIT_EVENTS], service.clock())
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


class Watched:
    """A connection that counts and times what is asked of it, by the statement's text."""

    def __init__(self, connection: Any, calls: Counter[str], seconds: Counter[str]) -> None:
        self._connection, self._calls, self._seconds = connection, calls, seconds

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._connection, name)
        if name not in ("fetch", "fetchrow", "fetchval", "execute"):
            return asked

        async def timed(query: str, *values: object) -> Any:
            began = time.perf_counter()
            try:
                return await asked(query, *values)
            finally:
                named = " ".join(query.split())[:100]
                self._calls[named] += 1
                self._seconds[named] += time.perf_counter() - began

        return timed


class WatchedPool(Watched):
    """A pool of watched connections."""

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Watched]:
        """A watched connection."""
        async with self._connection.acquire() as connection:
            yield Watched(connection, self._calls, self._seconds)


async def closed_here(service: Service, tell: Callable[[str], None]) -> Summary:
    """Close in this process, and print where the time went."""
    calls, seconds = Counter[str](), Counter[str]()
    watched = replace(service, pool=cast("Pool", WatchedPool(service.pool, calls, seconds)))
    done = await close_telling(watched, tell)
    each = 1_000 / max(done.closed, 1)
    asked, waited = sum(calls.values()), sum(seconds.values())
    print(f"per close: {done.seconds * each:.2f} ms, of which {waited * each:.2f} ms in {asked * each / 1_000:.1f}")
    print("statements, the slowest first:")
    for query, took in seconds.most_common(SLOWEST_SHOWN):
        print(f"  {took * each:6.3f} ms {calls[query] * each / 1_000:5.2f}x  {query}")
    return done


async def check(service: Service, caller: Caller, count: int) -> None:
    """Every invoice is there once, and comes to what it should."""
    row = await service.pool.fetchrow(CHECK, caller.tenant_id)
    expected = {"invoices": count, "subscriptions": count, "numbers": count, "total": count * EXPECTED_EACH}
    assert row is not None
    found = {name: row[name] for name in expected}
    if found != expected:
        raise SystemExit(f"expected {expected} and found {found}: no figure")


async def measure(dsn: str, count: int, profile: bool) -> None:
    """Fill an empty database and close everything."""
    caller = system_caller(f"bench-{uuid4().hex[:12]}")
    now = datetime.now(UTC)
    ended = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = (ended - timedelta(days=1)).replace(day=1)
    async with open_service(dsn, RULES) as service:
        await declare(service, caller)
        await subscribe_all(service, caller, count, start)
        await use_all(service, caller, count, start)
        print(f"{now:%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(f"{count:,} subscriptions with {count * EVENTS_EACH:,} events in the cycle that closes")
        done = await (
            closed_here(service, lambda line: print(line, file=sys.stderr)) if profile else closed_by_command(dsn)
        )
        await check(service, caller, count)
    print(f"closed: {done.closed:,} cycles in {done.seconds:.1f} s, {done.closed / done.seconds:.0f}/s")


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="Closing what is due.")
    parser.add_argument("--subscriptions", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--profile", action="store_true", help="say what a close asks of the database")
    flags = parser.parse_args()
    home = fresh_home()
    try:
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            await measure(engine.dsn, flags.subscriptions, flags.profile)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
