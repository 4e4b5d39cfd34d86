"""The test clock: a tenant's only time, and the walk through what is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app import billing, test_clock
from app.due import close_due_everywhere
from app.keys import create_key, system_caller
from app.retries import Retries
from app.rules import now_of, set_test_mode
from app.service import Caller, Service
from app.test_clock import Walk, advance
from app.transaction import transaction
from domain.errors import Conflict, Invalid
from domain.invoice import DocumentType
from domain.subscription import Subscription
from domain.tenant import Tenant
from projections.log_reader import aggregate, facts_of, head
from tests.app.shop import APRIL, MARCH, MAY, Shop
from tests.conftest import MovingClock

GRACE = timedelta(hours=1)
START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
async def shop(service: Service, caller: Caller) -> Shop:
    """A tenant in test mode."""
    opened = Shop(service, caller)
    await opened.open()
    await opened.customer()
    async with transaction(service, caller, "settings.change") as running:
        await set_test_mode(running, True)
    return opened


async def walk(shop: Shop, to: datetime) -> Walk:
    return await advance(shop.service, shop.caller, to=to)


async def recorded_at(shop: Shop) -> datetime:
    async with shop.service.pool.acquire() as connection:
        return (await head(connection, shop.tenant_id)).recorded_at


async def test_without_test_mode_there_is_no_clock_to_move(service: Service, caller: Caller) -> None:
    with pytest.raises(Conflict) as refused:
        await advance(service, caller, by=timedelta(days=1))
    assert refused.value.code == "NOT_IN_TEST_MODE"


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ({"to": START - timedelta(microseconds=1)}, "to"),
        ({"to": START + timedelta(days=3_654)}, "to"),
        ({"by": timedelta(days=3_654)}, "by"),
        ({}, "to"),
    ],
)
async def test_a_clock_does_not_go_back_nor_too_far(shop: Shop, target: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await advance(shop.service, shop.caller, **target)
    assert refused.value.field == field
    assert await now_of(shop.service, shop.tenant_id) == START


async def test_test_mode_begins_before_usage_and_never_ends(shop: Shop, service: Service, caller: Caller) -> None:
    async with transaction(service, caller, "settings.change") as running:
        await set_test_mode(running, True)
    assert await now_of(service, caller.tenant_id) == START
    with pytest.raises(Conflict) as refused:
        async with transaction(service, caller, "settings.change") as running:
            await set_test_mode(running, False)
    assert refused.value.code == "TEST_MODE_IS_FOR_EVER"
    live = Caller(f"live-{caller.tenant_id}", "", "write", "test")
    await create_key(service, live, scope="write")
    await Shop(service, live).use(START)
    with pytest.raises(Conflict) as refused:
        await create_key(service, live, scope="write", test_mode=True)
    assert refused.value.code == "USAGE_WAS_RECORDED"


async def test_a_key_can_be_made_for_a_tenant_in_test_mode(
    service: Service, caller: Caller, clock: MovingClock
) -> None:
    clock.advance(minutes=1)
    tested = system_caller(f"test-{caller.tenant_id}")
    await create_key(service, tested, scope="write", test_mode=True)
    clock.advance(days=1)
    assert await now_of(service, tested.tenant_id) == START + timedelta(minutes=1)


async def test_the_clock_stands_still_whatever_the_real_one_does(shop: Shop, clock: MovingClock) -> None:
    clock.advance(days=400)
    await shop.subscribe()
    assert await now_of(shop.service, shop.tenant_id) == START
    assert await recorded_at(shop) == START
    assert await shop.close_due() == []


async def test_each_cycle_closes_at_the_end_of_its_grace(shop: Shop) -> None:
    await shop.subscribe()
    await shop.use(START, MARCH, APRIL + timedelta(days=1))
    done = await walk(shop, MAY + timedelta(days=2))
    assert [bill.document.issued_at[:19] for bill in done.bills] == ["2026-04-01T01:00:00", "2026-05-01T01:00:00"]
    assert [bill.document.total_amount for bill in done.bills] == [500, 500]
    # April and May open, March and April close, and the clock goes on to where it was told.
    assert (done.steps, done.opened, done.closed, done.done) == (5, 2, 2, True)
    assert await now_of(shop.service, shop.tenant_id) == done.now == MAY + timedelta(days=2)
    assert await recorded_at(shop) == done.now


async def test_the_row_of_a_moved_clock_is_what_the_log_says(shop: Shop) -> None:
    await shop.subscribe()
    await walk(shop, MAY)
    async with shop.service.pool.acquire() as connection:
        tenant = await aggregate(connection, shop.tenant_id, Tenant, shop.tenant_id)
        facts = await facts_of(connection, shop.tenant_id, Tenant.stream(shop.tenant_id))
    assert tenant is not None
    assert tenant.test_clock == MAY == await now_of(shop.service, shop.tenant_id)
    assert [fact.timestamp for fact in facts[-3:]] == [APRIL, APRIL + GRACE, MAY]


async def test_the_grace_period_decides_to_the_microsecond(shop: Shop) -> None:
    await shop.subscribe()
    assert (await walk(shop, APRIL + GRACE - timedelta(microseconds=1))).closed == 0
    assert (await walk(shop, APRIL + GRACE)).closed == 1


async def test_usage_of_every_cycle_counts_as_time_goes_by(shop: Shop) -> None:
    await shop.subscribe()
    totals: list[int] = []
    for month in range(4, 13):
        now = await now_of(shop.service, shop.tenant_id)
        await shop.use(*[now] * (month + 2))
        done = await walk(shop, datetime(2026, month, 2, tzinfo=UTC))
        totals += [bill.document.subtotal_amount for bill in done.bills]
    # Half a minor unit per call beyond two, rounded half away from zero; the uses are recorded on the second.
    assert totals == [500 + (month + 1) // 2 for month in range(4, 13)]
    numbers = [row["number"] for row in await shop.stored_invoices()]
    assert numbers == [f"INV-{number:06d}" for number in range(1, 10)]


@pytest.mark.parametrize(
    ("zone", "opens"),
    [("Pacific/Kiritimati", "2026-03-31T10:00"), ("UTC", "2026-04-01T00:00"), ("Etc/GMT+12", "2026-04-01T12:00")],
)
async def test_a_cycle_that_lies_ahead_opens_where_its_customer_is(shop: Shop, zone: str, opens: str) -> None:
    await shop.customer("eve", zone)
    await shop.subscribe("eve", date(2026, 4, 1))
    at = datetime.fromisoformat(opens).replace(tzinfo=UTC)
    assert (await walk(shop, at - timedelta(microseconds=1))).opened == 0
    done = await walk(shop, at + timedelta(days=1))
    assert (done.opened, done.steps) == (1, 2)
    recorded = await shop.service.pool.fetchval(
        "select c.recorded_at from log.commit c join log.domain_event e on e.tenant_id = c.tenant_id"
        " and e.position between c.first_position and c.last_position"
        " where c.tenant_id = $1 and e.kind = 'cycle.opened'",
        shop.tenant_id,
    )
    assert recorded == at


async def test_a_subscription_that_was_recorded_late_gets_its_grace(shop: Shop) -> None:
    await shop.subscribe(anchor=date(2026, 2, 1))
    done = await walk(shop, START + timedelta(hours=2))
    assert [bill.document.issued_at[:19] for bill in done.bills] == ["2026-03-10T13:00:00"]


async def test_a_walk_that_takes_long_is_carried_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_clock, "CLOCK_MOVE_SECONDS_MAX", 0)
    await shop.subscribe()
    target, walks = MAY + timedelta(days=2), [Walk(START, START)]
    while not walks[-1].done:
        walks.append(await walk(shop, target))
        assert len(walks) < 20
    assert [sum(getattr(one, field) for one in walks) for field in ("steps", "opened", "closed")] == [5, 2, 2]
    assert len(walks) > 3
    issued = [bill.document.issued_at[:19] for one in walks for bill in one.bills]
    assert issued == ["2026-04-01T01:00:00", "2026-05-01T01:00:00"]
    again = await walk(shop, target)
    assert (again.done, again.steps, again.closed) == (True, 0, 0)


async def test_time_does_not_pass_over_a_cycle_that_cannot_be_closed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.subscribe()
    reckon = billing.reckon

    async def failing(*_: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(billing, "reckon", failing)
    with pytest.raises(RuntimeError):
        await walk(shop, MAY)
    assert await now_of(shop.service, shop.tenant_id) == APRIL + GRACE
    monkeypatch.setattr(billing, "reckon", reckon)
    done = await walk(shop, MAY)
    assert [bill.document.issued_at[:19] for bill in done.bills] == ["2026-04-01T01:00:00"]


async def test_of_two_walks_at_once_one_wins(shop: Shop) -> None:
    for _ in range(3):
        await shop.subscribe()
    target = MAY + timedelta(days=2)
    done = await asyncio.gather(*(walk(shop, target) for _ in range(3)), return_exceptions=True)
    finished = [one for one in done if isinstance(one, Walk)]
    refused = [one.code for one in done if isinstance(one, Conflict)]
    assert len(finished) + len(refused) == 3
    assert refused == ["CLOCK_MOVED"] * len(refused)
    assert len(finished) >= 1
    await walk(shop, target)
    rows = await shop.stored_invoices()
    assert [row["number"] for row in rows] == [f"INV-{number:06d}" for number in range(1, 7)]
    assert await shop.numbers_given() == 6


async def test_late_usage_of_an_ended_subscription_has_its_own_instant(shop: Shop) -> None:
    subscription_id = await shop.subscribe()
    async with transaction(shop.service, shop.caller, "subscription.cancel") as running:
        (await running.get(Subscription, subscription_id)).cancel(running.now)
    await walk(shop, MAY)
    # Six calls, two of them free, in the cycle that was cut when it was cancelled.
    await shop.use(*[MARCH] * 6)
    assert (await walk(shop, MAY + GRACE - timedelta(microseconds=1))).closed == 0
    (bill,) = (await walk(shop, MAY + timedelta(days=1))).bills
    assert (bill.document.type, bill.document.total_amount) == (DocumentType.adjustment, 2)
    assert bill.document.issued_at == "2026-05-01T01:00:00.000000Z"


async def test_a_live_tenant_is_not_touched(shop: Shop, service: Service, clock: MovingClock) -> None:
    live = Shop(service, system_caller(f"live-{shop.tenant_id}"))
    await create_key(service, live.caller, scope="write")
    await live.open()
    await live.customer()
    await live.subscribe()
    await shop.subscribe()
    await walk(shop, MAY)
    assert await live.stored_invoices() == []
    assert await recorded_at(live) == START
    clock.advance(days=40)
    run = [dealt async for dealt in close_due_everywhere(service, Retries(lambda: 0.0))]
    assert shop.tenant_id not in {dealt.tenant_id for dealt in run}
    assert len(await live.stored_invoices()) == 1
    assert len(await shop.stored_invoices()) == 1


async def test_what_is_due_where_the_clock_stands_can_be_closed_by_hand(shop: Shop) -> None:
    await shop.subscribe()
    await walk(shop, APRIL)
    (cycle,) = await shop.service.pool.fetch(
        "select subscription_id from subscription where tenant_id = $1", shop.tenant_id
    )
    document = await shop.close(cycle["subscription_id"])
    assert document.issued_at == "2026-04-01T00:00:00.000000Z"


async def test_years_of_cycles_by_the_day(service: Service, caller: Caller) -> None:
    """Exact anchors of their own, so that every cycle has an instant to itself."""
    shop = Shop(service, caller)
    await shop.open()
    await shop.customer()
    async with transaction(service, caller, "settings.change") as running:
        await set_test_mode(running, True)
    for _ in range(3):
        await shop.subscribe(anchor=None)
        await walk(shop, await now_of(service, caller.tenant_id) + timedelta(minutes=1))
    done = await walk(shop, START + timedelta(days=366))
    assert done.closed == 3 * 12
    assert await shop.numbers_given() == 36
