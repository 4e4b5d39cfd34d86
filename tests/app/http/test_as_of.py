"""What was known earlier: asking later as of a moment gives what asking at that moment gave."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from asyncpg import Pool, Record
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.database import open_pool
from app.keys import create_key
from app.projecting import project_all
from app.transaction import transaction
from domain import instant
from domain.meter import Meter
from projections.log_reader import head
from tests.app.business import PLAIN, History, a_history, steps, terms
from tests.app.shop import MARCH, Shop, price_of, sms_price
from tests.conftest import MovingClock, serving

EXAMPLES = int(os.environ.get("TAXIMETER_TEST_EXAMPLES", "1"))
BEGIN = "2026-01-15T07:20:00Z"
END = "2027-01-01T00:00:00Z"
SPAN = {"start": BEGIN, "end": END}

RANDOM_ID = re.compile(r"\b(grt|crs|cle)_[A-Za-z0-9]+")
"""Ids of what is opened in memory for an answer: each question makes its own."""


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as pool:
        yield pool


async def client_of(shop: Shop) -> httpx.AsyncClient:
    _, secret = await create_key(shop.service, shop.caller, scope="read")
    transport = httpx.ASGITransport(app=serving(shop.service))
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {secret}"})


def questions(history: History) -> list[tuple[str, dict[str, Any]]]:
    """Everything that takes ``as_of``."""
    account = "/credit-entitlements/sms/balances"
    many = {"page_size": 100}
    return [
        ("/meters/calls/usage", SPAN),
        ("/meters/tokens/usage", {**SPAN, "customer_id": "ada", "window": "month", "time_zone": "Asia/Kathmandu"}),
        ("/meters/tokens/usage", {**SPAN, "group_by": "n"}),
        ("/meters/tokens/usage", {}),
        *((f"/subscriptions/{one}/estimate", {}) for one in history.subscriptions),
        (account, many),
        (f"{account}/ada", {}),
        (f"{account}/ada/grants", many),
        (f"{account}/ada/ledger", many),
        ("/customers/ada/credit-entitlements", {}),
        *((f"/subscriptions/{one}/credit-usage", {}) for one in history.subscriptions[:1]),
        ("/customers/ada/wallets", {}),
        ("/customers/ada/wallets/ledger-entries", many),
    ]


async def answers(client: httpx.AsyncClient, history: History, **as_of: str) -> list[Any]:
    """The answers to all questions, without what they say of the position: that is asked of each on its own."""
    found: list[Any] = []
    for path, params in questions(history):
        answered = await client.get(path, params={**params, **as_of})
        body = answered.json()
        if as_of and answered.status_code == 200:
            assert body["position"] > 0
        if not path.endswith(("usage", "estimate")) or "credit-usage" in path:
            body.pop("position", None)
        found.append((path, answered.status_code, RANDOM_ID.sub(r"\1", repr(body))))
    return found


async def check_law(history: History, story: list[list[tuple[str, int, int]]], *, by_time: bool) -> None:
    """Ask after some steps, at the time of the last commit and at the time that it is; then ask all of it again."""
    shop, clock = history.shop, history.clock
    async with await client_of(shop) as client:
        known: list[tuple[str, list[Any]]] = []
        for some in story:
            for step in some:
                await history.do(*step)
            await project_all(shop.service)
            async with shop.service.pool.acquire() as connection:
                end = await head(connection, shop.tenant_id)
            now = clock.now
            if by_time:
                known.append((instant.text(max(now, end.recorded_at)), await answers(client, history)))
            clock.now = end.recorded_at
            known.append((str(end.position), await answers(client, history)))
            clock.now = now
        clock.advance(days=50)
        history.documents += await shop.close_due()
        await shop.use(clock.now, MARCH + timedelta(days=10), clock.now - timedelta(days=9))
        await shop.pay_in(70)
        await project_all(shop.service)
        # Two steps at one instant are told apart by position only: by time the last of them is known.
        by_moment = dict(known)
        for moment, expected in by_moment.items():
            assert await answers(client, history, as_of=moment) == expected, moment


@settings(max_examples=EXAMPLES, phases=[Phase.generate])
@given(
    story=st.lists(steps.map(lambda several: several[:3]), min_size=2, max_size=2),
    terms=terms,
    included=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
async def test_asking_later_is_asking_then(
    shared_pool: Pool[Record],
    story: list[list[tuple[str, int, int]]],
    terms: dict[str, Any],
    included: tuple[int, int],
) -> None:
    await check_law(await a_history(shared_pool, terms, included, 12), story, by_time=True)


async def test_what_came_later_is_not_known(shared_pool: Pool[Record]) -> None:
    """Late usage, retractions, closes, a void, a new plan, credits and money: none of it shows before its position."""
    history = await a_history(shared_pool, PLAIN, (3, 2), None)
    story = [
        [("use", 3, 5), ("close", 0, 0)],
        [("use", 3, 9), ("retract", 0, 2)],
        [("close", 0, 0), ("void", 0, 0)],
        [("replan", 0, 1), ("credit", 2, 6), ("pay_in", 0, 7)],
        [("due", 0, 0)],
    ]
    await check_law(history, story, by_time=False)


@pytest.fixture
async def priced(shared_pool: Pool[Record]) -> History:
    """A call, then another price and another meter, then a second call."""
    history = await a_history(shared_pool, PLAIN, (0, 0), None)
    await history.shop.use(history.clock.now)
    return history


async def test_prices_and_archiving_of_later_are_unknown(priced: History) -> None:
    shop, clock = priced.shop, priced.clock
    then = await shop.head_position()
    await project_all(shop.service)
    async with await client_of(shop) as client:
        path = f"/subscriptions/{priced.subscriptions[2]}/estimate"
        before = (await client.get(path)).json()
        clock.advance(hours=1)
        async with transaction(shop.service, shop.caller, "meter.archive") as running:
            (await running.get(Meter, "calls")).archive(running.now)
        await shop.reprice(price_of(fixed_price=9_900), MARCH)
        await shop.use(clock.now)
        await project_all(shop.service)
        asked = {"as_of": str(then)}
        assert (await client.get(path, params=asked)).json() == {**before, "position": then}
        usage = await client.get("/meters/calls/usage", params={**SPAN, **asked})
        assert (usage.json()["quantity"], usage.json()["position"]) == ("1", then)


async def test_what_is_no_moment_is_refused(priced: History) -> None:
    shop = priced.shop
    end = await shop.head_position()
    await project_all(shop.service)
    ahead = instant.text(priced.clock.now + timedelta(seconds=1))
    async with await client_of(shop) as client:
        end = await shop.head_position()
        for wrong, says in (
            ("0", "from 1 to"),
            ("-1", "position of the log, from 1, or an RFC 3339 time"),
            ("1.0", "position of the log"),
            ("yesterday", "position of the log"),
            ("", "position of the log"),
            ("2026-03-10T12:00:00", "with an offset"),
            ("٣", "position of the log"),
            ("9" * 19, "from 1 to"),
            ("9" * 30, "position of the log"),
            (str(end + 1), f"which is at position {end}"),
            (ahead, "must not lie in the future"),
            ("2020-01-01T00:00:00Z", "before the first commit"),
        ):
            for path, _ in questions(priced):
                answered = await client.get(path, params={"as_of": wrong})
                assert answered.status_code == 422, (path, wrong, answered.text)
                assert "as_of" in answered.json()["message"]
                assert says in answered.json()["message"]


async def test_a_position_inside_of_a_commit_is_the_end_of_the_one_before(priced: History) -> None:
    """A batch is known whole or not at all, and the answer says as of which position it was known."""
    shop = priced.shop
    before = await shop.head_position()
    await shop.use(*[priced.clock.now] * 3)
    async with await client_of(shop) as client:
        for asked, known, quantity in (
            (before, before, "1"),
            (before + 1, before, "1"),
            (before + 2, before, "1"),
            (before + 3, before + 3, "4"),
        ):
            answered = await client.get("/meters/calls/usage", params={**SPAN, "as_of": str(asked)})
            assert (answered.json()["position"], answered.json()["quantity"]) == (known, quantity)


async def test_what_was_made_later_is_not_found(priced: History, clock: MovingClock) -> None:
    shop = priced.shop
    then = {"as_of": str(await shop.head_position())}
    await shop.customer("bob")
    bob = await shop.subscribe("bob")
    await shop.sell("later", sms_price())
    async with await client_of(shop) as client:
        for path in (
            f"/subscriptions/{bob}/estimate",
            f"/subscriptions/{bob}/credit-usage",
            "/credit-entitlements/sms/balances/bob",
            "/credit-entitlements/sms/balances/bob/ledger",
            "/customers/bob/wallets",
            "/customers/bob/wallets/ledger-entries",
            "/customers/bob/credit-entitlements",
            "/meters/nothing/usage",
        ):
            answered = await client.get(path, params=then)
            assert answered.status_code == 404, (path, answered.text)
