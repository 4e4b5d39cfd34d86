"""Closing in groups: all of a group or nothing, each as if it were alone, and nobody waits for what cannot close."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from app import billing, closing, due
from app.closing import Closed, Due, close_group, first_group
from app.database import connect_owner
from app.due import Dealt, close_due_everywhere
from app.identity import new_id
from app.keys import create_key, system_caller
from app.retries import PAUSE_SECONDS, Retries
from app.service import Caller, Service
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.invoice import Document
from domain.meter import Meter
from domain.price import MeterPrice
from domain.product import Product
from domain.rating import LineKind
from domain.subscription import Subscription
from projections.log_reader import SQL as LOG
from projections.log_reader import head
from tests.app.alerting.reading import set_alert
from tests.app.shop import APRIL, MARCH, MAY, Shop, sms_line, sms_price
from tests.conftest import MovingClock

DAY = timedelta(days=1)


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    opened = Shop(service, caller)
    await opened.open()
    return opened


async def customers(shop: Shop, count: int) -> list[str]:
    """So many customers with a subscription each; the ids of the subscriptions, in their order."""
    found: list[str] = []
    for number in range(count):
        await shop.customer(f"customer-{number}")
        found.append(await shop.subscribe(f"customer-{number}"))
        await shop.use(*[MARCH + DAY] * number, customer_id=f"customer-{number}")
    return sorted(found)


async def due_now(shop: Shop) -> list[Due]:
    return [one async for page in due.due_pages(shop.service, shop.tenant_id) for one in page]


def sizes_of_groups(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many subscriptions of the shop each transaction is asked to close, from now on."""
    sizes: list[int] = []
    close = due.close_group

    async def noting(service: Service, caller: Caller, group: Sequence[Due]) -> list[Closed]:
        if caller.tenant_id == shop.tenant_id:
            sizes.append(len(group))
        return await close(service, caller, group)

    monkeypatch.setattr(due, "close_group", noting)
    return sizes


def break_reckoning(monkeypatch: pytest.MonkeyPatch, broken: str, defect: Exception) -> None:
    """Let the facts of one subscription be beyond reading."""
    reckon = billing.reckon

    async def failing(aggregates: Any, subscription: Subscription, *rest: Any) -> Any:
        if subscription.object_id == broken:
            raise defect
        return await reckon(aggregates, subscription, *rest)

    monkeypatch.setattr(billing, "reckon", failing)


def numbers(count: int) -> list[str]:
    return [f"INV-{number:06d}" for number in range(1, count + 1)]


async def stored_numbers(shop: Shop) -> list[str]:
    return [row["number"] for row in await shop.stored_invoices()]


# Who is in a group.


def test_a_group_has_one_subscription_of_a_customer() -> None:
    waiting = [Due(f"sub-{number}", customer, "USD") for number, customer in enumerate("aabcab")]
    group, rest = first_group(waiting, 2)
    assert [one.subscription_id for one in group] == ["sub-0", "sub-2"]
    assert [one.subscription_id for one in rest] == ["sub-1", "sub-3", "sub-4", "sub-5"]
    group, rest = first_group(rest, 5)
    assert [one.subscription_id for one in group] == ["sub-1", "sub-3", "sub-5"]
    assert [one.subscription_id for one in rest] == ["sub-4"]


# What cannot be closed.


@pytest.mark.parametrize("defect", [ValueError("a defect"), asyncpg.NumericValueOutOfRangeError("too large")])
async def test_what_cannot_be_closed_does_not_hold_up_its_group(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch, defect: Exception
) -> None:
    ids = await customers(shop, 4)
    clock.advance(days=40)
    sizes = sizes_of_groups(shop, monkeypatch)
    seconds = 0.0
    retries = Retries(lambda: seconds)

    async def run() -> dict[str, str | None]:
        dealt: list[Dealt] = [one async for one in close_due_everywhere(shop.service, retries)]
        return {one.subscription_id: one.failure for one in dealt if one.tenant_id == shop.tenant_id}

    with monkeypatch.context() as broken:
        break_reckoning(broken, ids[1], defect)
        outcome = await run()
        assert outcome == {one: f"{type(defect).__name__}: {defect}" if one == ids[1] else None for one in ids}
        assert sizes == [4, 1, 1, 1, 1]
        assert await stored_numbers(shop) == numbers(3)
        # The next time it is tried alone, so that those who are due with it do not fail with it.
        clock.advance(days=30)
        sizes.clear()
        seconds += PAUSE_SECONDS
        assert [one for one, failure in (await run()).items() if failure] == [ids[1]]
        assert sizes == [1, 3]
    seconds += 4 * PAUSE_SECONDS
    # Both of its months, in order.
    assert await run() == {ids[1]: None}
    assert await stored_numbers(shop) == numbers(8)
    starts = [document.cycle_start for document in await documents_of(shop, ids[1])]
    assert starts == sorted(starts)
    assert len(starts) == 2


async def documents_of(shop: Shop, subscription_id: str) -> list[Document]:
    rows = await shop.stored_invoices()
    found = [msgspec.json.decode(row["document"], type=Document) for row in rows]
    return [document for document in found if document.subscription_id == subscription_id]


async def test_a_group_that_dies_before_its_commit_leaves_nothing(
    shop: Shop, clock: MovingClock, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await customers(shop, 4)
    clock.advance(days=40)
    group, before = await due_now(shop), await head(shop.service.pool, shop.tenant_id)
    invoice = closing.invoice_cycle
    closed: list[str] = []

    async def killed_at_the_third(running: Any, subscription: Subscription, *rest: Any) -> Any:
        closed.append(subscription.object_id)
        if len(closed) == 3:
            owner = await connect_owner(dsn)
            pid = await running.database.fetchval("select pg_backend_pid()")
            await owner.fetchval("select pg_terminate_backend($1, 10000)", pid)
            await owner.close()
        return await invoice(running, subscription, *rest)

    with monkeypatch.context() as killing:
        killing.setattr(closing, "invoice_cycle", killed_at_the_third)
        with pytest.raises(asyncpg.InterfaceError, match="closed"):
            await close_group(shop.service, shop.caller, group)
    assert sorted(closed) == ids
    assert await head(shop.service.pool, shop.tenant_id) == before
    assert (await shop.numbers_given(), await stored_numbers(shop)) == (0, [])
    assert len(await shop.close_due()) == 4
    assert await stored_numbers(shop) == numbers(4)


# What a group does.


async def test_a_group_is_one_commit(shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    await customers(shop, 5)
    clock.advance(days=40)
    sizes = sizes_of_groups(shop, monkeypatch)
    before = await shop.head_position()
    documents = await shop.close_due()
    assert sizes == [5]
    assert [document.number for document in documents] == numbers(5)
    assert {document.position for document in documents} == {before}
    (commit,) = await shop.service.pool.fetch(LOG["commits_after"], shop.tenant_id, before, 2**62, 10)
    assert commit["last_position"] == await shop.head_position()


async def test_two_subscriptions_of_a_customer_close_one_after_the_other(shop: Shop, clock: MovingClock) -> None:
    """The second finds the wallet as the first left it, and names a position past the first."""
    await shop.customer()
    ids = sorted([await shop.subscribe(), await shop.subscribe()])
    await shop.pay_in(700)
    clock.advance(days=40)
    first, second = await shop.close_due()
    assert [first.subscription_id, second.subscription_id] == ids
    assert (first.wallet_amount, second.wallet_amount) == (500, 200)
    issued = await shop.service.pool.fetchval(
        "select position from invoice where tenant_id = $1 and invoice_id = $2", shop.tenant_id, first.invoice_id
    )
    assert first.position < issued <= second.position
    assert await shop.wallet() == 0


async def test_missed_months_close_in_order_one_in_each_round(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await customers(shop, 2)
    clock.advance(days=91)  # 9 June: March, April and May have ended.
    await shop.customer("late")
    ids.append(await shop.subscribe("late", anchor=datetime(2026, 5, 1).date()))
    clock.advance(hours=2)
    sizes = sizes_of_groups(shop, monkeypatch)
    documents = await shop.close_due()
    assert sizes == [3, 2, 2]
    for subscription_id in ids:
        own = [document for document in documents if document.subscription_id == subscription_id]
        assert [document.cycle_start for document in own] == sorted(document.cycle_start for document in own)
    assert sorted(document.cycle_start[:7] for document in documents) == sorted(
        ["2026-03", "2026-04", "2026-05"] * 2 + ["2026-05"]
    )
    assert await shop.close_due() == []


async def test_a_group_whose_time_is_up_leaves_the_rest_to_the_next(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "GROUP_SECONDS", 0)
    await customers(shop, 3)
    clock.advance(days=40)
    sizes = sizes_of_groups(shop, monkeypatch)
    documents = await shop.close_due()
    assert sizes == [3, 2, 1]
    assert [document.number for document in documents] == numbers(3)
    assert len({document.position for document in documents}) == 3


async def test_nothing_due_appends_nothing(shop: Shop, clock: MovingClock) -> None:
    """As for whoever comes second: the other run closed them all."""
    await customers(shop, 3)
    clock.advance(days=40)
    group = await due_now(shop)
    assert [closed.more for closed in await close_group(shop.service, shop.caller, group)] == [False] * 3
    position = await shop.head_position()
    assert [closed.bill for closed in await close_group(shop.service, shop.caller, group)] == [None] * 3
    assert await shop.head_position() == position


async def test_closers_at_once_share_many_subscriptions(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "GROUP_MAX", 5)
    ids = await customers(shop, 18)
    clock.advance(days=60)  # March and April are due.
    async with asyncio.timeout(120):
        runs = await asyncio.gather(*(shop.close_due() for _ in range(8)))
    closed = [document for run in runs for document in run]
    assert len(closed) == 36
    assert {(one.subscription_id, one.cycle_start[:7]) for one in closed} == {
        (one, month) for one in ids for month in ("2026-03", "2026-04")
    }
    assert await stored_numbers(shop) == numbers(36)
    # In the order of numbers is in the order of the log.
    in_order = sorted(closed, key=lambda document: document.number or "")
    assert [document.position for document in in_order] == sorted(document.position for document in closed)


# In a group as alone.


async def varied(shop: Shop) -> dict[str, str]:
    """Customers with credits, a wallet, an alert, and cycles that begin within an hour; their subscriptions."""
    async with transaction(shop.service, shop.caller, "shop.meters") as running:
        for meter_id, aggregation in (("users", "unique"), ("level", "last")):
            running.add(
                Meter.create(
                    meter_id,
                    name=meter_id,
                    event_name="call",
                    aggregation=read_aggregation({"type": aggregation, "key": "n"}),
                    filter="",
                    measurement_unit="unit",
                    description=None,
                    at=running.now,
                )
            )
        lines = [MeterPrice(meter_id=one, price_per_unit="7", free_threshold="1") for one in ("users", "level")]
        price = sms_price("3", sms_line(), *lines, fixed_price=90)
        (await running.get(Product, "api")).reprice(price, MARCH, running.now)
    for customer_id, zone in (("ada", "UTC"), ("bob", "Asia/Kolkata"), ("cleo", "UTC")):
        await shop.customer(customer_id, zone)
    await shop.pay_in(40)
    await set_alert(shop, "4", customer_id="bob")
    anchor = MARCH.date()
    return {
        "ada": await shop.subscribe("ada", anchor),
        "bob": await shop.subscribe("bob", anchor),
        "cleo": await shop.subscribe("cleo", None),
    }


async def use(shop: Shop, at: datetime) -> None:
    for customer_id, count in (("ada", 3), ("bob", 5), ("cleo", 8)):
        calls = [(at + timedelta(minutes=7 * n), f'{{"n": {n % 4}.5}}') for n in range(count)]
        await shop.record(calls, customer_id)


def bare(document: Document) -> bytes:
    """Without what belongs to the moment and the place of closing."""
    return msgspec.json.encode(
        msgspec.structs.replace(
            document, invoice_id=None, number=None, subscription_id="", position=0, digest=None, issued_at=None
        )
    )


async def test_an_invoice_of_a_group_is_the_estimate_and_what_closing_it_alone_gives(
    shop: Shop, service: Service, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = new_id("t").lower().replace("_", "-")
    key_id, _ = await create_key(service, system_caller(tenant_id), scope="write")
    other = Shop(service, Caller(tenant_id, key_id, "write", "test"))
    clock.advance(minutes=17)
    await other.entitle()
    await shop.entitle()
    await other.open()
    together, alone = await varied(shop), await varied(other)
    sizes = sizes_of_groups(shop, monkeypatch)
    for used_at, closed_at in ((APRIL - 2 * DAY, APRIL + 12 * DAY), (APRIL + 9 * DAY, MAY + 12 * DAY)):
        for one in (shop, other):
            await use(one, used_at)
        clock.now = closed_at
        estimates = {who: await shop.estimate(together[who]) for who in together}
        documents = {document.customer_id: document for document in await shop.close_due()}
        by_hand = {who: await other.close(alone[who]) for who in alone}
        assert {who: bare(one) for who, one in documents.items()} == {who: bare(one) for who, one in estimates.items()}
        assert {who: bare(one) for who, one in documents.items()} == {who: bare(one) for who, one in by_hand.items()}
        # Late usage of what was closed, in time for the second round.
        for one in (shop, other):
            await use(one, MARCH + 15 * DAY)
    assert sizes == [3, 3]
    assert all(any(line.kind is LineKind.adjustment for line in one.lines) for one in documents.values())
    fired = await service.pool.fetch(
        "select tenant_id, customer_id from alert_firing where tenant_id = any($1::text[])", [shop.tenant_id, tenant_id]
    )
    assert sorted(map(tuple, fired)) == sorted((one, "bob") for one in [shop.tenant_id, tenant_id] for _ in range(2))
