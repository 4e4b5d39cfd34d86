"""The worlds that play the stories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from asyncpg import Pool, Record

from app.commands import open_service
from app.service import Service
from tests.conftest import RULES, Api, MovingClock
from tests.scenarios.in_domain import InDomain
from tests.scenarios.over_http import OverHttp
from tests.scenarios.story import World


@pytest.fixture(scope="session")
async def pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    """One for all stories: they are many, and opening it takes longer than most of them."""
    async with open_service(dsn, RULES) as opened:
        yield opened.pool


@pytest.fixture
def service(pool: Pool[Record], clock: MovingClock) -> Service:
    """The service at a time of the story's own."""
    return Service(pool, clock, RULES)


@pytest.fixture
def clock() -> MovingClock:
    """Before any story begins: the key of the tenant is recorded first."""
    early = MovingClock()
    early.now = datetime(2026, 1, 1, tzinfo=UTC)
    return early


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """The world that the test's parameter names; only the service needs a database."""
    if request.param == "domain":
        return InDomain()
    api: Api = request.getfixturevalue("api")
    return OverHttp(api)
