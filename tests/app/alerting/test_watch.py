"""The watch: exactly once with several at work and whatever dies in between, and only where something changed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg
import pytest

from app.alerting import firing as firing_module
from app.alerting import watch as watching
from app.alerting.watch import Watch, run_watch
from app.projecting import project_all, run_projector
from app.service import Service
from app.transaction import transaction
from app.voiding import void_events
from domain.customer import Customer
from domain.product import Product
from domain.subscription_events import Status
from domain.tenant import Tenant
from projections import catalog
from projections.database import Database
from tests.app.alerting.reading import fired, looked_until, said, set_alert, watched
from tests.app.alerting.test_firing import IN_MARCH
from tests.app.shop import Shop
from tests.conftest import MovingClock

PATIENCE_SECONDS = 30.0


class Killed(BaseException):
    """The process ends here: nothing catches it."""


def counting(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> list[str]:
    """The customers of the shop that are looked at, as they are."""
    looked: list[str] = []
    look_at = watching.look_at

    async def noting(service: Service, caller: Any, customer_id: str) -> int:
        if caller.tenant_id == shop.tenant_id:
            looked.append(customer_id)
        return await look_at(service, caller, customer_id)

    monkeypatch.setattr(watching, "look_at", noting)
    return looked


async def test_watches_that_race_fire_each_threshold_once(shop: Shop) -> None:
    for _ in range(3):
        await shop.subscribe()
    for threshold in ("4", "1", "3", "2"):
        await set_alert(shop, threshold)
    watches = [Watch(shop.service) for _ in range(4)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(5):
            await shop.use(IN_MARCH)
            await project_all(shop.service)
            await asyncio.gather(*(watch.look() for watch in watches))
    firings = await fired(shop)
    cycles = {firing.subscription_id for firing in firings}
    assert len(cycles) == 3
    for subscription_id in cycles:
        thresholds = [firing.threshold for firing in firings if firing.subscription_id == subscription_id]
        assert thresholds == ["1", "2", "3", "4"]


async def test_looks_of_one_snapshot_fire_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that have both seen the crossing meet at the lock: the second is told that it was done."""
    await shop.subscribe()
    await set_alert(shop, "1")
    await shop.use(IN_MARCH)
    met = asyncio.Barrier(2)
    fire = firing_module._fire

    async def together(*arguments: Any) -> int:
        await met.wait()
        return await fire(*arguments)

    monkeypatch.setattr(firing_module, "_fire", together)
    await project_all(shop.service)
    async with asyncio.timeout(PATIENCE_SECONDS):
        looks = [firing_module.look_at(shop.service, shop.caller, "ada") for _ in range(2)]
        assert sorted(await asyncio.gather(*looks)) == [0, 1]
    assert await said(shop) == [("1", "1")]


async def test_killed_before_the_commit_nothing_has_fired_and_it_fires_then(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.subscribe()
    await set_alert(shop, "1")
    await shop.use(IN_MARCH)
    mark = catalog.mark

    async def killing(database: Database, tenant_id: str, position: int) -> None:
        """The last step of a command: its events and rows are written, and not committed."""
        await mark(database, tenant_id, position)
        if tenant_id == shop.tenant_id:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(catalog, "mark", killing)
        with pytest.raises(Killed):
            await watched(shop)
    assert await fired(shop) == []
    assert await looked_until(shop) == 0
    await watched(shop)
    assert await said(shop) == [("1", "1")]


async def test_killed_before_the_checkpoint_it_looks_again_and_does_not_fire_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.subscribe()
    await set_alert(shop, "1")
    await shop.use(IN_MARCH)

    move_looked = watching.move_looked

    async def killing(service: Service, tenant_id: str, position: int) -> None:
        if tenant_id == shop.tenant_id:
            raise Killed
        await move_looked(service, tenant_id, position)

    with monkeypatch.context() as patched:
        patched.setattr(watching, "move_looked", killing)
        with pytest.raises(Killed):
            await watched(shop)
    assert await said(shop) == [("1", "1")]
    assert await looked_until(shop) == 0
    looked = counting(monkeypatch, shop)
    await watched(shop)
    assert looked == ["ada"]
    assert await said(shop) == [("1", "1")]
    assert await looked_until(shop) == await shop.head_position()


async def test_only_who_has_alerts_and_changed_is_looked_at(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    subscriptions: dict[str, str] = {}
    for customer_id in ("bob", "cid"):
        await shop.customer(customer_id)
    for customer_id in ("ada", "bob", "cid"):
        subscriptions[customer_id] = await shop.subscribe(customer_id)
    await shop.entitle()
    for customer_id in ("ada", "bob"):
        await set_alert(shop, "1000", customer_id=customer_id)
    watch = Watch(shop.service)
    looked = counting(monkeypatch, shop)

    async def seen() -> list[str]:
        looked.clear()
        await watched(shop, watch)
        return list(looked)

    assert await seen() == ["ada", "bob"]
    assert await seen() == []
    await shop.use(IN_MARCH, customer_id="bob")
    assert await seen() == ["bob"]
    await shop.use(IN_MARCH, customer_id="cid")
    assert await seen() == []
    await void_events(shop.service, shop.caller, ["e0"], "")
    assert await seen() == ["bob"]
    await shop.change(subscriptions["bob"], status=Status.paused)
    assert await seen() == ["bob"]
    await shop.change(subscriptions["cid"], status=Status.paused)
    assert await seen() == []
    await shop.credit("5")
    assert await seen() == ["ada"]
    await set_alert(shop, "2000")
    assert await seen() == ["ada"]
    async with transaction(shop.service, shop.caller, "customer.change") as running:
        customer = await running.get(Customer, "ada")
        customer.change(personal="", time_zone="UTC", preferred_locale=None, metadata="{}", at=running.now)
    assert await seen() == ["ada"]
    async with transaction(shop.service, shop.caller, "product.archive") as running:
        (await running.get(Product, "api")).archive(running.now)
    assert await seen() == ["ada", "bob"]
    async with transaction(shop.service, shop.caller, "api_key.create") as running:
        (await running.get(Tenant, shop.tenant_id)).create_key("key_2", "read", "", running.now)
    assert await seen() == []
    await shop.pay_in(5)
    assert await seen() == []


async def test_after_long_absence_everybody_with_alerts_is_looked_at(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.customer("bob")
    for customer_id in ("ada", "bob"):
        await shop.subscribe(customer_id)
        await set_alert(shop, "1000", customer_id=customer_id)
    watch = Watch(shop.service)
    await watched(shop, watch)
    looked = counting(monkeypatch, shop)
    monkeypatch.setattr(watching, "SPAN_MAX", 1)
    await shop.use(IN_MARCH, IN_MARCH)
    await watched(shop, watch)
    assert looked == ["ada", "bob"]


async def test_a_customer_who_cannot_be_looked_at_does_not_hold_up_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.customer("bob")
    for customer_id in ("ada", "bob"):
        await shop.subscribe(customer_id)
        await set_alert(shop, "1", customer_id=customer_id)
        await shop.use(IN_MARCH, customer_id=customer_id)
    look_at = watching.look_at

    async def failing(service: Service, caller: Any, customer_id: str) -> int:
        if (caller.tenant_id, customer_id) == (shop.tenant_id, "ada"):
            raise ValueError("a defect")
        return await look_at(service, caller, customer_id)

    watch = Watch(shop.service)
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(watching, "look_at", failing)
        await watched(shop, watch)
        await watched(shop, watch)
    assert [firing.customer_id for firing in await fired(shop)] == ["bob"]
    told = [record for record in caplog.records if shop.tenant_id in record.getMessage()]
    assert len(told) == 1
    assert "customer ada" in told[0].getMessage()
    # The checkpoint waits, so another process would find it; this one does so once the pause is over.
    assert await looked_until(shop) == 0
    monkeypatch.setattr(watch, "_retries", watching.Retries(lambda: 0.0))
    await watched(shop, watch)
    assert [firing.customer_id for firing in await fired(shop)] == ["bob", "ada"]
    assert await looked_until(shop) > 0


async def test_a_tenant_that_cannot_be_looked_at_does_not_hold_up_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.subscribe()
    await set_alert(shop, "1")
    await shop.use(IN_MARCH)
    changed = Watch._changed

    async def failing(watch: Watch, tenant_id: str, *span: int) -> set[str]:
        if tenant_id != shop.tenant_id:
            raise ValueError("a defect")
        return await changed(watch, tenant_id, *span)

    other = Shop(shop.service, type(shop.caller)(f"a{shop.tenant_id}", "key_1", "write", "test"))
    await other.open()
    await other.customer()
    await other.subscribe()
    await set_alert(other, "1")
    monkeypatch.setattr(Watch, "_changed", failing)
    await watched(shop)
    assert await said(shop) == [("1", "1")]
    assert any(other.tenant_id in record.getMessage() for record in caplog.records)


class LostPool:
    """A pool whose database does not take calls any more when it is asked whether it lives."""

    def __init__(self, pool: Any) -> None:
        self.acquire, self.fetch, self.fetchval = pool.acquire, pool.fetch, pool.fetchval

    async def execute(self, *_: object) -> str:
        raise ConnectionRefusedError("nobody is there")


async def test_a_lost_database_ends_the_look(shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.subscribe()
    await set_alert(shop, "1")
    await project_all(shop.service)

    async def failing(*_: object) -> int:
        raise ConnectionResetError("it hung up")

    monkeypatch.setattr(watching, "look_at", failing)
    lost: Any = LostPool(shop.service.pool)
    with pytest.raises(ConnectionRefusedError):
        await Watch(Service(lost, clock, shop.service.rules)).look()


@pytest.mark.parametrize("defect", [asyncpg.ConnectionDoesNotExistError, RuntimeError])
async def test_it_goes_on_after_a_failure_and_is_woken_by_the_projector(
    shop: Shop, dsn: str, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
) -> None:
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    # No sweep comes in time: only the projector can wake it.
    monkeypatch.setattr(watching, "SWEEP_SECONDS", 10 * PATIENCE_SECONDS)
    await shop.subscribe()
    await set_alert(shop, "1")
    failed = asyncio.Event()
    look_everywhere = Watch.look

    async def failing_once(watch: Watch) -> int:
        if not failed.is_set():
            failed.set()
            raise defect("the database went away")
        return await look_everywhere(watch)

    monkeypatch.setattr(Watch, "look", failing_once)
    stop, projected = asyncio.Event(), asyncio.Event()
    running = [
        asyncio.create_task(run_watch(shop.service, stop, projected)),
        asyncio.create_task(run_projector(shop.service, dsn, stop, projected)),
    ]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await failed.wait()
        await shop.use(IN_MARCH)
        while not await fired(shop):
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*running)
    assert await said(shop) == [("1", "1")]
