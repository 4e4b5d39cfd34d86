"""Price versions as they were known, each with why it applies to a cycle or not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.audit.price_history import price_history
from app.reading_log import reading
from app.service import Caller, Service
from domain import instant
from tests.app.shop import APRIL, MARCH, Shop, price_of
from tests.conftest import MovingClock

DAY = timedelta(days=1)


@pytest.fixture
async def repriced(service: Service, caller: Caller, clock: MovingClock) -> Shop:
    """Version 1 for ever, 2 and 3 from April on, 4 from mid-April on."""
    shop = Shop(service, caller)
    clock.now = MARCH
    await shop.open()
    for fee, at in ((600, APRIL), (700, APRIL), (800, APRIL + 14 * DAY)):
        clock.advance(hours=1)
        await shop.reprice(price_of(fixed_price=fee), at)
    return shop


async def told(shop: Shop, start: str, known_at: int | None = None) -> list[tuple[bool, str]]:
    async with reading(shop.service, shop.caller, latest=True) as known:
        at = known.position if known_at is None else known_at
        found = await price_history(known, "api", instant.parse(start), at)
    assert [one.index for one in found] == list(range(1, len(found) + 1))
    assert all(one.origin.key_id == shop.caller.key_id for one in found)
    assert [one.position for one in found] == sorted({one.position for one in found})
    return [(one.applies, one.why) for one in found]


async def test_the_latest_in_force_applies_and_the_others_say_why_not(repriced: Shop) -> None:
    start = "2026-04-01T00:00:00Z"
    assert await told(repriced, start) == [
        (False, "in force from the beginning of time, until version 3 took its place"),
        (False, "in force from 2026-04-01 00:00:00 UTC, as version 3 is, which was recorded later"),
        (
            True,
            "in force from 2026-04-01 00:00:00 UTC, the latest that is in force when the cycle starts at"
            " 2026-04-01 00:00:00 UTC",
        ),
        (False, "in force from 2026-04-15 00:00:00 UTC only, and the cycle starts at 2026-04-01 00:00:00 UTC"),
    ]


async def test_what_was_not_known_is_not_told(repriced: Shop) -> None:
    async with reading(repriced.service, repriced.caller, latest=True) as known:
        first, *_ = await price_history(known, "api", MARCH, known.position)
    ((applies, why),) = await told(repriced, "2026-05-01T00:00:00Z", known_at=first.position)
    assert applies
    assert why.startswith("in force from the beginning of time, the latest")
