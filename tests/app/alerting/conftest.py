"""A shop whose customer Ada uses calls."""

from __future__ import annotations

import pytest

from app.service import Caller, Service
from tests.app.shop import Shop


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.open()
    await opened.customer()
    return opened
