"""The feed and the projector: values are shown before they are counted, and who is read anew misses none of them."""

from __future__ import annotations

import asyncio

import pytest

from app.alerting.firing import look_at
from app.live import feed as feed_module
from app.live import readers
from app.live.feed import LogFeed
from app.live.held import HeldCustomer
from app.projecting import NotProjected, project_all
from domain.errors import Invalid
from tests.app.alerting.reading import set_alert
from tests.app.live.following import Noting, look, watching
from tests.app.shop import Shop
from tests.conftest import MovingClock


async def test_an_event_while_reading_is_counted_once(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event before the snapshot and one after it, both taken in from the log while the customer is read."""
    real = readers.hold

    async def slow(*asked: object) -> HeldCustomer:
        await shop.use(clock.now)
        await project_all(shop.service)
        held = await real(*asked)  # type: ignore[arg-type]
        await shop.use(clock.now)
        await project_all(shop.service)
        await feed.turn()
        return held

    monkeypatch.setattr(readers, "hold", slow)
    watcher = await watching(shop, feed)
    await look(shop, feed)
    assert watcher.quantity() == 2


async def test_a_change_while_reading_makes_it_be_read_once_more(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reads = readers.hold, 0

    async def slow(*asked: object) -> HeldCustomer:
        nonlocal reads
        held = await real(*asked)  # type: ignore[arg-type]
        reads += 1
        if reads == 1:
            await shop.pay_in(100)
            await project_all(shop.service)
            await feed.turn()
        return held

    monkeypatch.setattr(readers, "hold", slow)
    watcher = await watching(shop, feed)
    await look(shop, feed)
    assert reads == 2
    assert watcher.offers[-1].cycles[0].estimate.wallet_amount == 100


async def test_many_who_ask_at_once_are_read_once(shop: Shop, feed: LogFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    real, reads = readers.hold, 0

    async def counted(*asked: object) -> HeldCustomer:
        nonlocal reads
        reads += 1
        return await real(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(readers, "hold", counted)
    await asyncio.gather(*(watching(shop, feed) for _ in range(20)))
    assert reads == 1


async def test_a_position_is_reached_before_anything_is_shown(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    await watching(shop, feed)
    await shop.use(clock.now)
    await project_all(shop.service)
    position = await shop.service.pool.fetchval("select position from log.head where tenant_id = $1", shop.tenant_id)
    await feed.reach(shop.tenant_id, position)
    later = await watching(shop, feed)
    assert later.quantity() == 1
    with pytest.raises(Invalid):
        await feed.reach(shop.tenant_id, position + 1)


async def test_who_is_not_projected_is_not_shown(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.projecting.WAIT_FOR_POSITION_SECONDS", 0.05)
    await shop.use(clock.now)
    position = await shop.service.pool.fetchval("select position from log.head where tenant_id = $1", shop.tenant_id)
    await feed.reach(shop.tenant_id, position)
    with pytest.raises(NotProjected):
        await feed.watch_customer(shop.tenant_id, "ada", Noting())


async def test_usage_is_shown_before_it_is_projected(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    watcher = await watching(shop, feed)
    await shop.use(clock.now, clock.now, clock.now)
    await feed.turn()
    assert watcher.quantity() == 3
    await look(shop, feed)
    assert watcher.quantity() == 3


async def test_who_is_read_anew_has_what_was_shown_to_others_before_it_was_projected(
    shop: Shop, feed: LogFeed, clock: MovingClock
) -> None:
    await shop.customer("bob")
    await shop.subscribe(customer_id="bob")
    await project_all(shop.service)
    await watching(shop, feed)
    await shop.use(clock.now)
    await shop.use(clock.now, clock.now, customer_id="bob")
    await feed.turn()
    later = asyncio.create_task(watching(shop, feed, "bob"))
    await asyncio.sleep(0.1)
    assert not later.done()
    await project_all(shop.service)
    assert (await later).quantity("bob") == 2


async def test_who_begins_to_be_held_while_a_page_is_read_is_not_missing_from_it(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page was asked for without this customer, and its usage is not projected when the customer is read."""
    await shop.customer("bob")
    await shop.subscribe(customer_id="bob")
    await project_all(shop.service)
    watcher, real = await watching(shop, feed), feed_module.changes_after
    others: list[Noting] = []

    async def slow(*asked: object) -> object:
        changes = await real(*asked)  # type: ignore[arg-type]
        if changes is not None and not others:
            others.append(await watching(shop, feed, "bob"))
        return changes

    monkeypatch.setattr(feed_module, "changes_after", slow)
    await shop.use(clock.now)
    await shop.use(clock.now, clock.now, customer_id="bob")
    await feed.turn()
    assert (watcher.quantity(), others[0].quantity("bob")) == (1, 0)
    await look(shop, feed)
    assert others[0].quantity("bob") == 2


async def test_a_feed_that_is_far_ahead_waits_for_the_quantities(
    shop: Shop, feed: LogFeed, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.live.changes.AHEAD_MAX", 2)
    watcher = await watching(shop, feed)
    await shop.use(clock.now, clock.now, clock.now)
    await feed.turn()
    assert watcher.quantity() == 0
    await look(shop, feed)
    assert watcher.quantity() == 3


async def test_the_feed_knows_until_where_alerts_may_have_fired(shop: Shop, feed: LogFeed, clock: MovingClock) -> None:
    assert feed.alerts_until(shop.tenant_id) == 0
    watcher = await watching(shop, feed)
    known = feed.alerts_until(shop.tenant_id)
    assert known == feed.position(shop.tenant_id)
    await shop.use(clock.now)
    await look(shop, feed)
    assert feed.alerts_until(shop.tenant_id) == known < feed.position(shop.tenant_id)
    await set_alert(shop, "1")
    assert await look_at(shop.service, shop.caller, "ada") == 1
    await look(shop, feed)
    assert feed.alerts_until(shop.tenant_id) == watcher.alerts[-1] > known
