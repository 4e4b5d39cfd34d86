"""Usage at a steady rate through a running service, beside whatever else is measured."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import httpx
import msgspec
from asking import percentile
from service import headers

REQUEST_EVENTS = 500
IN_FLIGHT_MAX = 32
"""Requests that wait for an answer at most: a slower service is sent less, and the figure says so."""


class Paced:
    """Posts events of many customers as they happen, until it is told to stop."""

    def __init__(self, url: str, key: str, rate: int, customers: int) -> None:
        self._url, self._key, self._rate, self._customers = url, key, rate, customers
        self._in_flight = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._stop = asyncio.Event()
        self._answers: list[tuple[float, float]] = []
        """When each request was answered, and the seconds that it had waited for that."""

    async def run(self) -> None:
        """Send until ``stop``, then wait for what is on its way."""
        limits = httpx.Limits(max_connections=IN_FLIGHT_MAX)
        async with (
            httpx.AsyncClient(
                base_url=self._url, headers=headers(self._key), timeout=60, limits=limits, trust_env=False
            ) as client,
            asyncio.TaskGroup() as tasks,
        ):
            due = time.perf_counter()
            while not self._stop.is_set():
                await self._in_flight.acquire()
                tasks.create_task(self._post(client))
                due = max(due + REQUEST_EVENTS / self._rate, time.perf_counter() - 1)
                await asyncio.sleep(max(0, due - time.perf_counter()))

    def stop(self) -> None:
        """Send nothing more."""
        self._stop.set()

    def text(self, since: float, until: float) -> str:
        """Events per second that were answered in a span of ``time.perf_counter``, and how long they waited."""
        waited = [seconds for at, seconds in self._answers if since <= at < until]
        rate = len(waited) * REQUEST_EVENTS / (until - since)
        p50, p99 = (percentile(waited, share) * 1_000 for share in (0.5, 0.99))
        return f"{rate:,.0f} events/s of {self._rate:,} wanted, answered in {p50:.0f} ms (p50), {p99:.0f} ms (p99)"

    async def _post(self, client: httpx.AsyncClient) -> None:
        batch = uuid4().hex
        events = [
            {
                "event_id": f"{batch}-{number}",
                "customer_id": f"customer-{(len(self._answers) * REQUEST_EVENTS + number) % self._customers}",
                "event_name": "llm.completion",
                "metadata": {"tokens": number, "model": "large", "region": "eu-central"},
            }
            for number in range(REQUEST_EVENTS)
        ]
        began = time.perf_counter()
        try:
            answered = await client.post("/events/ingest", content=msgspec.json.encode({"events": events}))
            answered.raise_for_status()
        finally:
            self._in_flight.release()
        now = time.perf_counter()
        self._answers.append((now, now - began))
