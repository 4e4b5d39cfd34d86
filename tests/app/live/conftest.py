"""A business that is watched, and a feed that is moved on by hand."""

from __future__ import annotations

import pytest

from app.live.feed import LogFeed
from app.projecting import project_all
from app.service import Caller, Service
from tests.app.shop import Shop


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    shop = Shop(service, caller)
    await shop.customer()
    await shop.open()
    await shop.subscribe()
    await project_all(service)
    return shop


@pytest.fixture
def feed(service: Service) -> LogFeed:
    # Tests look at once; that customers rest between two offers has a test of its own.
    return LogFeed(service, pace_seconds=0)
