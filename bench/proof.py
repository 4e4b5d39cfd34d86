"""How large a proof pack is, and what it costs to make one and to check one.

    python bench/proof.py                   invoices over 1,000 and over 1,000,000 events, on a server of its own
    python bench/proof.py --events 10000    one of another size
    python bench/proof.py --others 3        so many events of other customers lie beside each of the customer's

Events have five metadata keys and come in commits of 5,000, the customer's among those of others. Each pack is checked
by `taximeter_verify.py` in a process of its own: a figure of a pack that does not hold is none. Time is CPU, for wall
time says little on a machine that others use.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from close import COMMIT_EVENTS, RULES, declare, last_month, server_of, subscribe_all
from cpu import cpu
from service import ROOT, fresh_home
from workload import METADATA, TOKENS

from app.audit.proving import prove
from app.audit.signing_key import make_key
from app.billing import close_cycle
from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.event_log import Sent, append_usage
from app.keys import system_caller
from app.projecting import project_all
from app.service import Caller, Service
from domain.event import UsageEvent

SIZES = (1_000, 1_000_000)
CUSTOMER = "customer-0"
MEGABYTE = 1_000_000


async def use(service: Service, caller: Caller, events: int, others: int, start: datetime) -> None:
    """So many events of the customer, spread evenly over the month of ``start``, among those of others; counted."""
    step = ((start + timedelta(days=31)).replace(day=1) - start) / events
    each = COMMIT_EVENTS // (1 + others)
    async with service.pool.acquire() as connection:
        for first in range(0, events, each):
            sent = [
                UsageEvent(
                    f"{who}-{n:09d}",
                    "llm.completion",
                    f"customer-{who}",
                    start + step * n,
                    METADATA % (n % TOKENS, n % 900),
                )
                for n in range(first, min(first + each, events))
                for who in range(1 + others)
            ]
            await append_usage(connection, caller.tenant_id, [Sent(sent)], service.clock())
    await project_all(service)


def peak() -> int:
    """The most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024


async def measure(service: Service, home: Path, events: int, others: int) -> None:
    """Invoice so many events, make the pack and check it."""
    caller, start = system_caller(f"bench-{uuid4().hex[:12]}"), last_month(datetime.now(UTC))
    await declare(service, caller)
    await subscribe_all(service, caller, 1, start)
    await use(service, caller, events, others, start)
    document = (await close_cycle(service, caller, "sub-0")).document
    server = await server_of(service)
    before = cpu(server)
    proof = await prove(service, home / "key.pem", caller.tenant_id, str(document.invoice_id))
    spent = cpu(server).since(before)
    pack = home / "pack.jsonl"
    with proof.file as file, pack.open("wb") as copy:
        shutil.copyfileobj(file, copy)
    print(f"{events:,} events of the customer, {events * others:,} of others in the same commits")
    print(f"  size: {proof.size / MEGABYTE:,.2f} MB, {proof.size / events:,.0f} bytes an event")
    print(f"  made: {spent.client:.2f} s of CPU here and {spent.server:.2f} s in PostgreSQL")
    print(f"        {peak() / MEGABYTE:,.0f} MB of memory at most, in a process that recorded the events before")
    await asyncio.to_thread(check, pack, events)
    pack.unlink()


def check(pack: Path, events: int) -> None:
    """Check the pack as a customer would, and print what that costs. Ends the bench when it does not hold."""
    process = subprocess.Popen([sys.executable, ROOT / "taximeter_verify.py", pack], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("the pack does not hold: no figure")
    seconds, memory = used.ru_utime + used.ru_stime, used.ru_maxrss * 1_024 / MEGABYTE
    print(f"  checked: {seconds:.2f} s of CPU, {events / seconds:,.0f} events/s, {memory:,.0f} MB of memory")


async def main() -> None:
    """Measure each size once."""
    parser = argparse.ArgumentParser(description="Proof packs.")
    parser.add_argument("--events", type=int, help="one size instead of the two")
    parser.add_argument("--others", type=int, default=1, help="events of others beside each (default: 1)")
    flags = parser.parse_args()
    home = fresh_home()
    try:
        make_key(home / "key.pem")
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            print(f"{date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}")
            async with open_service(engine.dsn, RULES) as service:
                for events in [flags.events] if flags.events else SIZES:
                    await measure(service, home, events, flags.others)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
