"""A clock that was set back is told at the start."""

from __future__ import annotations

from datetime import timedelta

from app.clock_check import BEHIND_MAX, clock_trouble
from app.service import Caller, Service
from tests.app.log_rows import record_usage, use
from tests.conftest import MovingClock


async def test_a_clock_that_was_set_back_is_told(service: Service, caller: Caller, clock: MovingClock) -> None:
    async with service.pool.acquire() as connection:
        await record_usage(connection, caller.tenant_id, [use("a")], clock.now)
        # Other tests' tenants are in the same database, so this one is ahead of them all.
        ahead = clock.now + timedelta(days=36_500)
        await record_usage(connection, caller.tenant_id, [use("b")], ahead)
    clock.now = ahead - BEHIND_MAX
    assert await clock_trouble(service) is None
    clock.advance(seconds=-1)
    trouble = await clock_trouble(service)
    assert trouble is not None
    assert "but the log was last written at 2126-02-14T12:00:00.000000Z" in trouble
