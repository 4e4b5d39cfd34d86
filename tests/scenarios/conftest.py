"""The worlds that play the stories."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.conftest import Api, MovingClock
from tests.scenarios.in_domain import InDomain
from tests.scenarios.over_http import OverHttp
from tests.scenarios.story import World


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
