"""The feed: whom it offers what, what makes it read anew, and that nothing is counted twice or missed on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from app.keys import create_key, system_caller
from app.live import feed as feed_module
from app.live import readers
from app.live.feed import LogFeed
from app.live.held import HeldCustomer
from app.live.standing import Standing
from app.lost_database import LOST
from app.projecting import project_all
from app.service import Caller, Service
from app.voiding import void_events
from domain.errors import NotFound
from tests.app.live.following import Noting, look, moved_on, watching
from tests.app.shop import MAY, Shop, price_of, sms_price
from tests.conftest import MovingClock


async def test_usage_is_offered_with_its_estimate(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    watcher = await watching(shop, feed)
    assert watcher.quantity() == 0
    await shop.use(clock.now, clock.now, clock.now, clock.now)
    await look(shop, feed)
    assert watcher.quantity() == 4
    (cycle,) = watcher.offers[-1].cycles
    # The fee of 500, and two calls past the threshold at half a minor unit.
    assert cycle.estimate.total_amount == 501
    assert cycle.estimate.position == watcher.offers[-1].position == feed.position(shop.tenant_id)


async def test_an_event_costs_no_reading(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = await watching(shop, feed)

    async def never(*_: object) -> HeldCustomer:
        raise AssertionError("it was read anew")

    monkeypatch.setattr(readers, "hold", never)
    for expected in range(1, 4):
        await shop.use(clock.now)
        await look(shop, feed)
        assert watcher.quantity() == expected


async def test_what_changes_nothing_is_not_offered(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    watcher = await watching(shop, feed)
    await create_key(shop.service, shop.caller, scope="read")
    await shop.customer("bob")
    await shop.use(clock.now, customer_id="bob")
    await look(shop, feed)
    assert len(watcher.offers) == 1
    assert feed.position(shop.tenant_id) > watcher.offers[0].position


async def test_a_stranger_is_not_found(shop: Shop, feed: LogFeed, service: Service) -> None:
    other = f"{shop.tenant_id}x"
    await create_key(service, system_caller(other), scope="write")
    with pytest.raises(NotFound):
        await feed.watch_customer(other, "ada", Noting())
    with pytest.raises(NotFound):
        await feed.customer_of(other, (await watching(shop, feed)).offers[0].cycles[0].subscription_id)


async def test_a_tenants_usage_is_not_offered_to_another(shop: Shop, feed: LogFeed, service: Service) -> None:
    key_id, _ = await create_key(service, system_caller(f"{shop.tenant_id}x"), scope="write")
    other = Shop(service, Caller(f"{shop.tenant_id}x", key_id, "write", "test"))
    await other.customer()
    await other.open()
    await other.subscribe()
    await project_all(service)
    watcher, foreign = await watching(shop, feed), await watching(other, feed)
    await shop.use(service.clock())
    await look(shop, feed)
    assert watcher.quantity() == 1
    assert len(foreign.offers) == 1


Deed = Callable[[Shop, MovingClock], Awaitable[object]]


async def retract(shop: Shop, _: MovingClock) -> None:
    await void_events(shop.service, shop.caller, ["e0"], "")


async def reprice(shop: Shop, clock: MovingClock) -> None:
    # In force from before the cycle on.
    await shop.reprice(price_of(fixed_price=900), clock.now - timedelta(days=30))


async def pay_in(shop: Shop, _: MovingClock) -> None:
    await shop.pay_in(100)


@pytest.mark.parametrize("deed", [retract, reprice, pay_in])
async def test_what_changes_the_estimate_otherwise_is_read_anew(
    shop: Shop, feed: LogFeed, clock: MovingClock, deed: Deed
) -> None:
    await shop.use(clock.now)
    await project_all(shop.service)
    watcher = await watching(shop, feed)
    before = watcher.offers[-1].cycles[0]
    await deed(shop, clock)
    await look(shop, feed)
    cycle = watcher.offers[-1].cycles[0]
    assert cycle.estimate == await shop.estimate(cycle.subscription_id)
    assert (cycle.meters, cycle.estimate.total_amount) != (before.meters, before.estimate.total_amount)


async def test_credits_are_drawn_as_usage_comes(
    service: Service, caller: Caller, feed: LogFeed, clock: MovingClock
) -> None:
    shop = Shop(service, caller)
    await shop.customer()
    await shop.entitle()
    await shop.open(sms_price("2"))
    await shop.subscribe()
    await project_all(service)
    watcher = await watching(shop, feed)
    for used, total in ((1, 0), (2, 0), (3, 1), (4, 2)):
        await shop.use(clock.now)
        await look(shop, feed)
        assert watcher.quantity() == used
        assert watcher.offers[-1].cycles[0].estimate.total_amount == total


async def test_a_cycle_that_began_is_shown_though_nobody_recorded_it(
    shop: Shop, feed: LogFeed, clock: MovingClock
) -> None:
    watcher = await watching(shop, feed)
    (first,) = watcher.offers[-1].cycles
    clock.now = MAY
    await look(shop, feed)
    shown = watcher.offers[-1].cycles
    assert shown[0].cycle_start == first.cycle_start
    assert len(shown) == 2


async def test_a_closed_cycle_leaves(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    watcher = await watching(shop, feed)
    (first,) = watcher.offers[-1].cycles
    clock.now = MAY
    await shop.close_due()
    await look(shop, feed)
    newest = watcher.offers[-1]
    assert first.cycle_start not in {cycle.cycle_start for cycle in newest.cycles}
    assert newest.left == newest.position > watcher.offers[0].position


async def test_who_watches_the_tenant_is_offered_everybody(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    await shop.customer("bob")
    await shop.subscribe(customer_id="bob")
    await project_all(shop.service)
    watcher = Noting()
    await feed.watch_tenant(shop.tenant_id, watcher)
    assert {offer.customer_id for offer in watcher.offers} == {"ada", "bob"}
    await shop.use(clock.now, customer_id="bob")
    await shop.customer("eve")
    await shop.subscribe(customer_id="eve")
    await look(shop, feed)
    assert watcher.quantity("bob") == 1
    assert watcher.quantity("eve") == 0


async def test_a_customer_rests_between_two_offers_and_nothing_is_lost(
    shop: Shop, running: LogFeed, clock: MovingClock
) -> None:
    watcher = await watching(shop, running)
    running._pace_seconds_each = 0.3
    for _ in range(20):
        await shop.use(clock.now)
        await project_all(shop.service)
        await asyncio.sleep(0.01)
    await until(lambda: watcher.quantity() == 20)
    assert len(watcher.offers) < 10


async def test_who_stopped_watching_is_offered_nothing(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    watcher, other = await watching(shop, feed), await watching(shop, feed)
    feed.unwatch(watcher)
    await shop.use(clock.now)
    await look(shop, feed)
    assert len(watcher.offers) == 1
    assert other.quantity() == 1


async def test_who_begins_to_watch_while_it_is_swept_is_not_forgotten(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = feed._has_customer

    async def swept_meanwhile(tenant_id: str, customer_id: str) -> bool:
        found = await ask(tenant_id, customer_id)
        await feed.turn()
        return found

    monkeypatch.setattr(feed, "_has_customer", swept_meanwhile)
    watcher = await watching(shop, feed)
    await shop.use(clock.now)
    await look(shop, feed)
    assert watcher.quantity() == 1


async def test_nobody_is_held_for_ever(shop: Shop, feed: LogFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = await watching(shop, feed)
    monkeypatch.setattr(feed_module, "KEPT_SECONDS", -1.0)
    await feed.turn()
    assert feed.position(shop.tenant_id) > 0
    feed.unwatch(watcher)
    await feed.turn()
    assert feed.position(shop.tenant_id) == 0


async def test_a_watcher_with_a_defect_costs_the_others_nothing(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    class Broken(Noting):
        def offer(self, standing: Standing) -> None:
            raise RuntimeError("a defect")

    await feed.watch_customer(shop.tenant_id, "ada", Broken())
    watchers = [await watching(shop, feed) for _ in range(3)]
    await feed.watch_customer(shop.tenant_id, "ada", Broken())
    await shop.use(clock.now)
    await look(shop, feed)
    assert [watcher.quantity() for watcher in watchers] == [1, 1, 1]


@pytest.fixture
async def running(feed: LogFeed) -> AsyncIterator[LogFeed]:
    task = asyncio.create_task(feed.run())
    yield feed
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_page_of_the_projector_rings(shop: Shop, running: LogFeed, clock: MovingClock) -> None:
    watcher = await watching(shop, running)
    await asyncio.sleep(0.2)
    began = asyncio.get_running_loop().time()
    await shop.use(clock.now)
    await project_all(shop.service)
    await until(lambda: watcher.quantity() == 1)
    # Well before the sweep would have looked.
    assert asyncio.get_running_loop().time() - began < feed_module.SWEEP_SECONDS * 0.7


async def test_a_lost_database_is_waited_for(
    shop: Shop, running: LogFeed, clock: MovingClock, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.1)
    watcher = await watching(shop, running)
    await asyncio.sleep(0.2)
    ended = await _end_listeners(dsn)
    assert ended
    await shop.use(clock.now)
    await project_all(shop.service)
    await until(lambda: watcher.resyncs > 0 and watcher.quantity() == 1)


async def _end_listeners(dsn: str) -> int:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %taximeter_projected%'"
            " or (wait_event = 'ClientRead' and query ilike '%taximeter_projected%')"
        )
        return len(rows)
    finally:
        await connection.close()


async def test_who_joins_is_shown_the_newest_and_the_others_are_offered_it_too(
    shop: Shop, feed: LogFeed, clock: MovingClock
) -> None:
    watcher = await watching(shop, feed)
    feed._pace_seconds = 3_600.0
    await shop.use(clock.now)
    await look(shop, feed)
    await shop.use(clock.now)
    await look(shop, feed)
    # It rests now, and what came meanwhile waits for its turn; who joins need not wait.
    assert watcher.quantity() == 1
    assert (await watching(shop, feed)).quantity() == 2
    feed._tenants[shop.tenant_id].rests_until.clear()
    await look(shop, feed)
    assert watcher.quantity() == 2


@pytest.mark.parametrize("kind", LOST)
async def test_a_reading_that_met_a_lost_database_is_made_again(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """However the loss shows: who watches is not left with an old value until something else changes."""
    watcher = await watching(shop, feed)
    hold, failures = readers.hold, [kind("the database went away")]

    async def failing(*asked: Any) -> HeldCustomer:
        if failures:
            raise failures.pop()
        return await hold(*asked)

    monkeypatch.setattr(readers, "hold", failing)
    await shop.sell("dearer", price_of(fixed_price=700))
    await shop.subscribe(products=["dearer"])
    await project_all(shop.service)
    # The reading raises, and so does the feed's next turn: then whoever runs it looks at everything anew.
    for _ in range(3):
        with suppress(kind):
            await moved_on(feed)
    await look(shop, feed)
    assert failures == []
    assert [len(offer.cycles) for offer in watcher.offers] == [1, 2]
