"""What the tests of the read models share: a database of their own, since a rebuild is of a whole database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from asyncpg import Connection, Pool, Record

from app.database import connect_owner, open_pool
from app.engine.launcher import Engine
from projections import quantities
from tests.projections.histories import new_database


@pytest.fixture(scope="module")
async def own_dsn(engine: Engine, request: pytest.FixtureRequest) -> str:
    return await new_database(engine, request.module.__name__.rpartition("test_")[2])


@pytest.fixture(scope="module")
async def pool(own_dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(own_dsn) as opened:
        yield opened


@pytest.fixture
async def owner(own_dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(own_dsn)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
def small_pages() -> Iterator[None]:
    """Pages of two commits, so that a log of some commits has several, and two events at once of an hour."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantities, "PAGE_COMMITS", 2)
        patch.setattr(quantities, "RECOUNT_EVENTS", 2)
        yield
