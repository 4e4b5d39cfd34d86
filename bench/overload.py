"""What happens beyond capacity, and what slow clients do to the others; real processes, the generator on their cores.

    python bench/overload.py                            capacity, a minute of ten times as much, normal again;
                                                        then 2,000 slow clients beside 50 ordinary ones
    python bench/overload.py --seconds 20 --slow 500

There is no figure where an event was recorded that was not answered 200, or answered 200 and not recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import uvloop
from asking import percentile
from close import RULES
from memory import resident_megabytes
from plain_client import Heard, Line, Trickle
from service import fresh_home, served
from sockets import endpoint

from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.keys import create_key, system_caller

WARM_SECONDS = 3
CAPACITY_SECONDS = 10
CAPACITY_LINES = 64
"""As many as fill the service and do not yet wait long."""

NORMAL_SHARE = 0.3
"""Of the capacity: the load before and after."""

NORMAL_LINES = 50
NORMAL_SECONDS = 15
BACK_SECONDS_MAX = 60
"""How long it is looked for normal answers after the overload."""

BACK_FACTOR = 2.0
BACK_FLOOR_SECONDS = 0.05
BACK_SPAN_SECONDS = 5
"""Normal again is a span whose p99 is at most so many times that of before, or this."""

OVER = 10
DEAF_CLIENTS = 30
DEAF_REQUESTS = 32
DEAF_TARGET = "GET /schema/openapi.json"
"""Clients that ask for a large answer so often, all at once, and read nothing."""

SLOW_SECONDS = 30
"""How long the others are measured beside slow ones: past the moment at which those are given up."""

SETTLE_SECONDS = 3
"""The slow ones have connected before the others are measured."""

SETTLE_TRIES = 6
EVENT_NAME = "overload.call"


@dataclass
class Target:
    """The service under load: where it listens, its key, its process, and the next event's number."""

    url: str
    key: str
    pid: int
    run: str = field(default_factory=lambda: uuid4().hex[:12])
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def request(self) -> bytes:
        """A request with one event that nobody has sent before."""
        number = next(self.numbers)
        body = (
            f'{{"events":[{{"event_id":"{self.run}-{number}","customer_id":"c-{number % 1_000}",'
            f'"event_name":"{EVENT_NAME}","metadata":{{"n":{number}}}}}]}}'
        ).encode()
        return self.head("POST /events/ingest", f"content-type: application/json\r\ncontent-length: {len(body)}") + body

    def head(self, target: str, lines: str = "accept: */*") -> bytes:
        """The head of a request."""
        return f"{target} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {self.key}\r\n{lines}\r\n\r\n".encode()

    def lines(self, count: int) -> list[Line]:
        """Connections, not yet open."""
        host, port = endpoint(self.url)
        return [Line(host, port) for _ in range(count)]


async def closed(target: Target, count: int, seconds: float) -> tuple[Heard, float]:
    """So many clients that ask again as soon as they are answered; what they heard, and answers of 200 a second."""
    heard, began = Heard(), time.perf_counter()

    async def client(line: Line) -> None:
        while time.perf_counter() < began + seconds:
            sent = time.perf_counter()
            heard.note(*await line.ask(target.request()), sent)
        line.close()

    await asyncio.gather(*(client(line) for line in target.lines(count)))
    return heard, heard.statuses[200] / (time.perf_counter() - began)


async def offered(target: Target, heard: Heard, rate: float, seconds: float, lines: int) -> float:
    """Send at a rate whatever is answered, over at most so many connections; the rate that was reached."""
    idle, began, due, sent = target.lines(lines), time.perf_counter(), 0.0, 0
    running: set[asyncio.Task[None]] = set()

    async def one(line: Line) -> None:
        at = time.perf_counter()
        heard.note(*await line.ask(target.request()), at)
        idle.append(line)

    while (now := time.perf_counter()) < began + seconds:
        due = min((now - began) * rate, sent + len(idle))
        for _ in range(int(due) - sent):
            task = asyncio.create_task(one(idle.pop()))
            running.add(task)
            task.add_done_callback(running.discard)
            sent += 1
        await asyncio.sleep(0.005)
    reached = sent / (time.perf_counter() - began)
    await asyncio.gather(*running)
    for line in idle:
        line.close()
    return reached


async def watch_memory(pid: int, seen: list[dict[str, float]]) -> None:
    """Note each second what memory each process has."""
    while True:
        seen.append(resident_megabytes(pid))
        await asyncio.sleep(1)


def spread(taken: list[float]) -> dict[str, float]:
    """Milliseconds at the middle and at the slow end."""
    return {
        name: round(percentile(taken, share) * 1e3, 1) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


async def until_back(target: Target, heard: Heard, rate: float, p99: float) -> int | None:
    """The first second from which on the load was answered as before; nothing when that did not come."""
    began = time.perf_counter()
    await offered(target, heard, rate, BACK_SECONDS_MAX, NORMAL_LINES)
    limit = max(p99 * BACK_FACTOR, BACK_FLOOR_SECONDS)
    for second in range(BACK_SECONDS_MAX - BACK_SPAN_SECONDS):
        taken = heard.between(began + second, began + second + BACK_SPAN_SECONDS)
        if taken and percentile(taken, 0.99) <= limit:
            return second
    return None


async def overload(target: Target, seconds: int, connections: int) -> dict[str, Any]:
    """Capacity, normal load, far too much, normal load again."""
    warm, _ = await closed(target, 16, WARM_SECONDS)
    measured, capacity = await closed(target, CAPACITY_LINES, CAPACITY_SECONDS)
    normal, rate = Heard(), capacity * NORMAL_SHARE
    await offered(target, normal, rate, NORMAL_SECONDS, NORMAL_LINES)
    before = percentile([took for _, took in normal.taken], 0.99)
    memory: list[dict[str, float]] = []
    watching = asyncio.create_task(watch_memory(target.pid, memory))
    heard, began = Heard(), time.perf_counter()
    reached = await offered(target, heard, capacity * OVER, seconds, connections)
    good = heard.statuses[200] / (time.perf_counter() - began)
    during, after = len(memory), Heard()
    back = await until_back(target, after, rate, before)
    watching.cancel()
    return {
        "capacity_per_s": round(capacity),
        "at_capacity_ms": spread([took for _, took in measured.taken]),
        "normal_per_s": round(rate),
        "normal_ms": spread([took for _, took in normal.taken]),
        "offered_per_s": round(reached),
        "times_capacity": round(reached / capacity, 1),
        "recorded_per_s": round(good),
        "statuses": {str(status): count for status, count in sorted(heard.statuses.items())},
        "without_retry_after": heard.without_retry_after,
        "recorded_ms": spread([took for _, took in heard.taken]),
        "back_to_normal_s": back,
        "after_ms": spread([took for _, took in after.taken]),
        "after_statuses": {str(status): count for status, count in sorted(after.statuses.items())},
        "memory_mb": memory_story(memory, during),
        "accepted": sum(one.statuses[200] for one in (warm, measured, normal, heard, after)),
    }


def memory_story(seen: list[dict[str, float]], during: int) -> dict[str, str]:
    """Of each process: megabytes at the start, half through and at the end of the overload, at most, and at last."""
    return {
        name: " ".join(str(round(seen[at].get(name, 0))) for at in (0, during // 2, during - 1))
        + f" most {max(round(one.get(name, 0)) for one in seen)} last {round(seen[-1].get(name, 0))}"
        for name in seen[0]
    }


async def connect_slow(target: Target, count: int) -> list[Trickle]:
    """A third that sends its head, a third that sends its body one byte each second, and a third that says nothing."""
    host, port = endpoint(target.url)
    head = target.head("POST /events/ingest", "content-type: application/json\r\ncontent-length: 5000")
    made: list[Trickle] = []
    for number in range(count):
        kind = number % 3
        data = (head, b'{"events":[' + b" " * 4_000, b"")[kind]
        client = Trickle(data)
        await asyncio.get_running_loop().create_connection(lambda client=client: client, host, port)
        if kind == 1:
            client.say(head)
        made.append(client)
    return made


async def drip(clients: list[Trickle], target: Target, count: int) -> None:
    """Let each send its next byte every second; whoever was cut off comes back as somebody new."""
    host, port = endpoint(target.url)
    while True:
        for number, client in enumerate(clients):
            if client.open:
                client.drip()
            else:
                clients[number] = again = Trickle(target.head("GET /health/live"))
                await asyncio.get_running_loop().create_connection(lambda again=again: again, host, port)
            if number % 100 == 0:
                await asyncio.sleep(100 / count)


async def connect_deaf(target: Target, count: int) -> list[Trickle]:
    """Clients that ask for megabytes and never read."""
    host, port = endpoint(target.url)
    made: list[Trickle] = []
    for _ in range(count):
        client = Trickle(b"")
        await asyncio.get_running_loop().create_connection(lambda client=client: client, host, port)
        client.stop_reading()
        client.say(target.head(DEAF_TARGET) * DEAF_REQUESTS)
        made.append(client)
    return made


async def slow_clients(target: Target, rate: float, slow: int) -> dict[str, Any]:
    """Fifty ordinary clients alone, then beside slow ones, then beside some who do not read."""
    figures: dict[str, Any] = {"accepted": 0}

    async def ordinary(name: str) -> None:
        heard = Heard()
        await asyncio.sleep(SETTLE_SECONDS)
        await offered(target, heard, rate, SLOW_SECONDS, NORMAL_LINES)
        figures[name] = spread([took for _, took in heard.taken])
        figures[f"{name}_statuses"] = {str(status): count for status, count in sorted(heard.statuses.items())}
        figures[f"{name}_mb"] = round(sum(resident_megabytes(target.pid).values()))
        figures["accepted"] += heard.statuses[200]

    await ordinary("alone")
    clients = await connect_slow(target, slow)
    dripping = asyncio.create_task(drip(clients, target, slow))
    await ordinary("beside_slow")
    dripping.cancel()
    for client in clients:
        client.close()
    deaf = await connect_deaf(target, DEAF_CLIENTS)
    await ordinary("beside_deaf")
    for client in deaf:
        client.close()
    await ordinary("alone_again")
    return figures


async def recorded(target: Target, meter_id: str) -> int:
    """How many events of this run the meter counts, when it has counted them all."""
    async with httpx.AsyncClient(
        base_url=target.url, headers={"Authorization": f"Bearer {target.key}"}, timeout=60, trust_env=False
    ) as client:
        position = (await client.get("/log/head")).json()["position"]
        span = {"start": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z", "at_least": position}
        # The service itself waits; a first answer of 503 means that there was more to wait for.
        for _ in range(SETTLE_TRIES):
            answered = await client.get(f"/meters/{meter_id}/usage", params=span)
            if answered.status_code == httpx.codes.OK:
                return int(answered.json()["quantity"])
        raise SystemExit("the events are not counted in time: no figure")


async def declare_meter(target: Target) -> str:
    """A meter that counts the events of this bench."""
    body = {"name": "Calls", "event_name": EVENT_NAME, "aggregation": {"type": "count"}, "measurement_unit": "call"}
    async with httpx.AsyncClient(base_url=target.url, timeout=60, trust_env=False) as client:
        answered = await client.post("/meters", json=body, headers={"Authorization": f"Bearer {target.key}"})
        answered.raise_for_status()
        return answered.json()["id"]


async def measure(target: Target, flags: argparse.Namespace) -> dict[str, Any]:
    """All of it; the figures."""
    meter_id = await declare_meter(target)
    figures: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    over = await overload(target, flags.seconds, flags.connections)
    accepted = over.pop("accepted")
    figures |= over
    if flags.slow:
        slow = await slow_clients(target, over["normal_per_s"], flags.slow)
        accepted += slow.pop("accepted")
        figures |= slow
    figures["accepted"], figures["recorded"] = accepted, await recorded(target, meter_id)
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures, one a line."""
    return "\n".join(
        f"{name:<22} "
        + ("  ".join(f"{part} {value}" for part, value in found.items()) if isinstance(found, dict) else str(found))
        for name, found in figures.items()
    )


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description="Beyond capacity, and beside slow clients.")
    parser.add_argument("--seconds", type=int, default=60, help="of overload (default: 60)")
    parser.add_argument("--connections", type=int, default=2_000, help="of the overload (default: 2000)")
    parser.add_argument("--slow", type=int, default=2_000, help="slow clients, 0 for none (default: 2000)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


async def main() -> None:
    """Measure once."""
    flags, home, pids = arguments(), fresh_home(), list[int]()
    try:
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            async with open_service(engine.dsn, RULES) as service:
                _, key = await create_key(service, system_caller("overload"), scope="write")
            async with served(engine.dsn, pids) as url:
                figures = await measure(Target(url, key, pids[0]), flags)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(table(figures))
    if flags.json:
        flags.json.write_text(msgspec.json.format(msgspec.json.encode(figures)).decode() + "\n")
    if figures["accepted"] != figures["recorded"]:
        sys.exit("what was recorded is not what was answered 200: no figure")


if __name__ == "__main__":
    uvloop.run(main())
