"""Nobody waits for a connection of the pool for ever, and nobody's giving up costs a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from prometheus_client import REGISTRY

from app.bounded_pool import BoundedPool, Overloaded
from app.database import open_pool
from app.limits import IDLE_TRANSACTION_SECONDS, LOCK_TIMEOUT_SECONDS

SOON = 0.05


def shown(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"taximeter_database_pool_{name}")


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[BoundedPool]:
    """A pool of one connection, for which nobody waits long."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as opened:
        yield BoundedPool(opened, 1, SOON)


async def test_every_way_to_ask_has_an_end(pool: BoundedPool) -> None:
    async with pool.acquire():
        for ask in (pool.fetch, pool.fetchrow, pool.fetchval, pool.execute):
            with pytest.raises(Overloaded, match=r"in 0\.05 seconds"):
                await ask("select 1")
        with pytest.raises(Overloaded):
            async with pool.acquire():
                pass
    assert await pool.fetchval("select 1") == 1


async def test_the_ways_to_ask_answer(pool: BoundedPool) -> None:
    assert [tuple(row) for row in await pool.fetch("select $1::int", 7)] == [(7,)]
    row = await pool.fetchrow("select 8 as n")
    assert row is not None
    assert row["n"] == 8
    assert await pool.execute("select 9") == "SELECT 1"


async def test_a_connection_comes_back_whatever_happened_with_it(pool: BoundedPool) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await pool.fetch("select 1 / 0")
    with pytest.raises(ValueError, match="at work"):
        async with pool.acquire():
            raise ValueError("at work")
    cancelled = asyncio.create_task(pool.fetch("select pg_sleep(60)"))
    await asyncio.sleep(SOON)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await pool.fetchval("select 1") == 1


class OneByQueue:
    """A pool of one connection that gives it to whoever asks in the right moment, as the driver's does."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[str] = asyncio.Queue()
        self._free.put_nowait("connection")

    async def acquire(self, *, timeout: float | None = None) -> str:  # noqa: ASYNC109
        return await self._free.get()

    async def release(self, connection: str) -> None:
        self._free.put_nowait(connection)


async def test_who_waits_longest_is_served_first_whoever_comes_in_between() -> None:
    served: list[str] = []
    pool = BoundedPool(OneByQueue(), 1)

    async def use(name: str) -> None:
        async with pool.acquire():
            served.append(name)

    async with pool.acquire():
        waiting = [asyncio.create_task(use(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
    # The connection is free, and who waits was woken but has not had his turn: this one comes in between.
    await use("between")
    await asyncio.gather(*waiting)
    assert served == ["first", "second", "between"]


async def test_loops_that_try_again_when_the_database_is_away_try_again_then_too() -> None:
    assert issubclass(Overloaded, OSError)


def test_who_waits_for_a_lock_outlives_who_hangs_with_it() -> None:
    assert IDLE_TRANSACTION_SECONDS < LOCK_TIMEOUT_SECONDS


async def test_who_waits_for_a_connection_is_counted_until_there_is_one(dsn: str) -> None:
    async with open_pool(dsn, size=2) as pool, AsyncExitStack() as taken:
        assert isinstance(pool, BoundedPool)
        for _ in range(2):
            await taken.enter_async_context(pool.acquire())
        waiting = [asyncio.create_task(pool.fetchval("select 1")) for _ in range(3)]
        await asyncio.sleep(0)
        pool.note()
        assert (shown("connections"), shown("idle"), shown("waiting")) == (2, 0, 3)
        waiting.pop().cancel()
        await taken.aclose()
        assert await asyncio.gather(*waiting) == [1, 1]
        pool.note()
        assert (shown("connections"), shown("idle"), shown("waiting")) == (2, 2, 0)


async def test_a_connection_that_cannot_be_made_leaves_nobody_waiting(dsn: str) -> None:
    async with open_pool(dsn, size=1) as pool:
        assert isinstance(pool, BoundedPool)
        async with pool.acquire():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.fetchval("select 1"), 0.01)
        pool.note()
        assert shown("waiting") == 0
