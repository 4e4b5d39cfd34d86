"""A pool for histories, which are many, and a shop whose customer Ada uses calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asyncpg import Pool, Record

from app.database import open_pool
from app.service import Caller, Service
from tests.app.shop import Shop, price_of


@pytest.fixture(scope="module")
async def pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as opened:
        yield opened


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    """Half a minor unit per call beyond two, and no fee."""
    opened = Shop(service, caller)
    await opened.open(price_of(fixed_price=0))
    await opened.customer()
    return opened
