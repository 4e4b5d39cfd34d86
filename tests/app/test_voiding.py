"""Retractions in the real log: a commit of their own, originals untouched, each event once, its id used for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
from asyncpg import Connection, Record

from app.database import connect_owner
from app.event_log import NO_ORIGIN, append_retraction
from app.identity import new_batch
from app.service import Caller, Service
from app.voiding import Voided, void_events
from domain import chain
from domain.event import UsageEvent
from projections.log_reader import Retraction, commits_after, head, retractions_after
from tests.app.log_rows import MANY, record_usage, rows_of, stored, tampered, use
from tests.app.shop import MARCH, Shop
from tests.conftest import MovingClock


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(dsn)
    yield connection
    await connection.close()


async def record(service: Service, caller: Caller, *events: UsageEvent) -> int:
    async with service.pool.acquire() as connection:
        return (await record_usage(connection, caller.tenant_id, list(events), service.clock())).position


async def retractions(service: Service, tenant_id: str) -> list[Retraction]:
    async with service.pool.acquire() as connection:
        return await retractions_after(connection, tenant_id, 0, up_to=2**40, limit=MANY)


async def test_ids_that_nobody_sent_are_named_and_nothing_is_appended(service: Service, caller: Caller) -> None:
    before, rows = await head(service.pool, caller.tenant_id), await rows_of(service, caller.tenant_id)
    answered = await void_events(service, caller, ["b", "a", "b"], "")
    assert answered == Voided(0, already_voided=[], not_found=["b", "a"], position=before.position)
    assert await head(service.pool, caller.tenant_id) == before
    assert await rows_of(service, caller.tenant_id) == rows


async def test_an_id_of_another_tenant_is_not_found(service: Service, caller: Caller) -> None:
    other = Caller(f"{caller.tenant_id}x", "key_1", "write", "test")
    await record(service, other, use("a"))
    assert (await void_events(service, caller, ["a"], "")).not_found == ["a"]
    assert await retractions(service, other.tenant_id) == []


async def test_each_event_takes_a_position_in_the_order_asked(service: Service, caller: Caller) -> None:
    last = await record(service, caller, use("a"), use("b"), use("c"))
    originals = await stored(service, caller.tenant_id)
    answered = await void_events(service, caller, ["c", "none", "a", "c"], "a test run")
    assert answered == Voided(2, already_voided=[], not_found=["none"], position=last + 2)
    assert await retractions(service, caller.tenant_id) == [
        Retraction(last + 1, "c", "a test run"),
        Retraction(last + 2, "a", "a test run"),
    ]
    assert await stored(service, caller.tenant_id) == originals
    again = await void_events(service, caller, ["a", "b", "c"], "")
    assert again == Voided(1, already_voided=["a", "c"], not_found=[], position=last + 3)


async def test_a_retraction_extends_the_chain_and_tells_who_asked(
    service: Service, caller: Caller, clock: MovingClock
) -> None:
    last = await record(service, caller, use("a"), use("b\u00e9"))
    before = await head(service.pool, caller.tenant_id)
    clock.advance(hours=1)
    await void_events(service, caller, ["b\u00e9", "a"], "why\u00e9")
    (held,) = await commits_after(service.pool, caller.tenant_id, last, limit=MANY)
    commit = held.commit
    assert (commit.kind, commit.first_position, commit.last_position) == ("retraction", last + 1, last + 2)
    assert commit.recorded_at == clock.now
    rows = await retractions(service, caller.tenant_id)
    assert commit.root == chain.root_of(chain.canonical_retraction(row.event_id, row.reason) for row in rows)
    assert commit.digest == chain.digest_of(before.digest, commit) != chain.digest_of(before.digest, tampered(commit))
    assert json.loads(commit.origin) == {
        "key_id": caller.key_id,
        "from": "test",
        "command": "events.void",
        "via": "key",
    }
    after = await head(service.pool, caller.tenant_id)
    assert (after.position, after.digest) == (last + 2, commit.digest)


async def test_a_voided_id_stays_used_and_voided(service: Service, caller: Caller) -> None:
    await record(service, caller, use("a"))
    await void_events(service, caller, ["a"], "")
    async with service.pool.acquire() as connection:
        receipt = await record_usage(connection, caller.tenant_id, [use("a"), use("a", metadata="")], service.clock())
    assert (receipt.ingested_count, receipt.duplicate_count, receipt.conflicts) == (0, 1, ["a"])
    assert (await void_events(service, caller, ["a"], "")).already_voided == ["a"]
    assert len(await retractions(service, caller.tenant_id)) == 1


async def test_many_at_once_retract_each_event_once(service: Service, caller: Caller) -> None:
    names = [f"e{number}" for number in range(40)]
    last = await record(service, caller, *map(use, names))
    orders = [names, names[::-1], names[20:] + names[:20], names[::2]]
    answers = await asyncio.gather(*(void_events(service, caller, order, "") for order in orders))
    assert sum(answer.voided_count for answer in answers) == len(names)
    assert [row.position for row in await retractions(service, caller.tenant_id)] == list(range(last + 1, last + 41))


async def test_what_fails_before_the_commit_retracts_nothing(service: Service, caller: Caller) -> None:
    await record(service, caller, use("a"))
    before = await head(service.pool, caller.tenant_id)

    async def retract_and_fail() -> None:
        async with service.pool.acquire() as connection, connection.transaction():
            await append_retraction(connection, caller.tenant_id, ["a"], "", service.clock(), NO_ORIGIN)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await retract_and_fail()
    assert await head(service.pool, caller.tenant_id) == before
    assert (await void_events(service, caller, ["a"], "")).voided_count == 1


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        (["a", "none"], asyncpg.RaiseError),
        (["a", "a"], asyncpg.UniqueViolationError),
        (["b"], asyncpg.UniqueViolationError),
        ([], asyncpg.RaiseError),
        (["a"], None),
    ],
)
async def test_the_database_itself_refuses_what_cannot_be_retracted(
    service: Service, caller: Caller, ids: list[str], error: type[Exception] | None
) -> None:
    await record(service, caller, use("a"), use("b"))
    await void_events(service, caller, ["b"], "")
    before = await head(service.pool, caller.tenant_id)

    async def retract() -> None:
        async with service.pool.acquire() as connection, connection.transaction():
            await connection.fetchrow(
                "select log.append_retraction($1, $2, $3, '', $4, $5, $6)",
                caller.tenant_id,
                new_batch(),
                ids,
                bytes(32),
                service.clock(),
                NO_ORIGIN,
            )

    if error is None:
        await retract()
        assert (await head(service.pool, caller.tenant_id)).position == before.position + 1
    else:
        with pytest.raises(error):
            await retract()
        assert await head(service.pool, caller.tenant_id) == before


async def test_a_row_that_no_commit_reaches_is_no_event(
    service: Service, caller: Caller, owner: Connection[Record]
) -> None:
    """A key that was forged beside a sealed batch cannot be retracted."""
    await record(service, caller, use("a"))
    running = owner.transaction()
    await running.start()
    try:
        await owner.execute(
            "insert into log.event_key select tenant_id, 'forged', batch, 99 from log.event_key where tenant_id = $1",
            caller.tenant_id,
        )
        with pytest.raises(asyncpg.RaiseError, match="only 0 of the 1 events"):
            await append_retraction(owner, caller.tenant_id, ["forged"], "", service.clock(), NO_ORIGIN)
    finally:
        await running.rollback()


async def test_a_retraction_changes_the_estimate_and_no_closed_invoice(
    service: Service, caller: Caller, clock: MovingClock
) -> None:
    shop = Shop(service, caller)
    await shop.open()
    await shop.customer()
    subscription_id = await shop.subscribe()
    await shop.use(*[clock.now] * 6)
    before = await shop.estimate(subscription_id)
    await void_events(service, caller, ["e0", "e5"], "")
    after = await shop.estimate(subscription_id)
    assert [line.consumed_units for line in before.lines if line.meter_id == "calls"] == ["6"]
    assert [line.consumed_units for line in after.lines if line.meter_id == "calls"] == ["4"]
    clock.advance(days=30)
    closed = await shop.close(subscription_id)
    await void_events(service, caller, ["e1"], "")
    assert await shop.close(subscription_id, MARCH) == closed
