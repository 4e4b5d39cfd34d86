"""The forecast of a reckoned cycle: credits, overage and the wallet have their say at the cycle's end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from app.dashboard.forecast import forecast_of
from app.projecting import project_all
from app.reading_log import reading
from app.reckoning import reckon
from app.service import Caller, Service
from domain.entitlement import Overage, OverageBehavior
from domain.invoice import Document
from domain.subscription import Subscription
from tests.app.shop import APRIL, MARCH, Shop, price_of, sms_line, sms_price
from tests.conftest import MovingClock

EARLY = MARCH + timedelta(hours=1)
HALF = MARCH + (APRIL - MARCH) / 2


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    shop = Shop(service, caller)
    await shop.customer()
    return shop


async def foretold(shop: Shop, subscription_id: str) -> Document | None:
    await project_all(shop.service)
    async with reading(shop.service, shop.caller) as known:
        subscription = await known.get(Subscription, subscription_id)
        return await forecast_of(known, await reckon(known, subscription, subscription.cycles[-1]))


async def test_half_of_the_cycle_foretells_twice_its_usage(shop: Shop, clock: MovingClock) -> None:
    clock.now = HALF
    await shop.open()
    subscription_id = await shop.subscribe()
    await shop.use(*[EARLY] * 16)
    await shop.pay_in(3)
    forecast = await foretold(shop, subscription_id)
    # 32 calls, two of them free, at half a minor unit; the fee once, and the wallet pays what it has.
    assert forecast is not None
    assert [line.amount for line in forecast.lines] == [500, 15]
    assert (forecast.subtotal_amount, forecast.total_amount) == (515, 512)


async def test_included_credits_are_used_up_before_the_rest_is_paid(shop: Shop, clock: MovingClock) -> None:
    clock.now = HALF
    await shop.entitle()
    await shop.open(sms_price("10"))
    subscription_id = await shop.subscribe()
    await shop.use(*[EARLY] * 10)
    forecast = await foretold(shop, subscription_id)
    # Ten calls in one half are 20 in the whole: ten in credits, ten paid at one minor unit.
    assert forecast is not None
    (line,) = forecast.lines
    assert (line.consumed_units, line.credit_units, line.paid_units) == ("20", "10", "10")
    assert forecast.total_amount == 10


async def test_overage_is_foretold_up_to_its_limit(shop: Shop, clock: MovingClock) -> None:
    clock.now = HALF
    overage = Overage(enabled=True, behavior=OverageBehavior.invoice_at_billing, limit="6")
    await shop.entitle(currency="USD", price_per_unit="3", overage=overage)
    await shop.open(sms_price("10", sms_line(price_per_unit=None)))
    subscription_id = await shop.subscribe()
    await shop.use(*[EARLY] * 10)
    forecast = await foretold(shop, subscription_id)
    assert forecast is not None
    assert [(line.kind, line.amount) for line in forecast.lines] == [("usage", 0), ("overage", 18)]


async def test_credits_that_another_cycle_will_use_are_gone(shop: Shop, clock: MovingClock) -> None:
    clock.now = HALF
    await shop.entitle()
    await shop.open(sms_price("10"))
    # It ends with the other, and settles first or second by its id: together they have 10 + 10 credits for 20 + 20.
    first = await shop.subscribe()
    second = await shop.subscribe()
    await shop.use(*[EARLY] * 10)
    amounts = [document.total_amount for one in (first, second) if (document := await foretold(shop, one))]
    assert sum(amounts) == 20


async def test_too_early_and_too_late_nothing_is_told(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of())
    clock.now = datetime(2026, 3, 12, 2, tzinfo=UTC)
    subscription_id = await shop.subscribe(anchor=date(2026, 3, 12))
    assert await foretold(shop, subscription_id) is None
    clock.now += timedelta(days=1)
    assert await foretold(shop, subscription_id) is not None
    clock.now = datetime(2026, 4, 12, tzinfo=UTC)
    assert await foretold(shop, subscription_id) is None
