"""Usage that is recorded or retracted after the close: corrected on the next invoice, and never dropped."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from app.invoicing import void
from app.projecting import project_all
from app.service import Caller, Service
from app.subscribing import Change, change_subscription
from app.transaction import transaction
from app.voiding import void_events
from domain.invoice import Document, DocumentType
from domain.price import MeterPrice
from domain.product import Product
from domain.rating import Line, LineKind
from domain.subscription_events import Status
from tests.app.shop import APRIL, MARCH, MAY, Shop, price_of
from tests.conftest import MovingClock

JUNE = datetime.fromisoformat("2026-06-01T00:00:00Z")


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    """Half a minor unit per call beyond two, and no fee, so that every amount is of usage."""
    opened = Shop(service, caller)
    await opened.open(price_of(fixed_price=0))
    await opened.customer()
    return opened


def march(day: int, seconds: int = 0) -> datetime:
    return MARCH + timedelta(days=day - 1, seconds=seconds)


def adjustments(document: Document) -> list[Line]:
    return [line for line in document.lines if line.kind is LineKind.adjustment]


async def closed_march(shop: Shop, clock: MovingClock, calls: int = 10) -> tuple[str, Document]:
    """A subscription whose March had so many calls and is invoiced."""
    subscription_id = await shop.subscribe()
    await shop.use(*[march(2, second) for second in range(calls)])
    clock.now = APRIL + timedelta(hours=2)
    return subscription_id, await shop.close(subscription_id, MARCH)


async def test_a_late_call_is_one_line_on_the_next_invoice(shop: Shop, clock: MovingClock) -> None:
    subscription_id, first = await closed_march(shop, clock)
    assert first.total_amount == 4
    await shop.use(march(31), march(31, 1))
    estimate = await shop.estimate(subscription_id)
    clock.now = MAY + timedelta(hours=2)
    second = await shop.close(subscription_id)
    (line,) = adjustments(second)
    assert (line.amount, line.consumed_units, line.cycle_start) == (1, "2", first.cycle_start)
    assert line.before is not None
    assert line.after is not None
    assert (line.before.consumed_units, line.before.amount) == ("10", 4)
    assert (line.after.consumed_units, line.after.amount) == ("12", 5)
    assert second.total_amount == 1
    assert estimate.lines == second.lines
    assert await shop.issued(str(first.invoice_id)) == first


async def test_what_was_corrected_once_is_not_corrected_again(shop: Shop, clock: MovingClock) -> None:
    subscription_id, _ = await closed_march(shop, clock)
    await shop.use(march(31), march(31, 1))
    clock.now = MAY + timedelta(hours=2)
    await shop.close(subscription_id)
    await shop.use(march(31, 2), march(31, 3), march(31, 4))
    clock.now = JUNE + timedelta(hours=2)
    (line,) = adjustments(await shop.close(subscription_id))
    assert line.before is not None
    assert line.after is not None
    # 13 of 15 calls are paid: 6.5 minor units, rounded once to 7, of which 4 and 1 were invoiced.
    assert (line.before.amount, line.after.amount, line.amount) == (5, 7, 2)


async def test_usage_within_the_threshold_is_shown_and_costs_nothing(shop: Shop, clock: MovingClock) -> None:
    subscription_id, _ = await closed_march(shop, clock, calls=1)
    await shop.use(march(31))
    clock.now = MAY + timedelta(hours=2)
    (line,) = adjustments(await shop.close(subscription_id))
    assert (line.amount, line.consumed_units, line.free_units) == (0, "1", "1")


async def test_usage_of_the_open_cycle_corrects_nothing(shop: Shop, clock: MovingClock) -> None:
    subscription_id, _ = await closed_march(shop, clock)
    await shop.use(APRIL, APRIL + timedelta(hours=1))
    clock.now = MAY + timedelta(hours=2)
    assert adjustments(await shop.close(subscription_id)) == []


async def test_a_retracted_call_is_taken_off(shop: Shop, clock: MovingClock) -> None:
    subscription_id, first = await closed_march(shop, clock)
    await void_events(shop.service, shop.caller, [f"e{number}" for number in range(4)], "sent twice")
    clock.now = MAY + timedelta(hours=2)
    second = await shop.close(subscription_id)
    (line,) = adjustments(second)
    assert (line.amount, line.consumed_units) == (-2, "-4")
    # Nothing else was used, so the rest is the customer's.
    assert (second.subtotal_amount, second.wallet_amount, second.total_amount) == (-2, -2, 0)
    assert first.total_amount == 4


async def test_a_price_recorded_since_does_not_touch_a_closed_cycle(shop: Shop, clock: MovingClock) -> None:
    subscription_id, _ = await closed_march(shop, clock)
    dear = price_of(fixed_price=0, meters=(MeterPrice(meter_id="calls", price_per_unit="100", free_threshold="2"),))
    async with transaction(shop.service, shop.caller, "reprice") as running:
        product = await running.get(Product, "api")
        product.reprice(dear, MARCH, running.now)
    await shop.use(march(31), march(31, 1))
    clock.now = MAY + timedelta(hours=2)
    (line,) = adjustments(await shop.close(subscription_id))
    assert line.amount == 1


async def test_after_the_last_cycle_it_gets_a_document_of_its_own(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await shop.use(*[march(2, second) for second in range(10)])
    clock.now = march(10)
    await cancel(shop, subscription_id)
    clock.now = march(11)
    (last,) = await shop.close_due()
    assert last.total_amount == 4
    await shop.use(march(3), march(3, 1))
    assert (await shop.estimate(subscription_id)).total_amount == 1
    assert await shop.close_due() == []
    clock.advance(hours=2)
    (document,) = await shop.close_due()
    assert (document.type, document.total_amount) == (DocumentType.adjustment, 1)
    assert (document.cycle_start, document.cycle_end) == (last.cycle_start, last.cycle_end)
    await void_events(shop.service, shop.caller, ["e0", "e1"], "sent twice")
    await project_all(shop.service)
    clock.advance(hours=2)
    (note,) = await shop.close_due()
    assert (note.type, note.subtotal_amount, note.total_amount) == (DocumentType.credit_note, -1, 0)
    assert await shop.close_due() == []


async def cancel(shop: Shop, subscription_id: str) -> None:
    await change_subscription(shop.service, shop.caller, subscription_id, Change(status=Status.cancelled))


async def test_late_usage_that_changes_nothing_is_looked_at_once(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    clock.now = march(20, 1800)
    await cancel(shop, subscription_id)
    clock.now = march(21)
    await shop.close_due()
    await shop.use(march(20, 2400))
    await project_all(shop.service)
    clock.advance(hours=2)
    before = await shop.head_position()
    assert await shop.close_due() == []
    settled = await shop.head_position()
    assert await shop.close_due() == []
    assert (settled, await shop.head_position()) == (before + 1, before + 1)


async def test_a_void_invoice_gives_back_its_adjustments(shop: Shop, clock: MovingClock) -> None:
    subscription_id, _ = await closed_march(shop, clock)
    await shop.use(march(31), march(31, 1))
    clock.now = MAY + timedelta(hours=2)
    second = await shop.close(subscription_id)
    await void(shop.service, shop.caller, str(second.invoice_id), "wrong address")
    again = await shop.close(subscription_id, APRIL)
    assert (again.lines, again.replaces) == (second.lines, second.invoice_id)
    assert again.number != second.number
