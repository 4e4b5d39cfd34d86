"""What the tests share: one embedded PostgreSQL, one migrated database, a tenant of its own for each test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from hypothesis import settings as hypothesis_settings
from litestar import Litestar

from app.commands import open_service, prepare
from app.engine import server
from app.engine.launcher import Engine, embedded
from app.engine.settings import server_settings
from app.http.application import build, fill
from app.http.raw_path import ASGIApp
from app.keys import create_key, system_caller
from app.projecting import project_all
from app.service import Caller, Service
from domain.tenant import Rules

# A machine under load must not turn a slow example into a failure; the laws themselves have no deadline.
hypothesis_settings.register_profile("taximeter", deadline=None)
hypothesis_settings.load_profile("taximeter")


TESTS = Path(__file__).parent

LONGEST = (
    "app/test_supervisor.py",
    "app/example/test_flights.py",
    "app/test_draining.py",
    "fuzz/test_openapi.py",
    "app/backup/test_restoring.py",
    "app/http/test_metrics.py",
    "app/backup/test_commands.py",
    "tidy/test_gates.py",
    "scenarios/test_machine.py",
    "app/test_upgrading.py",
    "chaos/test_slice.py",
)
"""The files that take longest, of few tests each. Where workers share the tests they come first: whoever began one of
them last would be waited for."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first, in every worker alike; a run in one process keeps the order of the tree."""
    if hasattr(config, "workerinput"):
        first = {TESTS / name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: first.get(item.path, len(first)))


class MovingClock:
    """A clock that moves only when told, for tests that live through months."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


RULES = Rules(
    event_ahead_max=timedelta(minutes=5),
    event_age_max=timedelta(days=35),
    close_grace=timedelta(hours=1),
    number_prefix="INV-",
    company={},
)


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[Engine]:
    """The server that most tests share. Nothing of it outlives them, so it need not wait for the disk: bringing all of
    its databases there at the end took longer than any test. Servers that are killed or restored are others."""

    def in_memory(socket_directory: str, marker: str) -> dict[str, str]:
        return server_settings(socket_directory, marker) | {"fsync": "off"}

    with tempfile.TemporaryDirectory(prefix="taximeter-test-") as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "server_settings", in_memory)
        async with embedded(Path(home) / "home") as running:
            patch.undo()
            yield running


@pytest.fixture(scope="session")
async def dsn(engine: Engine) -> str:
    """The address of a migrated database, as its owner.

    TAXIMETER_TEST_DATABASE_URL names another server than the embedded one, to try other versions of PostgreSQL.
    """
    url = os.environ.get("TAXIMETER_TEST_DATABASE_URL", engine.dsn)
    await prepare(url)
    return url


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture(scope="module")
async def connected(dsn: str) -> AsyncIterator[Service]:
    """A service on the shared database. A module opens its connections once: new ones cost more than most tests do."""
    async with open_service(dsn, RULES) as opened:
        yield opened


@pytest.fixture
def service(connected: Service, clock: MovingClock) -> Service:
    """A service on the shared database, at a time of the test's own."""
    return Service(connected.pool, clock, RULES)


@pytest.fixture
async def caller(service: Service) -> Caller:
    """The writer of a tenant that no other test has."""
    tenant_id = f"t{uuid4().hex[:12]}"
    key_id, _ = await create_key(service, system_caller(tenant_id), scope="write")
    return Caller(tenant_id, key_id, "write", "test")


class Api(httpx.AsyncClient):
    """A client of the whole HTTP application, in process, with the tenant's key."""

    service: Service
    caller: Caller
    clock: MovingClock

    async def project(self) -> None:
        """Bring the read models to the log's end."""
        await project_all(self.service)

    async def ingest(self, *events: dict[str, object], **params: str) -> httpx.Response:
        return await self.post("/events/ingest", json={"events": list(events)}, params=params)


def _never_opened() -> AbstractAsyncContextManager[Service]:
    raise AssertionError("tests give the application its service themselves")


@cache
def application() -> tuple[Litestar, ASGIApp]:
    """The application and what serves it, built once: that takes longer than most tests."""
    return build(_never_opened)


def serving(service: Service) -> ASGIApp:
    """The application, from now on with this service. Tests run one after another, so one of them has it at a time."""
    built, served = application()
    # A fixture is set up and torn down in two tasks, which the application's own lifespan does not survive.
    fill(built.state, service)
    return served


@pytest.fixture
async def api(service: Service, clock: MovingClock) -> AsyncIterator[Api]:
    """The HTTP API with a ``write`` key of a tenant of its own."""

    served = serving(service)
    tenant_id = f"t{uuid4().hex[:12]}"
    key_id, secret = await create_key(service, system_caller(tenant_id), scope="write")
    transport = httpx.ASGITransport(app=served)
    headers = {"Authorization": f"Bearer {secret}"}
    async with Api(transport=transport, base_url="http://test", headers=headers) as client:
        client.service, client.caller, client.clock = service, Caller(tenant_id, key_id, "write", "test"), clock
        yield client


@dataclass(frozen=True)
class RunningService:
    """A real ``taximeter serve`` and the key of its first tenant."""

    base_url: str
    api_key: str
