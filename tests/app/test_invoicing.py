"""Voiding an invoice and issuing it again: all that it moved comes back, once, and nobody pays twice."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from app.billing import estimate
from app.invoicing import mark, void
from app.projecting import project_all
from app.service import Caller, Service
from app.voiding import void_events
from domain.errors import Conflict, NotFound
from domain.invoice import Document, DocumentType
from domain.rating import Line, LineKind
from domain.subscription_events import Status
from tests.app.shop import APRIL, MARCH, MAY, Shop, price_of, sms_price
from tests.conftest import MovingClock

JUNE = datetime.fromisoformat("2026-06-01T00:00:00Z")
SOON = timedelta(hours=2)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    """Half a minor unit per call beyond two, and no fee, so that every amount is of usage."""
    opened = Shop(service, caller)
    await opened.open(price_of(fixed_price=0))
    await opened.customer()
    return opened


async def calls(shop: Shop, count: int, since: datetime = MARCH) -> None:
    await shop.use(*[since + SECOND * number for number in range(count)])


async def closed_march(shop: Shop, clock: MovingClock, count: int = 10) -> tuple[str, Document]:
    subscription_id = await shop.subscribe()
    await calls(shop, count)
    clock.now = APRIL + SOON
    return subscription_id, await shop.close(subscription_id, MARCH)


async def voided(shop: Shop, document: Document) -> None:
    await void(shop.service, shop.caller, str(document.invoice_id), "wrong address")


def adjustments(document: Document) -> list[Line]:
    return [line for line in document.lines if line.kind is LineKind.adjustment]


async def standing(shop: Shop) -> list[Document]:
    rows = await shop.service.pool.fetch(
        "select invoice_id from invoice where tenant_id = $1 and status <> 'void' order by position", shop.tenant_id
    )
    return [await shop.issued(row["invoice_id"]) for row in rows]


async def code_of(shop: Shop, document: Document) -> str:
    with pytest.raises(Conflict) as refused:
        await voided(shop, document)
    return refused.value.code


async def test_what_cannot_be_voided(shop: Shop, clock: MovingClock) -> None:
    _, document = await closed_march(shop, clock)
    with pytest.raises(NotFound):
        await void(shop.service, shop.caller, "inv_none", None)
    await mark(shop.service, shop.caller, str(document.invoice_id), paid=True)
    assert await code_of(shop, document) == "INVOICE_PAID"
    await mark(shop.service, shop.caller, str(document.invoice_id), paid=False)
    await voided(shop, document)
    before = await shop.head_position()
    assert await code_of(shop, document) == "INVOICE_VOID"
    with pytest.raises(Conflict):
        await mark(shop.service, shop.caller, str(document.invoice_id), paid=True)
    assert await shop.head_position() == before


async def test_one_invoice_stands_and_the_voided_keeps_its_bytes(shop: Shop, clock: MovingClock) -> None:
    subscription_id, first = await closed_march(shop, clock)
    (before,) = await shop.stored_invoices()
    await voided(shop, first)
    async with asyncio.timeout(60):
        again = await asyncio.gather(*(shop.close(subscription_id, MARCH) for _ in range(4)))
    assert len({document.invoice_id for document in again}) == 1
    assert (again[0].replaces, again[0].number, again[0].lines) == (first.invoice_id, "INV-000002", first.lines)
    assert next(row["document"] for row in await shop.stored_invoices()) == before["document"]
    assert await standing(shop) == [again[0]]
    await voided(shop, again[0])
    third = await shop.close(subscription_id, MARCH)
    assert (third.replaces, third.number) == (again[0].invoice_id, "INV-000003")


async def test_due_runs_wait_for_the_grace_period_and_hands_do_not(shop: Shop, clock: MovingClock) -> None:
    subscription_id, first = await closed_march(shop, clock)
    clock.advance(days=10)
    await voided(shop, first)
    clock.advance(minutes=59)
    assert await shop.close_due() == []
    clock.advance(minutes=1)
    (again,) = await shop.close_due()
    assert again.replaces == first.invoice_id
    await voided(shop, again)
    assert (await shop.close(subscription_id)).replaces == again.invoice_id


async def test_the_wallet_gets_back_what_it_paid_and_pays_again(shop: Shop, clock: MovingClock) -> None:
    await shop.pay_in(3)
    subscription_id, first = await closed_march(shop, clock)
    assert (first.wallet_amount, first.total_amount, await shop.wallet()) == (3, 1, 0)
    await voided(shop, first)
    assert await shop.wallet() == 3
    await shop.pay_in(5)
    again = await shop.close(subscription_id, MARCH)
    assert (again.wallet_amount, again.total_amount, await shop.wallet()) == (4, 0, 4)


async def test_credit_to_the_wallet_that_is_spent_keeps_the_invoice(shop: Shop, clock: MovingClock) -> None:
    subscription_id, _ = await closed_march(shop, clock)
    await void_events(shop.service, shop.caller, [f"e{number}" for number in range(4)], "sent twice")
    clock.now = MAY + SOON
    credited = await shop.close(subscription_id, APRIL)
    assert (credited.subtotal_amount, credited.total_amount, await shop.wallet()) == (-2, 0, 2)
    await shop.pay_in(-1)
    before = await shop.head_position()
    assert await code_of(shop, credited) == "WALLET_SPENT"
    assert await shop.head_position() == before
    await shop.pay_in(1)
    await voided(shop, credited)
    assert await shop.wallet() == 0
    assert (await shop.close(subscription_id, APRIL)).lines == credited.lines
    assert await shop.wallet() == 2


async def test_a_cycle_whose_corrections_stand_is_not_paid_twice(shop: Shop, clock: MovingClock) -> None:
    subscription_id, march = await closed_march(shop, clock)
    await calls(shop, 2, MARCH + timedelta(days=30))
    clock.now = MAY + SOON
    april = await shop.close(subscription_id)
    assert (march.total_amount, april.total_amount) == (4, 1)
    await voided(shop, march)
    expected = await shop.estimate(subscription_id)
    again = await shop.close(subscription_id)
    assert again.lines == expected.lines
    (line,) = adjustments(again)
    # The two calls that stand on April's document are in the new lines of March: units and money are taken back.
    assert (line.amount, line.consumed_units, line.cycle_start) == (-1, "-2", march.cycle_start)
    # 10 of 12 calls are paid, on the two documents together.
    assert sum(document.subtotal_amount for document in await standing(shop)) == 5
    await calls(shop, 2, MARCH + timedelta(days=29))
    clock.now = JUNE + SOON
    (line,) = adjustments(await shop.close(subscription_id))
    assert line.before is not None
    assert line.after is not None
    assert (line.before.amount, line.after.amount, line.amount) == (5, 6, 1)


@pytest.mark.parametrize("first_again", [0, 1])
async def test_voiding_the_cycle_and_its_correction_in_any_order(
    shop: Shop, clock: MovingClock, first_again: int
) -> None:
    subscription_id, march = await closed_march(shop, clock)
    await calls(shop, 2, MARCH + timedelta(days=30))
    clock.now = MAY + SOON
    april = await shop.close(subscription_id)
    for document in (march, april) if first_again == 0 else (april, march):
        await voided(shop, document)
        await shop.close(subscription_id, MARCH if document is march else APRIL)
    clock.now = JUNE + SOON
    await shop.close(subscription_id)
    assert sum(document.subtotal_amount for document in await standing(shop)) == 5


async def test_a_document_of_corrections_is_issued_again_after_the_grace(shop: Shop, clock: MovingClock) -> None:
    subscription_id = await shop.subscribe()
    await calls(shop, 10)
    await shop.change(subscription_id, status=Status.cancelled)
    clock.advance(hours=2)
    (last,) = await shop.close_due()
    await calls(shop, 2, MARCH + timedelta(days=3))
    await project_all(shop.service)
    clock.advance(days=1)
    (document,) = await shop.close_due()
    assert (document.type, document.total_amount) == (DocumentType.adjustment, 1)
    await voided(shop, document)
    assert await shop.close_due() == []
    clock.advance(minutes=61)
    (again,) = await shop.close_due()
    assert (again.replaces, again.lines) == (document.invoice_id, document.lines)
    assert await standing(shop) == [last, again]
    assert await shop.close_due() == []


async def test_a_reader_behind_the_void_sees_what_stood(shop: Shop, clock: MovingClock) -> None:
    """The read model of invoices may be ahead of the position that a question is answered at."""
    subscription_id, march = await closed_march(shop, clock)
    await calls(shop, 2, MARCH + timedelta(days=30))
    expected = await shop.estimate(subscription_id)
    assert [line.amount for line in adjustments(expected)] == [1]
    await voided(shop, march)
    assert (await estimate(shop.service, shop.caller, subscription_id)).lines == expected.lines


async def test_burns_return_and_burn_again(service: Service, caller: Caller, clock: MovingClock) -> None:
    shop = Shop(service, caller)
    await shop.entitle()
    await shop.open(sms_price("6", rollover_enabled=True, rollover_percentage=50))
    await shop.customer()
    await shop.credit("100")
    subscription_id = await shop.subscribe()
    await calls(shop, 2, MARCH + timedelta(days=1))
    clock.now = APRIL + SOON
    first = await shop.close(subscription_id)
    assert (first.lines[0].credit_units, (await shop.balance()).credits) == ("2", 2 + 100 + 6)
    await calls(shop, 1, MARCH + timedelta(days=2))
    await voided(shop, first)
    # What has rolled over stays so: the parent has 2 of its 4 left, which lapsed.
    assert (await shop.balance()).credits == 2 + 100 + 6
    again = await shop.close(subscription_id)
    assert (again.lines[0].credit_units, (await shop.balance()).credits) == ("3", 2 + 100 + 6)
    children = [one for one in (await shop.credits()).account.grants.values() if one.rollover_count]
    assert [(one.begins, str(one.amount)) for one in children] == [(APRIL, "2")]
