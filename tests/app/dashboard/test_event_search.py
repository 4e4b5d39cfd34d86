"""A search that finds little stops after a bounded part of the log, and says where to go on."""

from __future__ import annotations

import pytest

from app.dashboard import event_search
from app.dashboard.event_search import Found, Sought, search
from app.service import Caller, Service
from domain.errors import Invalid
from projections.log_reader import head
from tests.app.shop import MARCH, Shop

EVENTS = 45


@pytest.fixture
async def shop(service: Service, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A log of 45 calls of which only the first has ``n`` 0, looked through 20 positions at a time."""
    monkeypatch.setattr(event_search, "WINDOW_POSITIONS", 10)
    monkeypatch.setattr(event_search, "WINDOWS_MAX", 2)
    opened = Shop(service, caller)
    await opened.record([(MARCH, '{"n": 0}'), *[(MARCH, '{"n": 1}')] * (EVENTS - 1)])
    return opened


async def look(shop: Shop, sought: Sought, *, before: int | None = None, after: int = 0, limit: int = 100) -> Found:
    async with shop.service.pool.acquire() as connection:
        end = (await head(connection, shop.tenant_id)).position
        return await search(connection, shop.tenant_id, sought, before=before or end + 1, after=after, limit=limit)


def ids(found: Found) -> list[str]:
    return [row["event_id"] for row in found.rows]


async def test_it_goes_on_where_it_stopped_and_misses_nothing(shop: Shop) -> None:
    seen, stops = list[str](), list[int]()
    found = await look(shop, Sought())
    while True:
        seen += ids(found)
        if not found.searched_to:
            break
        stops.append(found.searched_to)
        found = await look(shop, Sought(), before=found.searched_to + 1)
    assert seen == [f"e{number}" for number in reversed(range(EVENTS))]
    assert len(stops) >= 2
    assert stops == sorted(stops, reverse=True)


async def test_what_lies_far_back_is_not_found_at_once(shop: Shop) -> None:
    found = await look(shop, Sought(metadata="n=0"))
    assert ids(found) == []
    assert found.searched_to > 0
    last = await look(shop, Sought(metadata="n=0"), before=found.searched_to + 1)
    while last.searched_to and not last.rows:
        last = await look(shop, Sought(metadata="n=0"), before=last.searched_to + 1)
    assert ids(last) == ["e0"]


async def test_a_full_page_says_where_the_next_one_begins(shop: Shop) -> None:
    first = await look(shop, Sought(), limit=3)
    second = await look(shop, Sought(), before=first.searched_to + 1, limit=3)
    assert ids(first) + ids(second) == ["e44", "e43", "e42", "e41", "e40", "e39"]


async def test_only_what_is_newer(shop: Shop) -> None:
    newest = (await look(shop, Sought(), limit=1)).rows[0]["position"]
    assert ids(await look(shop, Sought(), after=newest - 2)) == ["e44", "e43"]
    assert ids(await look(shop, Sought(), after=newest)) == []


async def test_a_batch_that_a_window_cuts(shop: Shop) -> None:
    first = (await look(shop, Sought(), limit=1)).rows[0]["position"] - EVENTS + 1
    cut = await look(shop, Sought(), after=first + 4, before=first + 9)
    assert ids(cut) == ["e8", "e7", "e6", "e5"]


@pytest.mark.parametrize("metadata", ["large", "=large", f"{'k' * 101}=1"])
async def test_a_condition_needs_a_key_and_a_value(shop: Shop, metadata: str) -> None:
    with pytest.raises(Invalid, match="key=value"):
        await look(shop, Sought(metadata=metadata))
