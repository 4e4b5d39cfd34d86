"""Alerts through random histories: usage, voids, looks and closes in any order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from asyncpg import Pool, Record
from hypothesis import given, settings
from hypothesis import strategies as st

from app.database import open_pool
from app.keys import create_key, system_caller
from app.service import Caller, Service
from app.voiding import void_events
from domain.alert import AlertKind
from domain.invoice import Document
from domain.rating import LineKind
from tests.app.alerting.reading import fired, look, set_alert
from tests.app.shop import APRIL, MARCH, Shop
from tests.conftest import RULES, MovingClock

THRESHOLDS = ("1", "3", "4.5", "10")
MONTHS = (MARCH, APRIL)


@pytest.fixture(scope="module")
async def pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as opened:
        yield opened


steps = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 1), st.integers(1, 6)),
        st.tuples(st.just("void"), st.integers(0, 20), st.integers(1, 3)),
        st.tuples(st.just("look"), st.just(0), st.just(0)),
        st.tuples(st.just("close"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


async def lived(pool: Pool[Record], moves: list[tuple[str, int, int]]) -> tuple[Shop, list[Document]]:
    """A shop in May with one subscription since March, after the moves, with both months closed in the end."""
    clock = MovingClock()
    tenant_id = f"t{uuid4().hex[:12]}"
    service = Service(pool, clock, RULES)
    await create_key(service, system_caller(tenant_id), scope="write")
    shop = Shop(service, Caller(tenant_id, "key_1", "write", "test"))
    await shop.open()
    await shop.customer()
    subscription_id = await shop.subscribe()
    for threshold in THRESHOLDS:
        await set_alert(shop, threshold)
    await set_alert(shop, "502", AlertKind.amount)
    clock.now = APRIL + timedelta(days=31)
    closed: list[Document] = []
    for kind, number, count in [*moves, ("close", 0, 0), ("close", 0, 0)]:
        match kind:
            case "use":
                await shop.use(*[MONTHS[number] + timedelta(days=1)] * count)
            case "void":
                await void_events(service, shop.caller, [f"e{number + index}" for index in range(count)], "")
            case "close" if len(closed) < len(MONTHS):
                closed.append(await shop.close(subscription_id, MONTHS[len(closed)]))
            case _:
                await look(shop)
    await look(shop)
    return shop, closed


@settings(max_examples=15)
@given(moves=steps)
async def test_any_history_fires_once_in_order_and_misses_nothing(
    pool: Pool[Record], moves: list[tuple[str, int, int]]
) -> None:
    shop, closed = await lived(pool, moves)
    said: dict[str, list[tuple[str, Decimal, Decimal]]] = defaultdict(list)
    for firing in await fired(shop):
        said[firing.cycle_start].append((firing.kind, Decimal(firing.threshold), Decimal(firing.value)))
    for document in closed:
        firings = said[document.cycle_start]
        assert all(value >= threshold for _, threshold, value in firings)
        quantities = [threshold for kind, threshold, _ in firings if kind == "quantity"]
        # Rising, and none twice.
        assert quantities == sorted(set(quantities))
        (line,) = [line for line in document.lines if line.kind is LineKind.usage]
        reached = {Decimal(one) for one in THRESHOLDS if Decimal(line.consumed_units) >= Decimal(one)}
        assert reached <= set(quantities)
        amounts = [threshold for kind, threshold, _ in firings if kind == "amount"]
        assert len(amounts) <= 1
        assert amounts or document.subtotal_amount < 502
