"""Sharing the work of an audit between processes."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import pytest

from app.audit.crew import CrewLost, crew
from app.audit.place import Place, database_place, export_snapshot
from tests.app.audit.history import History


async def positions(place: Place, tenant_id: str) -> int:
    """A job."""
    return (await place.source.head(tenant_id)).position


async def failing(_: Place, why: str) -> None:
    """A job that fails."""
    raise LookupError(why)


@pytest.mark.parametrize("processes", [1, 2])
async def test_all_read_the_moment_that_the_first_has_begun_with(history: History, processes: int) -> None:
    async with database_place(history.dsn) as place:
        opening = partial(database_place, history.dsn, await export_snapshot(place))
        async with crew(opening, processes) as workers:
            before = await workers.do(positions, history.tenant_id)
            await history.tamper("update log.head set position = position + 1 where tenant_id = $1")
            asked = [workers.do(positions, history.tenant_id) for _ in range(5)]
            assert await asyncio.gather(*asked) == [before] * 5 == [25] * 5
            with pytest.raises(LookupError, match="for this reason"):
                await workers.do(failing, "for this reason")
            assert await workers.do(positions, history.tenant_id) == 25


async def dying(_: Place) -> None:
    """A job in which its process dies."""
    os._exit(3)


async def test_a_job_that_is_given_up_keeps_nobody_busy_and_a_death_is_told(history: History) -> None:
    async with database_place(history.dsn) as place:
        opening = partial(database_place, history.dsn, await export_snapshot(place))
        async with crew(opening, 2) as workers:
            given_up = [asyncio.create_task(workers.do(positions, history.tenant_id)) for _ in range(2)]
            await asyncio.sleep(0)  # Both have begun, each with a process.
            for task in given_up:
                task.cancel()
            assert await asyncio.gather(*(workers.do(positions, history.tenant_id) for _ in range(4))) == [25] * 4
            with pytest.raises(CrewLost, match="nothing is proved"):
                await workers.do(dying)


async def test_several_processes_find_what_one_finds(history: History) -> None:
    await history.tamper("update log.usage_event set metadata = '' where tenant_id = $1 and event_id = 'c3'")
    assert await history.verdict(processes=2) == await history.verdict()
