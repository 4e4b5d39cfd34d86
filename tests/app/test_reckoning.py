"""Whole histories: the estimate is the invoice, nobody overspends what is shared, and a rebuild finds the same rows.

In a database of its own, since a rebuild looks at every tenant there is.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
from asyncpg import Pool, Record
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import subscribing
from app.database import connect_owner, open_pool
from app.engine.launcher import Engine
from domain.entitlement import BurnOrder, Overage, OverageBehavior, Rollover
from domain.rating import Line
from projections.rebuild import rebuild
from tests.app.business import BARE, History, a_history, a_shop, product, steps, terms
from tests.app.shop import sms_line
from tests.conftest import MovingClock
from tests.projections.histories import new_database

EXAMPLES = int(os.environ.get("TAXIMETER_TEST_EXAMPLES", "6"))
HOUR = timedelta(hours=1)
PLAIN = {
    "burn_order": BurnOrder.oldest,
    "overage": Overage(enabled=False, behavior=OverageBehavior.forgive_at_reset, limit=None),
    "rollover": Rollover(enabled=False, percentage=33, timeframe=None, max_count=None),
}


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    return await new_database(engine, "reckoning")


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as pool:
        yield pool


@settings(max_examples=EXAMPLES)
@given(
    terms=terms, included=st.tuples(st.integers(0, 9), st.integers(0, 9)), days=st.sampled_from([None, 12]), story=steps
)
@example(
    terms=PLAIN,
    included=(0, 0),
    days=None,
    # Late usage is on a later invoice when the cycle's own is voided: issued again, it takes that back, units and all.
    story=[("use", 0, 0), ("close", 0, 0), ("use", 0, 0), ("use", 0, 19), ("close", 0, 0), ("void", 0, 0)],
)
async def test_the_estimate_is_the_invoice_whatever_happened(
    shared_pool: Pool[Record],
    terms: dict[str, Any],
    included: tuple[int, int],
    days: int | None,
    story: list[tuple[str, int, int]],
) -> None:
    history = await a_history(shared_pool, terms, included, days)
    shop = history.shop
    for step in story:
        await history.do(*step)
    history.clock.advance(days=40)
    for subscription_id in history.subscriptions:
        await history.close(subscription_id, 0)
    history.documents += await shop.close_due()
    await shop.credits()
    assert await shop.close_due() == []
    await history.check_invoiced()


@settings(max_examples=EXAMPLES)
@given(
    terms=terms,
    included=st.integers(0, 9),
    story=st.lists(
        st.tuples(st.sampled_from(["use", "use", "credit", "debit", "pass"]), st.integers(0, 3), st.integers(0, 12)),
        min_size=6,
        max_size=16,
    ),
)
async def test_closing_late_gives_the_lines_of_closing_on_time(
    shared_pool: Pool[Record], terms: dict[str, Any], included: int, story: list[tuple[str, int, int]]
) -> None:
    """Two shops live through the same; one closes each cycle as it ends, the other all of them in the end."""
    histories = [await twin(shared_pool, terms, included) for _ in range(2)]
    for what, which, amount in story:
        for on_time, history in enumerate(histories):
            if what == "use":
                await history.shop.use(*[history.clock.now] * (which + 1), metadata=f'{{"n": {amount - 3}}}')
            elif what == "pass":
                await history.let_pass(amount, bool(on_time))
            else:
                await history.do(what, which, amount)
    lines: list[dict[tuple[str, str], tuple[Line, ...]]] = []
    for on_time, history in enumerate(histories):
        await history.let_pass(70, bool(on_time))
        history.documents += await history.shop.close_due()
        lines.append({(one.subscription_id, one.cycle_start): one.lines for one in history.documents})
    assert lines[0] == lines[1]
    assert await histories[0].shop.balance() == await histories[1].shop.balance()


async def twin(pool: Pool[Record], terms: dict[str, Any], included: int) -> History:
    """A shop whose subscriptions have the ids of the other's: those decide who draws first."""
    clock = MovingClock()
    history = History(await a_shop(pool, clock), clock)
    await history.shop.entitle(currency="USD", price_per_unit="1.5", **terms)
    await history.shop.open(product((sms_line(), BARE), str(included), {}))
    with pytest.MonkeyPatch.context() as patch:
        for number, anchor in enumerate((date(2026, 3, 1), date(2026, 3, 5), date(2026, 3, 1))):
            patch.setattr(subscribing, "new_id", lambda _, name=f"sub_{number}": name)
            history.subscriptions.append(await history.shop.subscribe(anchor=anchor))
    return history


async def test_a_rebuild_finds_the_rows_that_these_histories_left(dsn: str, shared_pool: Pool[Record]) -> None:
    tenants = await shared_pool.fetchval("select count(*) from tenant")
    assert tenants > 0
    connection = await connect_owner(dsn)
    try:
        assert await rebuild(connection, lambda *_: None, swap=False) == []
    finally:
        await connection.close()
