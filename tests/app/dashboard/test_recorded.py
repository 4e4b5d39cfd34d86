"""Counting what was recorded when from positions gives what counting the events gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from app.dashboard.recorded import Span, recorded, steps
from tests.app.dashboard.test_overview import event


async def spans(api: Any, instants: list[datetime], tenant_id: str | None = None) -> list[Span]:
    async with api.service.pool.acquire() as database:
        return await recorded(database, tenant_id or api.caller.tenant_id, instants)


async def test_only_usage_counts_and_each_commit_in_its_hour(api: Any) -> None:
    began = api.clock.now
    wanted = []
    for hour in range(7):
        # Hours with none, one and several commits; domain events and retractions take positions between them.
        batches = [3, 0, 1, 40, 0, 0, 2][hour]
        for batch in range(batches):
            await api.ingest(*(event(hour * 1000 + batch * 10 + number) for number in range(2)))
            api.clock.advance(seconds=7)
        await api.post("/customers", json={"email": "ada@example.com", "name": "Ada"})
        if hour == 2:
            await api.post("/events/void", json={"event_ids": ["call-2000"]})
        wanted.append(2 * batches)
        api.clock.now = began + timedelta(hours=hour + 1)
    instants = [began - timedelta(hours=1) + timedelta(hours=number, seconds=-1) for number in range(9)]
    assert [span.events for span in await spans(api, instants)] == [0, *wanted]
    whole = await spans(api, [began - timedelta(days=1), began + timedelta(days=1)])
    assert [span.events for span in whole] == [sum(wanted)]


async def test_a_log_that_holds_nothing(api: Any) -> None:
    found = await spans(api, [api.clock.now, api.clock.now + timedelta(hours=1)], f"t{uuid4().hex[:12]}")
    assert [span.events for span in found] == [0]


def test_steps_lie_on_whole_steps_and_end_now() -> None:
    end = datetime(2026, 3, 10, 12, 34, 56, tzinfo=UTC)
    assert steps(end, timedelta(hours=1), 3) == [
        datetime(2026, 3, 10, 10, tzinfo=UTC),
        datetime(2026, 3, 10, 11, tzinfo=UTC),
        datetime(2026, 3, 10, 12, tzinfo=UTC),
        end,
    ]


def test_an_end_on_a_whole_step_is_no_step_before_it() -> None:
    end = datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert steps(end, timedelta(hours=1), 2) == [
        datetime(2026, 3, 10, 10, tzinfo=UTC),
        datetime(2026, 3, 10, 11, tzinfo=UTC),
        end,
    ]
