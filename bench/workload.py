"""The usage that is sent: one event name, 1,000 customers in turn, five metadata keys, a timestamp of its own each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx

REQUEST_EVENTS = 1_000
"""Events per request: the most that the wire contract allows."""

CUSTOMERS = 1_000
TOKENS = 4_096
METADATA = '{"model":"large","region":"eu-central","tokens":%d,"cached":false,"latency":"%d.25"}'
EVENT = '{"event_id":"%s","event_name":"llm.completion","customer_id":"%s","timestamp":"%s","metadata":%s}'

Row = tuple[str, str, str, datetime, str]
"""An event as a table holds it: id, name, customer, time, metadata."""


def rows(count: int, start: int = 0, run: str | None = None) -> list[Row]:
    """Events ``start`` to ``start + count`` of a run. Without a name of the run their ids are no other's."""
    prefix, now = run or uuid4().hex[:12], datetime.now(UTC) - timedelta(hours=1)
    return [
        (
            f"{prefix}-{n:09d}",
            "llm.completion",
            f"customer-{n % CUSTOMERS}",
            now + timedelta(microseconds=101 * n),
            METADATA % (n % TOKENS, n % 900),
        )
        for n in range(start, start + count)
    ]


def total(count: int) -> int:
    """What a sum of the tokens of the first ``count`` events comes to."""
    whole, rest = divmod(count, TOKENS)
    return whole * TOKENS * (TOKENS - 1) // 2 + rest * (rest - 1) // 2


def bodies(events: list[Row], each: int = REQUEST_EVENTS) -> Iterator[bytes]:
    """The events as request bodies of so many each."""
    for first in range(0, len(events), each):
        texts = [
            EVENT % (event_id, customer_id, timestamp.isoformat(), metadata)
            for event_id, _, customer_id, timestamp, metadata in events[first : first + each]
        ]
        yield f'{{"events":[{",".join(texts)}]}}'.encode()


async def declare_meter(client: httpx.AsyncClient) -> str:
    """A meter that sums a value of every event, so that there is something to project."""
    answered = await client.post(
        "/meters",
        json={
            "name": "Tokens",
            "event_name": "llm.completion",
            "aggregation": {"type": "sum", "key": "tokens"},
            "measurement_unit": "token",
        },
    )
    answered.raise_for_status()
    return answered.json()["id"]


async def projected_total(client: httpx.AsyncClient, meter_id: str, position: int) -> str:
    """The meter's quantity over everything, as soon as the read models know everything up to ``position``."""
    span = {"start": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z"}
    while True:
        answered = await client.get(f"/meters/{meter_id}/usage", params={**span, "at_least": position})
        if answered.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            answered.raise_for_status()
            return answered.json()["quantity"]
