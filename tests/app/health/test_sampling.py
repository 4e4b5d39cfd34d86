"""What is sampled once a second, and that it goes on while the database does not answer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client import REGISTRY

from app.health.lag import Lag
from app.health.sampling import Sampler
from app.limits import POOL_SIZE
from app.projecting import project_all
from tests.app.http.conftest import Making
from tests.app.http.live_server import live_server
from tests.conftest import Api

PATIENCE_SECONDS = 20.0


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"taximeter_{name}", labels) or 0.0


async def asked(sampler: Sampler) -> None:
    """Sample, and wait for what the database says."""
    sampler.sample()
    assert sampler._look is not None
    await sampler._look


async def test_the_lag_is_shown(api: Api) -> None:
    await project_all(api.service)
    sampler, make = Sampler(api.service, Lag()), Making(api)
    before = value("database_round_trip_seconds_count")
    await api.ingest(*(make.event(number) for number in range(7)))
    await asked(sampler)
    sampler.sample()
    # The tenant itself is an event or two.
    assert value("projection_lag_events") >= 7
    assert value("database_round_trip_seconds_count") >= before + 1
    await asyncio.sleep(0.1)
    sampler.sample()
    assert value("projection_lag_seconds") >= 0.1
    await project_all(api.service)
    await asked(sampler)
    sampler.sample()
    assert (value("projection_lag_events"), value("projection_lag_seconds")) == (0, 0)


async def test_it_goes_on_while_no_connection_is_free(api: Api) -> None:
    sampler = Sampler(api.service, Lag())
    async with AsyncExitStack() as taken:
        for _ in range(POOL_SIZE):
            await taken.enter_async_context(api.service.pool.acquire())
        for _ in range(5):
            sampler.sample()
            await asyncio.sleep(0)
        sampler.sample()
        assert (value("database_pool_idle"), value("database_pool_waiting")) == (0, 1)
    assert sampler._look is not None
    await sampler._look


async def test_it_samples_until_it_is_cancelled(api: Api) -> None:
    sampler = Sampler(api.service)
    running = asyncio.create_task(sampler.run())
    await asyncio.sleep(0)
    look: Any = sampler._look
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert look.done()


async def test_sockets_and_their_frames_are_counted(api: Api) -> None:
    make = Making(api)
    await make.everything()
    await api.project()
    async with live_server(api) as server:
        sampler = Sampler(api.service, None, server.sockets)
        sent = value("live_frames_total", outcome="sent")
        async with server.talk() as one, server.talk() as other:
            for socket in (one, other):
                await socket.subscribe()
                assert (await socket.hear())["type"] == "snapshot"
            await asked(sampler)
            assert value("live_sockets") == 2
            assert value("live_frames_total", outcome="sent") == sent + 2
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(server.sockets):
                await asyncio.sleep(0.01)
        await asked(sampler)
        assert value("live_sockets") == 0
