"""Rows of alerts and of what fired: written with the events, the same after a rebuild, and the checkpoint kept."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest
from asyncpg import Connection, Pool, Record

from app.alerting.watch import move_looked
from app.keys import create_key, system_caller
from app.service import Service
from app.transaction import transaction
from domain.alert import Alert, AlertKind, Reached, Target
from projections.rebuild import rebuild
from projections.shape import LIVE
from tests.conftest import RULES, MovingClock

MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
TABLES = ("alert", "alert_firing", "progress")


def reached(value: str, subscription_id: str = "sub_1") -> Reached:
    return Reached(
        subscription_id=subscription_id, cycle_start=MARCH, cycle_end=APRIL, value=Decimal(value), position=2
    )


async def history(pool: Pool[Record], tenant_id: str) -> Service:
    """Two alerts in commits of their own: one that fires twice and is deleted, one of a subscription."""
    service, caller = Service(pool, MovingClock(), RULES), system_caller(tenant_id)
    await create_key(service, caller, scope="write")
    async with transaction(service, caller, "set") as running:
        for alert_id, subscription_id in (("alt_1", None), ("alt_2", "sub_1")):
            running.add(
                Alert.create(
                    alert_id,
                    customer_id="ada",
                    subscription_id=subscription_id,
                    target=Target(kind=AlertKind.quantity, meter_id="calls"),
                    threshold=Decimal(5),
                    at=running.now,
                )
            )
    for subscription_id in ("sub_1", "sub_2"):
        async with transaction(service, caller, "fire") as running:
            (await running.get(Alert, "alt_1")).fire(reached("5.5", subscription_id), running.now)
    async with transaction(service, caller, "delete") as running:
        (await running.get(Alert, "alt_1")).delete(running.now)
    return service


async def rows_of(pool: Pool[Record], tenant_id: str) -> list[list[tuple[object, ...]]]:
    return [
        sorted(
            (tuple(row.values()) for row in await pool.fetch(f"select * from {table} where tenant_id = $1", tenant_id)),
            key=repr,
        )
        for table in TABLES
    ]


async def test_the_rows_follow_the_events_and_a_rebuild_gives_them_again(
    pool: Pool[Record], owner: Connection[Record]
) -> None:
    service = await history(pool, "acme")
    await move_looked(service, "acme", 4)
    # The quantities' own progress is made by the first projection, in the rebuild at the latest.
    assert await rebuild(owner, lambda *_: None, swap=True) == []
    rows = await rows_of(pool, "acme")
    first, second = await pool.fetch("select * from alert where tenant_id = 'acme' order by alert_id")
    assert (first["deleted"], second["deleted"]) == (True, False)
    assert (first["subscription_id"], second["subscription_id"]) == (None, "sub_1")
    firings = await pool.fetch("select * from alert_firing where tenant_id = 'acme' order by position")
    assert [(row["position"], row["subscription_id"], row["value"], row["known_position"]) for row in firings] == [
        (5, "sub_1", "5.5", 2),
        (6, "sub_2", "5.5", 2),
    ]
    assert await pool.fetchval("select position from progress where projection = 'alerts'") == 4
    assert await rebuild(owner, lambda *_: None, swap=True) == []
    assert await rows_of(pool, "acme") == rows


async def test_a_rebuild_mends_rows_that_the_log_does_not_give(pool: Pool[Record], owner: Connection[Record]) -> None:
    await history(pool, "other")
    await pool.execute("update alert set threshold = '1' where tenant_id = 'other'")
    await pool.execute("delete from alert_firing where tenant_id = 'other' and subscription_id = 'sub_2'")
    found = {difference.table for difference in await rebuild(owner, lambda *_: None, swap=True)}
    assert found == {"alert", "alert_firing"}
    assert await pool.fetchval("select count(*) from alert_firing where tenant_id = 'other'") == 2


async def test_the_table_itself_refuses_a_second_firing_for_a_cycle(pool: Pool[Record]) -> None:
    await history(pool, "twice")
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute(
            "insert into alert_firing select tenant_id, position + 100, alert_id, customer_id, subscription_id, kind,"
            " meter_id, credit_entitlement_id, threshold, value, cycle_start, cycle_end, known_position, fired_at"
            " from alert_firing where tenant_id = 'twice'"
        )


async def test_the_checkpoint_moves_forward_and_passes_over_a_locked_row(
    pool: Pool[Record], owner: Connection[Record]
) -> None:
    service = await history(pool, "locked")

    async def looked() -> int:
        return await pool.fetchval("select position from progress where tenant_id = 'locked' and projection = 'alerts'")

    async with owner.transaction():
        await owner.execute(f"select from {LIVE}.progress where tenant_id = 'locked' for update")
        await move_looked(service, "locked", 3)
    assert await looked() == 0
    await move_looked(service, "locked", 3)
    await move_looked(service, "locked", 2)
    assert await looked() == 3
