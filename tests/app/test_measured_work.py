"""Closes and pages are measured once they are durable, and what fails is counted as that."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from app import projecting
from app.due import close_due_everywhere
from app.projecting import project_all
from app.retries import Retries
from app.service import Caller, Service
from domain import instant
from tests.app.http.conftest import Making
from tests.app.shop import Shop
from tests.app.test_scheduling import break_closing
from tests.conftest import Api, MovingClock


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.open()
    await opened.customer()
    return opened


@pytest.fixture
def make(api: Api) -> Making:
    return Making(api)


def value(name: str) -> float:
    return REGISTRY.get_sample_value(f"taximeter_{name}") or 0.0


class Grown:
    """How far measures have grown since."""

    def __init__(self, *names: str) -> None:
        self._before = {name: value(name) for name in names}

    def __call__(self) -> tuple[float, ...]:
        return tuple(value(name) - before for name, before in self._before.items())


async def test_a_cycle_is_counted_when_it_closes_and_not_when_it_is_asked_for_again(
    shop: Shop, clock: MovingClock
) -> None:
    grown = Grown("cycles_closed_total", "close_duration_seconds_count")
    subscription_id = await shop.subscribe()
    assert grown() == (0, 0)
    clock.advance(days=40)
    first = await shop.close(subscription_id)
    assert grown() == (1, 1)
    assert await shop.close(subscription_id, instant.parse(first.cycle_start or "")) == first
    assert grown() == (1, 1)


async def test_a_close_that_fails_is_a_failure_and_no_close(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = Grown("cycles_closed_total", "close_failures_total")
    subscription_id = await shop.subscribe()
    break_closing(monkeypatch, subscription_id, ValueError("a defect"))
    clock.advance(days=40)
    # Other tests have left tenants behind, of which something may be due, too.
    everywhere = [one async for one in close_due_everywhere(shop.service, Retries(lambda: 0.0))]
    assert [(one.closed, bool(one.failure)) for one in everywhere if one.tenant_id == shop.tenant_id] == [(0, True)]
    assert grown() == (sum(one.closed for one in everywhere), sum(one.failure is not None for one in everywhere))


async def test_a_page_is_timed_and_a_look_that_folds_nothing_is_not(api: Api, make: Any) -> None:
    await project_all(api.service)
    grown = Grown("projection_page_duration_seconds_count", "projection_failures_total")
    await api.ingest(make.event(1))
    await project_all(api.service)
    assert grown() == (1, 0)
    await project_all(api.service)
    assert grown() == (1, 0)


async def test_a_page_that_cannot_be_folded_is_a_failure(api: Api, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await project_all(api.service)
    await api.ingest(make.event(1))

    async def failing(*_: Any) -> bool:
        raise RuntimeError("a defect")

    grown = Grown("projection_page_duration_seconds_count", "projection_failures_total")
    with monkeypatch.context() as broken:
        broken.setattr(projecting, "project_page", failing)
        await project_all(api.service)
    assert grown() == (0, 1)
    await project_all(api.service)
