"""What the feed shows at a position is what the estimate says there, whatever happened on the way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from asyncpg import Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from app.database import open_pool
from app.live.feed import LogFeed
from app.live.standing import CycleStanding, Standing
from app.projecting import project_all
from domain import instant
from tests.app.business import History, a_history, steps, terms
from tests.app.live.following import moved_on

EXAMPLES = int(os.environ.get("TAXIMETER_TEST_EXAMPLES", "6"))


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as pool:
        yield pool


class Noting:
    """A watcher that keeps what it was offered."""

    def __init__(self) -> None:
        self.seen: Standing | None = None

    def offer(self, standing: Standing) -> None:
        assert self.seen is None or standing.position >= self.seen.position
        self.seen = standing

    def alerts_until(self, position: int) -> None:
        raise AssertionError("nobody has alerts here")

    def resync(self) -> None:
        raise AssertionError("the database was not lost")


def values(cycle: CycleStanding) -> Any:
    return cycle.cycle_start, cycle.cycle_end, msgspec.structs.replace(cycle.estimate, position=0)


async def check(history: History, feed: LogFeed, watcher: Noting) -> None:
    """The newest that the watcher was offered are the estimates of now."""
    await feed.turn()  # Ahead of the projector.
    await project_all(history.shop.service)
    await moved_on(feed)
    await moved_on(feed)
    assert watcher.seen is not None
    for cycle in watcher.seen.cycles:
        expected = await history.shop.estimate(cycle.subscription_id, instant.parse(cycle.cycle_start))
        assert msgspec.structs.replace(cycle.estimate, position=expected.position) == expected
    for subscription_id in history.subscriptions:
        shown = [one for one in watcher.seen.cycles if one.subscription_id == subscription_id]
        unclosed = [one for one in await history.cycles(subscription_id) if one.start <= history.clock.now]
        assert {one.cycle_start for one in shown} >= {instant.text(one.start) for one in unclosed[:1]}


@settings(max_examples=EXAMPLES)
@given(
    terms=terms, included=st.tuples(st.integers(0, 9), st.integers(0, 9)), days=st.sampled_from([None, 12]), story=steps
)
async def test_what_is_shown_is_the_estimate_whatever_happened(
    shared_pool: Pool[Record],
    terms: dict[str, Any],
    included: tuple[int, int],
    days: int | None,
    story: list[tuple[str, int, int]],
) -> None:
    history = await a_history(shared_pool, terms, included, days)
    feed, watcher = LogFeed(history.shop.service, pace_seconds=0), Noting()
    watcher.offer(await feed.watch_customer(history.shop.tenant_id, "ada", watcher))
    for step in story:
        await history.do(*step)
        await check(history, feed, watcher)
