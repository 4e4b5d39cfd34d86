"""Prices, terms, taxes and fees hold as of their own instants, whatever changes since and whenever a cycle opens."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from app.keys import create_key, system_caller
from app.limits import CYCLES_BACK_MAX
from app.projecting import project_all
from app.service import Caller, Service
from app.transaction import transaction
from app.voiding import void_events
from domain.cycle import Interval, Unit
from domain.entitlement import Entitlement, Overage, OverageBehavior
from domain.errors import Invalid
from domain.plan import ChangeMode
from domain.price import MeterPrice
from domain.rating import Tax
from domain.subscription_events import Status
from domain.tenant import Tenant
from tests.app.shop import APRIL, MARCH, MAY, Shop, price_of, sms_line, sms_price
from tests.conftest import MovingClock

INVOICED = Overage(enabled=True, behavior=OverageBehavior.invoice_at_billing)
DEAR_CALLS = (MeterPrice(meter_id="calls", price_per_unit="100"),)


@pytest.fixture
def shop(service: Service, caller: Caller) -> Shop:
    return Shop(service, caller)


async def change_terms(shop: Shop, **changes: Any) -> None:
    async with transaction(shop.service, shop.caller, "terms") as running:
        entitlement = await running.get(Entitlement, "sms")
        entitlement.change(msgspec.structs.replace(entitlement.terms, **changes), running.now)


async def tax(shop: Shop, percent: int) -> None:
    async with transaction(shop.service, shop.caller, "tax") as running:
        tenant = await running.get(Tenant, shop.tenant_id)
        lines = (Tax(name="VAT", percent=Decimal(percent), included=False),)
        tenant.change_settings(msgspec.structs.replace(tenant.settings, tax_lines=lines), running.now)


async def test_terms_changed_at_the_instant_of_a_close_leave_the_closed_cycle_alone(
    shop: Shop, clock: MovingClock
) -> None:
    await shop.open(sms_price("1", sms_line(price_per_unit=None)))
    await shop.entitle(overage=INVOICED, currency="USD", price_per_unit="5")
    await shop.customer()
    subscription_id = await shop.subscribe()
    await shop.use(*[MARCH + timedelta(days=12, seconds=second) for second in range(3)])
    clock.now = APRIL
    assert (await shop.close(subscription_id)).total_amount == 10
    await change_terms(shop, price_per_unit="100")
    clock.now = APRIL + timedelta(hours=1)
    await shop.use(MARCH + timedelta(days=13))
    estimate = await shop.estimate(subscription_id)
    assert [line.amount for line in estimate.lines if line.kind == "adjustment"] == [5]


async def credits_of_april(shop: Shop, clock: MovingClock, *, on_time: bool) -> list[tuple[str, int]]:
    await shop.open(sms_price("10"))
    await shop.entitle()
    await shop.customer()
    await shop.subscribe()
    clock.now = APRIL + timedelta(minutes=1)
    if on_time:
        await shop.close_due()
    clock.now = APRIL + timedelta(hours=12)
    await change_terms(shop, expires_after_days=5)
    await shop.use(*[APRIL + timedelta(days=20, seconds=second) for second in range(4)])
    clock.now = MAY + timedelta(hours=2)
    documents = await shop.close_due()
    return [(line.credit_units, line.amount) for line in documents[-1].lines]


async def test_included_credits_have_the_terms_of_their_cycles_start_whenever_it_was_opened(
    service: Service, clock: MovingClock
) -> None:
    found: list[list[tuple[str, int]]] = []
    for on_time in (True, False):
        clock.now = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
        tenant_id = f"t{uuid4().hex[:12]}"
        key_id, _ = await create_key(service, system_caller(tenant_id), scope="write")
        shop = Shop(service, Caller(tenant_id, key_id, "write", "test"))
        found.append(await credits_of_april(shop, clock, on_time=on_time))
    assert found[0] == found[1]
    assert found[0][-1][0] == "4"


async def test_tax_inside_one_products_price_is_still_added_to_the_other(shop: Shop) -> None:
    await shop.open(price_of(fixed_price=1200, meters=(), tax_inclusive=True))
    await shop.sell("other", price_of(fixed_price=1000, meters=()))
    await shop.customer()
    await tax(shop, 20)
    estimate = await shop.estimate(await shop.subscribe(products=("api", "other")))
    assert [(line.amount, line.included) for line in estimate.tax_lines] == [(200, False), (200, True)]
    assert (estimate.subtotal_amount, estimate.tax_amount, estimate.total_amount) == (2200, 200, 2400)


async def test_tax_stays_inside_the_adjustment_of_a_price_that_contains_it(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of(fixed_price=0, meters=DEAR_CALLS, tax_inclusive=True))
    await shop.customer()
    await tax(shop, 20)
    subscription_id = await shop.subscribe()
    clock.now = MARCH + timedelta(days=20)
    await shop.change(subscription_id, status=Status.cancelled)
    clock.advance(hours=2)
    await shop.close_due()
    await shop.use(*[MARCH + timedelta(days=3, seconds=second) for second in range(10)])
    await project_all(shop.service)
    clock.advance(hours=2)
    (document,) = await shop.close_due()
    assert (document.subtotal_amount, document.tax_amount, document.total_amount) == (1000, 0, 1000)
    assert [(line.amount, line.included) for line in document.tax_lines] == [(167, True)]


async def test_the_fee_of_one_span_is_paid_once_however_often_it_is_interrupted(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of(fixed_price=3100))
    for product_id in ("pro", "max"):
        await shop.sell(product_id, price_of(fixed_price=3100))
    await shop.customer()
    subscription_id = await shop.subscribe()
    clock.now = MARCH + timedelta(days=10)
    await shop.replan(subscription_id, "pro", ChangeMode.prorated_immediately_keep_cycle)
    clock.now = MARCH + timedelta(days=20)
    await shop.replan(subscription_id, "max", ChangeMode.do_not_bill)
    clock.now = APRIL + timedelta(hours=2)
    assert sum(document.total_amount for document in await shop.close_due()) == 3100


async def test_a_moved_date_charges_a_late_cycle_its_own_part_in_full(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of(fixed_price=3100))
    await shop.sell("pro", price_of(fixed_price=3100))
    await shop.customer()
    subscription_id = await shop.subscribe()
    clock.now = MARCH + timedelta(days=10)
    await shop.replan(subscription_id, "pro", ChangeMode.prorated_immediately_keep_cycle)
    clock.now = MARCH + timedelta(days=20)
    await shop.change(subscription_id, next_billing_date=APRIL - timedelta(days=1))
    clock.now = APRIL + timedelta(hours=2)
    assert sum(document.total_amount for document in await shop.close_due()) == 3100


async def test_money_beyond_64_bits_blocks_no_close(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of(fixed_price=0, meters=(MeterPrice(meter_id="tokens", price_per_unit="1"),)))
    await shop.customer()
    subscription_id = await shop.subscribe()
    await shop.record([(MARCH + timedelta(days=2), '{"n": 99999999999999999999}')])
    clock.now = APRIL + timedelta(hours=2)
    assert (await shop.close(subscription_id)).total_amount == 99999999999999999999
    await void_events(shop.service, shop.caller, ["e0"], "a typing error")
    clock.now = MAY + timedelta(hours=2)
    (second,) = await shop.close_due()
    assert (second.wallet_amount, second.total_amount) == (-99999999999999999999, 0)


async def test_an_anchor_too_far_back_is_refused(shop: Shop, clock: MovingClock) -> None:
    await shop.open(price_of(cycle=Interval(count=1, unit=Unit.Day)))
    await shop.customer()
    with pytest.raises(Invalid, match=f"more than {CYCLES_BACK_MAX} cycles back"):
        await shop.subscribe(anchor=clock.now.date() - timedelta(days=CYCLES_BACK_MAX))
    with pytest.raises(Invalid, match="must lie in the years"):
        await shop.subscribe(anchor=date(1999, 12, 31))
