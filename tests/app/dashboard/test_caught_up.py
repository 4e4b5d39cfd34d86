"""A page that has seen a live value is not shown anything older."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.dashboard.caught_up import caught_up
from app.dashboard.page import AnyRequest
from app.projecting import project_all
from app.service import Caller, Service
from tests.app.shop import Shop
from tests.conftest import MovingClock


def asked(service: Service, caller: Caller, seen: str) -> AnyRequest:
    request: Any = SimpleNamespace(
        headers={"taximeter-seen": seen} if seen else {},
        auth=caller,
        app=SimpleNamespace(state=SimpleNamespace(service=service)),
    )
    return cast("AnyRequest", request)


async def test_what_was_seen_is_waited_for(service: Service, caller: Caller, clock: MovingClock) -> None:
    shop = Shop(service, caller)
    await shop.customer()
    await shop.use(clock.now)
    waiting = asyncio.create_task(caught_up(asked(service, caller, str(await shop.head_position()))))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await project_all(service)
    async with asyncio.timeout(10):
        await waiting


@pytest.mark.parametrize("seen", ["", "0", "-1", "x", "\u0661", "1e3", "9" * 18, "9" * 1_000])
async def test_what_is_no_position_of_the_log_is_passed_over(service: Service, caller: Caller, seen: str) -> None:
    async with asyncio.timeout(5):
        await caught_up(asked(service, caller, seen))


async def test_a_page_is_shown_what_there_is_when_the_projector_is_away(
    service: Service, caller: Caller, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.projecting.WAIT_FOR_POSITION_SECONDS", 0.05)
    shop = Shop(service, caller)
    await shop.customer()
    await shop.use(clock.now)
    await caught_up(asked(service, caller, str(await shop.head_position())))
