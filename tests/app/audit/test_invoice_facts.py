"""Whatever happened to a customer: the facts of an issued invoice, gathered again later, give it to the cent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncpg import Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audit.invoice_facts import InvoiceFacts, issued_invoice
from app.database import open_pool
from domain.explanation import Explanation, explain
from tests.app.business import History, a_history, steps, terms

EXAMPLES = int(os.environ.get("TAXIMETER_TEST_EXAMPLES", "3"))


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as pool:
        yield pool


async def explained(history: History, invoice_id: str) -> Explanation:
    async with issued_invoice(history.shop.service, history.shop.caller, invoice_id) as issued:
        facts = InvoiceFacts(issued)
        basis = await facts.basis()
        return explain(issued.document, basis, await facts.adjusted(basis), await facts.wallet_balance())


@settings(max_examples=EXAMPLES)
@given(
    terms=terms, included=st.tuples(st.integers(0, 9), st.integers(0, 9)), days=st.sampled_from([None, 12]), story=steps
)
async def test_the_steps_of_every_invoice_come_to_what_was_billed(
    shared_pool: Pool[Record],
    terms: dict[str, Any],
    included: tuple[int, int],
    days: int | None,
    story: list[tuple[str, int, int]],
) -> None:
    history = await a_history(shared_pool, terms, included, days)
    for step in story:
        await history.do(*step)
    history.clock.advance(days=40)
    history.documents += await history.shop.close_due()
    # What comes afterwards changes nothing of what was issued before.
    await history.do("use", 3, 9)
    assert history.documents
    for document in history.documents:
        found = await explained(history, str(document.invoice_id))
        assert found.agrees, (found.disagreements, [line.disagreements for line in found.lines])
        assert [line.line for line in found.lines] == list(document.lines)
        for line in found.lines:
            amounts = [step.result for step in line.steps if step.name == "amount"]
            assert amounts[-1] == str(line.line.amount)
