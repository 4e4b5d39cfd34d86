"""Each fault point lies on the way of some ordinary operation: one that nothing passes would prove nothing."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.alerting.watch import Watch
from app.audit.archive.exporting import Wanted
from app.clock import system_clock
from app.database import connect_owner, migrate
from app.engine.launcher import Engine
from app.event_log import ensure_partitions
from app.live.feed import LogFeed
from app.projecting import project_all, run_projector
from app.rules import set_test_mode
from app.scheduling import run_scheduler
from app.sealing import key_for
from app.service import Caller
from app.test_clock import advance
from app.transaction import transaction
from projections.fault_points import FAULTS, FaultPoint, arm
from projections.rebuild import rebuild
from tests.app.alerting.reading import set_alert
from tests.app.audit.archive.history import empty, exported, imported, long_open, retire_march
from tests.app.live.following import look, watching
from tests.app.shop import MARCH, Shop, sms_price
from tests.conftest import Api
from tests.projections.histories import new_database

PATIENCE_SECONDS = 30.0
NOTHING_HAPPENS = dict.fromkeys(FaultPoint, "delay:0") | {FaultPoint.clock_read: "jump:0"}
"""Every point is armed, so each says in the log that it was passed, and goes on."""


@pytest.fixture(autouse=True)
def armed() -> Iterator[None]:
    arm({FAULTS: ",".join(f"{point}={action}" for point, action in NOTHING_HAPPENS.items())}, "test")
    yield
    arm({}, "test")


@pytest.fixture
def shop(api: Api) -> Shop:
    return Shop(api.service, Caller(api.caller.tenant_id, api.caller.key_id, "write", "test"))


async def usage(shop: Shop, api: Api, engine: Engine) -> None:
    """An event is sent, sent again, sent with other content, and taken back."""
    event = {"event_id": "e-1", "customer_id": "ada", "event_name": "call", "timestamp": "2026-03-10T12:00:00Z"}
    for sent in (event, event, {**event, "metadata": {"n": 1}}):
        assert (await api.ingest(sent)).status_code == 200
    assert (await api.post("/events/void", json={"event_ids": ["e-1"]})).json()["voided_count"] == 1


async def projector(shop: Shop, api: Api, engine: Engine) -> None:
    """A projector begins and folds what is there."""
    stop, projected = asyncio.Event(), asyncio.Event()
    await shop.open()
    await shop.use(MARCH)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_projector(shop.service, engine.dsn, stop, projected))
        await projected.wait()
        stop.set()


async def month(shop: Shop, api: Api, engine: Engine) -> None:
    """Credits are granted, an alert fires, and the cycle is closed."""
    await shop.open()
    await shop.customer()
    await shop.entitle()
    await shop.sell("sms", sms_price("10"))
    subscription_id = await shop.subscribe(products=["sms"])
    await set_alert(shop, "2")
    await shop.use(MARCH, MARCH, MARCH)
    await project_all(shop.service)
    # It looks at all tenants, and tests of others may have left something that is due.
    assert await Watch(shop.service).look() >= 1
    api.clock.advance(days=30)
    await shop.close(subscription_id)


async def watched(shop: Shop, api: Api, engine: Engine) -> None:
    """A page watches a customer's usage."""
    await shop.open()
    await shop.customer()
    await shop.subscribe()
    await project_all(shop.service)
    feed = LogFeed(shop.service, pace_seconds=0)
    await watching(shop, feed)
    await shop.use(MARCH, MARCH, MARCH)
    await look(shop, feed)


async def customer(shop: Shop, api: Api, engine: Engine) -> None:
    """A customer's personal fields are sealed."""
    async with shop.service.pool.acquire() as connection:
        await key_for(connection, shop.tenant_id, "ada")


async def scheduler(shop: Shop, api: Api, engine: Engine) -> None:
    """It looks once for what is due, and stops."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_scheduler(shop.service, stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await running


async def moved_clock(shop: Shop, api: Api, engine: Engine) -> None:
    """A tenant in test mode lives through a day."""
    async with transaction(shop.service, shop.caller, "settings.change") as running:
        await set_test_mode(running, True)
    await advance(shop.service, shop.caller, by=timedelta(days=1))


async def new_tables(shop: Shop, api: Api, engine: Engine) -> None:
    """A database is made, migrated, and its read models are made anew."""
    dsn = await new_database(engine, "faults")
    await migrate(dsn)
    owner = await connect_owner(dsn)
    try:
        await ensure_partitions(owner, system_clock())
        await rebuild(owner, lambda *_: None)
    finally:
        await owner.close()


async def archived(shop: Shop, api: Api, engine: Engine) -> None:
    """A log is exported, and imported into another database."""
    await shop.open()
    with tempfile.TemporaryDirectory() as directory:
        await exported(engine.dsn, Path(directory) / "archive", Wanted(tenant_id=shop.tenant_id))
        await imported(await empty(engine), Path(directory) / "archive")


async def retired(shop: Shop, api: Api, engine: Engine) -> None:
    """The rows of an old month are dropped, since an archive holds them."""
    with tempfile.TemporaryDirectory() as directory:
        async with long_open(engine, Path(directory)) as old:
            await retire_march(old)


Story = Callable[[Shop, Api, Engine], Awaitable[None]]

PASSED: dict[Story, set[str]] = {
    usage: {
        "ingest.window",
        "ingest.answer",
        "append.begin",
        "append.copying",
        "append.keys_copied",
        "append.copied",
        "append.sealed",
        "append.rejected",
        "append.taken",
        "append.committed",
        "doorbell.ring",
        "void.retracted",
    },
    projector: {
        "projector.listening",
        "page.claimed",
        "page.folded",
        "page.advanced",
        "page.committed",
    },
    month: {
        "command.begin",
        "command.locked",
        "command.appended",
        "command.recorded",
        "command.committed",
        "cycle.opened",
        "credit.granted",
        "alert.seen",
        "alert.fired",
        "alert.looked",
        "close.projected",
        "close.caught_up",
        "close.reckoned",
        "close.numbered",
        "close.burned",
        "close.settled",
        "close.issued",
    },
    watched: {"live.read", "live.offer"},
    customer: {"sealing.key_made"},
    scheduler: {"scheduler.tick"},
    moved_clock: {"clock.moved"},
    archived: {"export.span", "export.written", "import.span", "import.written"},
    retired: {"retire.dropped"},
    new_tables: {
        "clock.read",
        "partition.make",
        "migration.locked",
        "migration.applied",
        "rebuild.created",
        "rebuild.followed",
        "rebuild.compared",
        "rebuild.dropped",
        "rebuild.swapped",
    },
}
"""What each story has to pass."""


@pytest.mark.parametrize("story", PASSED, ids=lambda story: story.__name__)
async def test_an_ordinary_operation_passes(
    story: Story, shop: Shop, api: Api, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    await story(shop, api, engine)
    passed = {found[1] for text in caplog.messages if (found := re.match(r"fault at (\S+):", text))}
    assert PASSED[story] <= passed


def test_each_point_is_on_the_way_of_some_story() -> None:
    assert {name for names in PASSED.values() for name in names} == set(FaultPoint)
