"""What the tests of audits share: a database of their own, whose logs are tampered with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asyncpg import Connection, Record

from app.commands import open_service
from app.database import connect_owner
from app.engine.launcher import Engine
from app.service import Service
from tests.app.audit.history import History, live
from tests.conftest import RULES, MovingClock
from tests.projections.conftest import small_pages
from tests.projections.histories import new_database

__all__ = ["small_pages"]


@pytest.fixture(scope="module")
async def own_dsn(engine: Engine, request: pytest.FixtureRequest) -> str:
    return await new_database(engine, f"audit_{request.module.__name__.rpartition('test_')[2]}")


@pytest.fixture(scope="module")
async def own_service(own_dsn: str) -> AsyncIterator[Service]:
    async with open_service(own_dsn, RULES) as opened:
        yield Service(opened.pool, MovingClock(), RULES)


@pytest.fixture(scope="module")
async def own_owner(own_dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(own_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def history(own_service: Service, own_dsn: str, own_owner: Connection[Record]) -> History:
    """A history that nobody has tampered with yet."""
    return await live(own_service, own_dsn, own_owner)
