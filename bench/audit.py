"""How fast a log is verified and replayed, beside a plain sequential read of the same rows in the same run.

    python bench/audit.py                       a million events on an embedded server of its own
    python bench/audit.py --events 10000000     ten million: some minutes to record them first

The log is made by the service's own append: events of `bench/workload.py`, 5,000 in a commit, 1,000 customers in
turn, one meter that sums. Of verify the command is measured as a person runs it, from its start to its end. A replay
counts only when it found every row of the read models, an invoice when it came out byte for byte. That verify would
have found something is tried at the end: one byte of one row is changed, and the command has to name its commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop
from close import COMMIT_EVENTS
from cpu import Cpu, cpu
from replaying import invoiced, record, replay_all, replay_one
from service import ROOT, fresh_home

from app.commands import prepare
from app.engine.launcher import Engine, embedded

LARGE_EVENTS = 1_000_000
"""Of the customer whose invoice is replayed, unless the whole log is smaller."""

READ_ROWS = 5_000
READ = "select event_id, event_name, customer_id, timestamp, metadata from log.usage_event"
TAMPER = """
update log.usage_event set metadata = replace(metadata, 'large', 'Large')
 where ctid = (select max(ctid) from log.usage_event where tenant_id = $1)
"""


class Figure(msgspec.Struct, frozen=True):
    """One measure: so many events in so much time, and how much work it was."""

    name: str
    events: int
    seconds: float
    cpu: Cpu
    memory: int | None = None

    @property
    def rate(self) -> float:
        """Events a second, by the clock on the wall."""
        return self.events / self.seconds

    @property
    def busy(self) -> float:
        """Microseconds of processors for an event, those of the server with them."""
        return (self.cpu.client + self.cpu.server) / self.events * 1_000_000

    def text(self, beside: Figure) -> str:
        """In a line, as a ratio to another."""
        memory = f"   {self.memory} MB at most in a process" if self.memory else ""
        return (
            f"{self.name:<16} {self.rate:>9,.0f} events/s {self.rate / beside.rate:>6.2f}   {self.busy:>5.2f} µs of"
            f" processors an event {beside.busy / self.busy:>6.2f}{memory}"
        )


class Log(msgspec.Struct, frozen=True):
    """The log that was made, where it lies, the server's first process, its tenant, and how many of it are usage."""

    dsn: str
    server_pid: int
    tenant_id: str
    events: int


async def settle(dsn: str) -> None:
    """What the server would do by itself in a while."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("vacuum analyze")
        await connection.execute("checkpoint")
    finally:
        await connection.close()


async def measured(name: str, log: Log, work: Callable[[Log], Awaitable[int | None]]) -> Figure:
    """Do the work once; it answers the megabytes that a process of it took at most, if it was a command."""
    before, began = cpu(log.server_pid), time.perf_counter()
    memory = await work(log)
    seconds = time.perf_counter() - began
    return Figure(name, log.events, seconds, cpu(log.server_pid).since(before), memory)


async def replay(log: Log) -> None:
    """Every read model again."""
    await replay_all(log.dsn)


async def read_plainly(log: Log) -> None:
    """Read every row once, in the order of the table, with a cursor on one connection."""
    connection = await asyncpg.connect(log.dsn)
    try:
        async with connection.transaction():
            reading, seen = await connection.cursor(READ), 0
            while page := await reading.fetch(READ_ROWS):
                seen += len(page)
        if seen != log.events:
            raise SystemExit(f"{seen} of {log.events} rows were read: no figure")
    finally:
        await connection.close()


async def audit(log: Log, *arguments: str) -> tuple[int, Any]:
    """`taximeter audit` with its answer as JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "audit", *arguments, "--json", "--database-url", log.dsn),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(printed)


async def verify(log: Log) -> int:
    """`taximeter audit verify`; it has to have seen every event."""
    status, told = await audit(log, "verify")
    if status or told["tenants"][0]["position"] < log.events:
        raise SystemExit(f"the log does not fit: no figure. {told}")
    # Of all commands that were waited for: the first of them is the largest that ran.
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1_024


async def try_to_deceive(log: Log) -> str:
    """Change a byte of a row; what the audit says then."""
    connection = await asyncpg.connect(log.dsn)
    try:
        async with connection.transaction():
            await connection.execute("set local session_replication_role = replica")
            await connection.execute(TAMPER, log.tenant_id)
    finally:
        await connection.close()
    status, told = await audit(log, "verify", "--tenant", log.tenant_id)
    if not status:
        raise SystemExit("a changed row was not found: no figure")
    first = told["tenants"][0]["findings"][0]
    return f"positions {first['first_position']:,} to {first['last_position']:,}: {first['message']}"


async def measure(engine: Engine, events: int) -> list[str]:
    """Make the log and measure; the lines to print, the plain read first, which all others are compared with."""
    await prepare(engine.dsn)
    began = time.perf_counter()
    tenant_id = await record(engine.dsn, events)
    recording = time.perf_counter() - began
    await settle(engine.dsn)
    pid = int((engine.data_directory / "postmaster.pid").read_text().split()[0])
    log = Log(engine.dsn, pid, tenant_id, events)
    await read_plainly(log)  # Whoever is first fills the cache for all.
    plain = await measured("sequential read", log, read_plainly)
    figures = [plain, await measured("verify", log, verify), await measured("replay", log, replay)]
    large = msgspec.structs.replace(log, events=min(events, LARGE_EVENTS))
    of_large = await invoiced(engine.dsn, large.events)
    one = await measured("one invoice", large, lambda _: replay_one(engine.dsn, *of_large))
    deceived = await try_to_deceive(log)
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, load"
        f" {os.getloadavg()[0]:.1f}",
        f"{events:,} events, {COMMIT_EVENTS:,} in a commit, recorded and projected in {recording:.0f} s",
        *(figure.text(plain) for figure in [*figures, one]),
        f"one invoice of a customer with {large.events:,} events in the cycle in {one.seconds:.1f} s",
        f"one byte changed  {deceived}",
    ]


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="Proving a log, beside a plain sequential read of it.")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many (default: 1000000)")
    flags = parser.parse_args()
    home: Path = fresh_home()
    try:
        async with embedded(home / "data") as engine:
            print("\n".join(await measure(engine, flags.events)))
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    uvloop.run(main())
