"""Whatever happened to a customer: each of the documents is proved by the program that customers use."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.database import open_pool
from taximeter_verify import verify
from tests.app.audit.packs import pack_of
from tests.app.business import a_history, steps, terms

EXAMPLES = int(os.environ.get("TAXIMETER_TEST_EXAMPLES", "3"))


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as pool:
        yield pool


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    terms=terms, included=st.tuples(st.integers(0, 9), st.integers(0, 9)), days=st.sampled_from([None, 12]), story=steps
)
async def test_every_document_of_a_history_is_proved(
    shared_pool: Pool[Record],
    tmp_path: Path,
    terms: dict[str, Any],
    included: tuple[int, int],
    days: int | None,
    story: list[tuple[str, int, int]],
) -> None:
    history = await a_history(shared_pool, terms, included, days)
    for step in story:
        await history.do(*step)
    history.clock.advance(days=40)
    for subscription_id in history.subscriptions:
        await history.close(subscription_id, 0)
    history.documents += await history.shop.close_due()
    for document in history.documents:
        pack = await pack_of(history.shop, document.invoice_id, tmp_path / "pack")
        assert verify(pack).document["invoice_id"] == document.invoice_id
