"""A customer that is held: what an event adds, and when it is not enough to add."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from app.live import held as held_module
from app.live.held import HeldCustomer, hold
from app.projecting import project_all
from app.service import Caller, Service
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.meter import Meter
from domain.price import MeterPrice
from tests.app.shop import APRIL, MAY, Shop, price_of
from tests.conftest import MovingClock

VISITORS = MeterPrice(meter_id="visitors", price_per_unit="10")
TOKENS = MeterPrice(meter_id="tokens", price_per_unit="1")


@pytest.fixture
async def shop(service: Service, caller: Caller, clock: MovingClock) -> Shop:
    shop = Shop(service, caller)
    await shop.customer()
    async with transaction(service, caller, "shop.visitors") as running:
        running.add(
            Meter.create(
                "visitors",
                name="visitors",
                event_name="call",
                aggregation=read_aggregation({"type": "unique", "key": "n"}),
                filter="",
                measurement_unit="visitor",
                description=None,
                at=running.now,
            )
        )
    await shop.open(price_of(meters=(VISITORS, TOKENS)))
    await shop.subscribe()
    await project_all(service)
    return shop


def event(at: datetime, position: int = 10**6, n: str = "1", name: str = "call") -> Any:
    return {
        "position": position,
        "customer_id": "ada",
        "event_name": name,
        "timestamp": at,
        "metadata": f'{{"n": {n}}}',
    }


def quantities(held: HeldCustomer) -> dict[str, str]:
    return {meter.meter_id: meter.quantity for cycle in held.standing.cycles for meter in cycle.meters}


def take_in(held: HeldCustomer, events: Iterable[Any]) -> bool:
    position = 0
    for row in events:
        held.note(row)
        position = row["position"]
    return held.restate(position)


async def test_each_meter_adds_in_its_own_way(shop: Shop, clock: MovingClock) -> None:
    held = await hold(shop.service, shop.caller, "ada")
    assert take_in(held, [event(clock.now, 10**6 + index, n) for index, n in enumerate(["4", "4", "2.5"])])
    assert quantities(held) == {"visitors": "2", "tokens": "10.5"}
    # The fee, two visitors at ten and ten and a half tokens at one, rounded half up.
    assert held.standing.cycles[0].estimate.total_amount == 500 + 20 + 11


async def test_what_no_meter_of_a_price_counts_changes_nothing(shop: Shop, clock: MovingClock) -> None:
    held = await hold(shop.service, shop.caller, "ada")
    assert not take_in(held, [event(clock.now, name="else"), event(APRIL), event(MAY)])
    assert not held.stale


async def test_the_edges_of_a_cycle(shop: Shop, clock: MovingClock) -> None:
    held = await hold(shop.service, shop.caller, "ada")
    (cycle,) = held.standing.cycles
    start = datetime.fromisoformat(cycle.cycle_start)
    take_in(held, [event(start), event(APRIL - timedelta(microseconds=1)), event(APRIL)])
    assert quantities(held)["tokens"] == "2"


async def test_an_archived_meter_counts_no_more(shop: Shop, clock: MovingClock) -> None:
    async with transaction(shop.service, shop.caller, "shop.archive") as running:
        (await running.get(Meter, "tokens")).archive(running.now)
    await project_all(shop.service)
    held = await hold(shop.service, shop.caller, "ada")
    take_in(held, [event(clock.now)])
    assert quantities(held) == {"visitors": "1", "tokens": "0"}


async def test_usage_of_a_closed_cycle_makes_it_stale(shop: Shop, clock: MovingClock) -> None:
    clock.now = MAY
    await shop.close_due()
    await project_all(shop.service)
    held = await hold(shop.service, shop.caller, "ada")
    before, position = held.standing, held.position
    held.note(event(APRIL - timedelta(days=1)))
    held.note(event(clock.now))
    # It stays what it was: at a later position this would not be its estimate.
    assert not held.restate(position + 2)
    assert held.stale
    assert (held.standing, held.position) == (before, position)


async def test_many_distinct_values_are_not_held(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_module, "DISTINCT_MAX", 2)
    await shop.record([(clock.now, f'{{"n": {n}}}') for n in range(3)])
    await project_all(shop.service)
    held = await hold(shop.service, shop.caller, "ada")
    assert quantities(held)["visitors"] == "3"
    held.note(event(clock.now, n="9"))
    assert not held.catch_up()


async def test_only_so_many_events_are_noted_before_they_are_counted(
    shop: Shop, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_module, "NOTED_MAX", 2)
    held = await hold(shop.service, shop.caller, "ada")
    for position in range(10**6, 10**6 + 5):
        held.note(event(clock.now, position))
    assert len(held._noted) == 1
    assert held.restate(10**6 + 5)
    assert quantities(held)["tokens"] == "5"


async def test_a_backlog_shows_the_next_invoices_cycle_and_the_newest(shop: Shop, clock: MovingClock) -> None:
    clock.advance(days=100)
    held = await hold(shop.service, shop.caller, "ada")
    starts = [cycle.cycle_start[:10] for cycle in held.standing.cycles]
    assert starts == ["2026-03-01", "2026-06-01"]
    assert held.read_again_at is not None
    assert held.read_again_at.isoformat()[:10] == "2026-07-01"


async def test_who_has_no_subscription_stands_at_nothing(shop: Shop) -> None:
    await shop.customer("bob")
    await project_all(shop.service)
    held = await hold(shop.service, shop.caller, "bob")
    assert held.standing.cycles == ()
    assert held.read_again_at is None


async def test_reading_again_tells_what_is_different(shop: Shop, clock: MovingClock) -> None:
    before = await hold(shop.service, shop.caller, "ada")
    await shop.customer("bob")
    await project_all(shop.service)
    same = await hold(shop.service, shop.caller, "ada")
    assert not same.follow(before)
    assert same.standing.position > before.standing.position
    assert same.standing.changed == before.standing.changed
    await shop.use(clock.now)
    await project_all(shop.service)
    other = await hold(shop.service, shop.caller, "ada")
    assert other.follow(same)
    assert other.standing.changed == (other.position,)
    assert msgspec.json.encode(other.standing) != msgspec.json.encode(same.standing)
