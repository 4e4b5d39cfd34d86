"""What several subscriptions of a customer share is never spent twice, whoever closes first."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.service import Caller, Service
from app.usage_history import usage_history
from app.voiding import void_events
from domain.errors import Insufficient
from domain.invoice import Document
from domain.price import MeterPrice
from domain.tier import Tier, TierMode
from tests.app.shop import APRIL, MARCH, MAY, Shop, price_of, sms_line, sms_price
from tests.conftest import MovingClock

HOUR = timedelta(hours=1)
TIERS = (Tier(up_to="3", price_per_unit="2"), Tier(up_to=None, price_per_unit="0.5", fixed_price=7))


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.customer()
    return opened


async def test_eight_closes_share_one_wallet(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of())
    subscription_ids = [await shop.subscribe() for _ in range(8)]
    await shop.pay_in(1700)
    clock.now = APRIL
    async with asyncio.timeout(60):
        closed = await asyncio.gather(*map(shop.close, subscription_ids))
    in_order = sorted(closed, key=lambda document: document.position)
    assert [document.wallet_amount for document in in_order] == [500, 500, 500, 200, 0, 0, 0, 0]
    assert sum(document.total_amount for document in closed) == 8 * 500 - 1700
    assert await shop.wallet() == 0


async def test_eight_closes_share_one_grant(shop: Shop, clock: MovingClock) -> None:
    """Each rates the same ten calls; who closes first does not matter."""
    await shop.entitle()
    await shop.open(sms_price(None))
    subscription_ids = sorted([await shop.subscribe() for _ in range(8)])
    await shop.credit("25")
    await shop.use(*[clock.now] * 10)
    clock.now = APRIL
    async with asyncio.timeout(60):
        closed = await asyncio.gather(*map(shop.close, reversed(subscription_ids)))
    by_id = {document.subscription_id: document.lines[0].credit_units for document in closed}
    assert [by_id[one] for one in subscription_ids] == ["10", "10", "5", "0", "0", "0", "0", "0"]
    view = await shop.credits()
    assert [*view.settlement.remaining.values()] == [0]


async def test_debits_that_race_closes(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle()
    await shop.open(sms_price(None))
    subscription_ids = [await shop.subscribe() for _ in range(2)]
    await shop.credit("25")
    await shop.use(*[clock.now] * 10)
    clock.now = APRIL
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(
            *map(shop.close, subscription_ids), *(shop.debit("2") for _ in range(4)), return_exceptions=True
        )
    assert [type(each) for each in outcomes if isinstance(each, Exception)] == [Insufficient, Insufficient]
    assert [each.lines[0].credit_units for each in outcomes if isinstance(each, Document)] == ["10", "10"]
    assert (await shop.balance()).credits == 1


async def test_the_wallet_pays_what_it_can_and_takes_what_is_below_zero(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of(fixed_price=0, meters=(MeterPrice(meter_id="calls", price_per_unit="10"),)))
    subscription_id = await shop.subscribe()
    await shop.use(*[MARCH] * 4)
    await shop.pay_in(15)
    clock.now = APRIL + 2 * HOUR
    estimate = await shop.estimate(subscription_id)
    document = await shop.close(subscription_id)
    assert (estimate.wallet_amount, document.wallet_amount, document.total_amount) == (15, 15, 25)
    await void_events(shop.service, shop.caller, ["e0", "e1", "e2"], "")
    clock.now = MAY
    estimate = await shop.estimate(subscription_id)
    document = await shop.close(subscription_id)
    assert (document.subtotal_amount, document.wallet_amount, document.total_amount) == (-30, -30, 0)
    assert (estimate.wallet_amount, estimate.total_amount, await shop.wallet()) == (-30, 0, 30)


async def test_the_usage_history_shows_what_was_invoiced(shop: Shop, clock: MovingClock) -> None:
    await shop.entitle()
    await shop.open(sms_price("2", sms_line("calls", None, tier_mode=TierMode.graduated, tiers=TIERS)))
    subscription_id = await shop.subscribe()
    await shop.use(*[MARCH] * 7)
    clock.now = APRIL + HOUR
    document = await shop.close(subscription_id)
    await shop.use(APRIL, APRIL, APRIL)
    await shop.estimate(subscription_id)
    periods = await usage_history(
        shop.service, shop.caller, subscription_id, since=None, until=None, meter_id=None, limit=10, offset=0
    )
    uses = [use for period in periods for use in period.meters]
    # 5 paid: three at 2, then 7 once and two at a half.
    assert [(use.consumed_units, use.chargeable_units, use.total_price) for use in uses] == [
        ("3", "3", 2),
        ("7", "7", 14),
    ]
    assert (document.total_amount, [use.price_per_unit for use in uses]) == (14, ["2", "0.5"])
