"""The log in the real database: each id once, positions without a gap, one chain, all or nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from asyncpg import Connection, Record
from eventsourcing.persistence import IntegrityError, StoredEvent

from app import event_log
from app.database import connect_owner
from app.event_log import NO_ORIGIN, Receipt, append_domain
from app.identity import new_batch
from app.service import Caller, Service
from domain import chain, instant
from domain.chain import GENESIS
from domain.event import UsageEvent
from projections.log_reader import commits_after, head
from projections.shape import LIVE
from tests.app.log_rows import (
    MANY,
    copy_rows,
    record_usage,
    rejected_of,
    root_of_domain,
    root_of_usage,
    rows_of,
    stored,
    tampered,
    until_waiting,
    use,
)
from tests.conftest import MovingClock

Append = Callable[..., Awaitable[Receipt]]


@pytest.fixture
def tenant_id() -> str:
    """A tenant whose log is empty."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def append(service: Service, tenant_id: str) -> Append:
    """Append events as one request of the test's tenant, on a connection of its own."""

    async def of_tenant(*events: UsageEvent) -> Receipt:
        async with service.pool.acquire() as connection:
            return await record_usage(connection, tenant_id, events, service.clock())

    return of_tenant


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(dsn)
    yield connection
    await connection.close()


async def test_a_batch_is_recorded_in_array_order(append: Append, service: Service, tenant_id: str) -> None:
    receipt = await append(use("c"), use("a"), use("b"))
    assert receipt == Receipt(ingested_count=3, duplicate_count=0, conflicts=[], position=3)
    assert [(position, row["event_id"]) for position, row in await stored(service, tenant_id)] == [
        (1, "c"),
        (2, "a"),
        (3, "b"),
    ]


async def test_duplicates_and_conflicts_inside_a_request(append: Append, service: Service, tenant_id: str) -> None:
    receipt = await append(
        use("a", metadata='{"x": 1, "y": "z"}'),
        use("a", metadata='{ "y":"z", "x":1.0 }'),
        use("a", metadata='{"x": "1", "y": "z"}'),
        use("b"),
    )
    assert receipt == Receipt(ingested_count=2, duplicate_count=1, conflicts=["a"], position=2)
    assert [row["metadata"] for _, row in await stored(service, tenant_id)] == ['{"x": 1, "y": "z"}', '{"tokens": 7}']
    (kept,) = await rejected_of(service, tenant_id)
    assert (kept["event_id"], kept["reason"]) == ("a", "conflict")
    assert '{"x": "1", "y": "z"}' in kept["content"]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"metadata": '{"tokens": 7.0}'}, True),
        ({"metadata": '{"tokens":70e-1}'}, True),
        ({"timestamp": None}, True),
        ({"metadata": '{"tokens": "7"}'}, False),
        ({"metadata": '{"tokens": 8}'}, False),
        ({"metadata": '{"tokens": true}'}, False),
        ({"metadata": ""}, False),
        ({"customer_id": "bob"}, False),
        ({"event_name": "api.Call"}, False),
        ({"timestamp": MovingClock().now - timedelta(hours=1, microseconds=1)}, False),
    ],
)
async def test_duplicates_and_conflicts_across_requests(
    append: Append, service: Service, tenant_id: str, changes: dict[str, Any], same: bool
) -> None:
    await append(use("a"))
    receipt = await append(use("a", **changes), use("b"))
    expected = (1, []) if same else (0, ["a"])
    assert (receipt.duplicate_count, receipt.conflicts) == expected
    assert (receipt.ingested_count, receipt.position) == (1, 2)
    first, second = await stored(service, tenant_id)
    assert (first[1]["event_id"], first[1]["metadata"], first[1]["customer_id"]) == ("a", '{"tokens": 7}', "ada")
    assert second[1]["event_id"] == "b"
    assert len(await rejected_of(service, tenant_id)) == (0 if same else 1)


async def test_a_repeat_is_judged_by_what_the_log_holds(append: Append) -> None:
    """The batch's own first event is not recorded, so a repeat that equals the stored original is a duplicate."""
    await append(use("a"))
    receipt = await append(use("a", customer_id="bob"), use("a"), use("a", customer_id="bob"))
    assert receipt == Receipt(ingested_count=0, duplicate_count=1, conflicts=["a", "a"], position=1)


async def test_ids_are_compared_byte_for_byte(append: Append) -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    receipt = await append(use(composed), use(decomposed), use("A"), use("a"), use("a "))
    assert (receipt.ingested_count, receipt.duplicate_count, receipt.conflicts) == (5, 0, [])


async def test_a_resend_without_a_timestamp_is_a_duplicate_whenever_it_comes(
    append: Append, service: Service, clock: MovingClock, tenant_id: str
) -> None:
    recorded_at = clock.now
    await append(use("a", timestamp=None))
    clock.advance(days=400)
    receipt = await append(use("a", timestamp=None))
    assert (receipt.ingested_count, receipt.duplicate_count, receipt.conflicts) == (0, 1, [])
    ((_, row),) = await stored(service, tenant_id)
    assert row["timestamp"] == recorded_at


async def test_a_missing_timestamp_is_the_moment_of_recording_inside_a_request(
    append: Append, clock: MovingClock
) -> None:
    later = clock.now + timedelta(microseconds=1)
    receipt = await append(
        use("a", timestamp=None),
        use("a", timestamp=None),
        use("a", timestamp=clock.now),
        use("a", timestamp=later),
    )
    assert receipt == Receipt(ingested_count=1, duplicate_count=2, conflicts=["a"], position=1)


async def test_a_request_with_nothing_new_names_the_head(append: Append, service: Service, tenant_id: str) -> None:
    await append(use("a"), use("b"))
    before = await head(service.pool, tenant_id)
    receipt = await append(use("a"))
    assert receipt == Receipt(ingested_count=0, duplicate_count=1, conflicts=[], position=2)
    assert await head(service.pool, tenant_id) == before


async def test_recording_times_never_decrease(
    append: Append, service: Service, clock: MovingClock, tenant_id: str
) -> None:
    await append(use("a"))
    first = clock.now
    clock.advance(days=-1)
    await append(use("b"))
    clock.advance(days=2)
    await append(use("c"))
    times = [held.commit.recorded_at for held in await commits_after(service.pool, tenant_id, 0, limit=MANY)]
    assert times == [first, first, first + timedelta(days=1)]


async def test_eight_writers_over_overlapping_ids(append: Append, service: Service, tenant_id: str) -> None:
    """Each writer sends its own order of the ids it shares with the others; a circle of waits would be an error."""
    writers, ids, batch = 8, 60, 20

    async def write(writer: int) -> list[Receipt]:
        order = sorted(range(ids), key=lambda number: (number * 7 + writer * 13) % 61, reverse=bool(writer % 2))
        parts = [order[start : start + batch] for start in range(0, ids, batch)]
        return [await append(*(use(f"e{number}") for number in part)) for part in parts]

    receipts = [receipt for written in await asyncio.gather(*map(write, range(writers))) for receipt in written]
    assert sum(receipt.ingested_count for receipt in receipts) == ids
    assert sum(receipt.duplicate_count for receipt in receipts) == (writers - 1) * ids
    assert not any(receipt.conflicts for receipt in receipts)
    rows = await stored(service, tenant_id)
    assert [position for position, _ in rows] == list(range(1, ids + 1))
    assert Counter(row["event_id"] for _, row in rows) == Counter({f"e{number}": 1 for number in range(ids)})
    assert await rows_of(service, tenant_id) == Counter(
        usage_event=ids,
        event_key=ids,
        commit=len([r for r in receipts if r.ingested_count]),
        domain_event=0,
        retraction=0,
    )


async def test_batches_in_opposite_orders_do_not_wait_for_each_other_in_a_circle(
    append: Append, service: Service, owner: Connection[Record], tenant_id: str
) -> None:
    """A third writer holds the id in the middle until both stand before it, each with its first ids in hand."""
    async with service.pool.acquire() as connection:
        running = connection.transaction()
        await running.start()
        await record_usage(connection, tenant_id, [use("m")], service.clock())
        there = asyncio.create_task(append(use("a"), use("m"), use("z")))
        back = asyncio.create_task(append(use("z"), use("m"), use("a")))
        await until_waiting(owner, 2)
        await running.rollback()
    receipts = [await there, await back]
    assert sorted(receipt.ingested_count for receipt in receipts) == [0, 3]
    assert sorted(receipt.duplicate_count for receipt in receipts) == [0, 3]
    assert (await head(service.pool, tenant_id)).position == 3


async def test_commit_order_is_position_order(append: Append, service: Service, tenant_id: str) -> None:
    """A reader that sees a position sees everything before it, also while others write."""
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for number in range(15):
            await append(use(f"{writer}-{number}-a"), use(f"{writer}-{number}-b"))

    async def read() -> int:
        reads = 0
        while not done.is_set():
            seen = [held.commit for held in await commits_after(service.pool, tenant_id, 0, limit=MANY)]
            expected = 1
            for commit in seen:
                assert commit.first_position == expected
                expected = commit.last_position + 1
            reads += 1
        return reads

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(8)))
    done.set()
    assert await reader > 1
    assert (await head(service.pool, tenant_id)).position == 8 * 15 * 2


async def test_the_chain_recomputed_from_the_rows_ends_in_the_head(service: Service, caller: Caller) -> None:
    tenant_id = caller.tenant_id  # Its log begins with domain events.
    async with service.pool.acquire() as connection:
        await record_usage(connection, tenant_id, [use("a", metadata=""), use("b\u00e9")], service.clock())
        await record_usage(connection, tenant_id, [use(f"n{number}") for number in range(5)], service.clock())
    digest = GENESIS
    kinds: list[str] = []
    for held in await commits_after(service.pool, tenant_id, 0, limit=MANY):
        commit = held.commit
        root = await (root_of_usage if commit.kind == "usage" else root_of_domain)(
            service, tenant_id, held.batch, commit
        )
        assert root == commit.root
        previous, digest = digest, chain.digest_of(digest, commit)
        assert digest == commit.digest
        assert digest != chain.digest_of(previous, tampered(commit))
        kinds.append(commit.kind)
    assert kinds == ["domain", "usage", "usage"]
    assert digest == (await head(service.pool, tenant_id)).digest


@pytest.mark.parametrize(
    ("kind", "tenant", "micros", "origin"),
    [
        ("usage", "t", 0, b""),
        ("domain", "a-much-longer-tenant_0", 1_773_144_000_123_456, b'{"key_id": "\xc3\xa9"}'),
        ("domain", "t", -1, b"\x00\xff"),
        ("usage", "t\u00e9", 253_402_300_799_999_998, b"x" * 300),
        ("usage", "t", 4_102_444_800_000_001, b""),
    ],
)
async def test_the_header_is_the_same_in_sql_and_in_python(
    owner: Connection[Record], kind: str, tenant: str, micros: int, origin: bytes
) -> None:
    at, root = instant.from_micros(micros), bytes(range(32))
    first, last = 2**40 + 1, 2**62
    in_sql = await owner.fetchval(
        "select log.header($1, $2, $3, $4, $5, $6, $7)", kind, tenant, first, last, at, root, origin
    )
    assert in_sql == chain.header(
        kind=kind, tenant_id=tenant, first=first, last=last, recorded_at=at, root=root, origin=origin
    )


async def test_an_append_that_fails_before_its_commit_leaves_nothing(
    append: Append, service: Service, tenant_id: str
) -> None:
    await append(use("a"))
    before, rows = await head(service.pool, tenant_id), await rows_of(service, tenant_id)

    async def append_and_fail() -> None:
        async with service.pool.acquire() as connection, connection.transaction():
            receipt = await record_usage(connection, tenant_id, [use("b"), use("c")], service.clock())
            assert receipt.position == 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await append_and_fail()
    assert await head(service.pool, tenant_id) == before
    assert await rows_of(service, tenant_id) == rows
    receipt = await append(use("b"), use("c"))
    assert (receipt.ingested_count, receipt.duplicate_count, receipt.position) == (2, 0, 3)


async def test_a_taken_version_takes_back_the_whole_commit(service: Service, tenant_id: str) -> None:
    def event(version: int) -> StoredEvent:
        return StoredEvent(originator_id="s:1", originator_version=version, topic="kind", state=b"{}")

    await append_domain(service.pool, tenant_id, [event(1)], service.clock(), NO_ORIGIN)
    before = await head(service.pool, tenant_id)
    with pytest.raises(IntegrityError):
        await append_domain(service.pool, tenant_id, [event(2), event(1)], service.clock(), NO_ORIGIN)
    assert await head(service.pool, tenant_id) == before
    commit = await append_domain(service.pool, tenant_id, [event(2)], service.clock(), NO_ORIGIN)
    assert (commit.first_position, commit.last_position) == (2, 2)


async def test_two_tenants_are_independent(service: Service) -> None:
    one, two = f"t{uuid4().hex[:12]}", f"t{uuid4().hex[:12]}"
    async with service.pool.acquire() as first, service.pool.acquire() as second, first.transaction():
        assert (await record_usage(first, one, [use("a"), use("b")], service.clock())).position == 2
        # The first tenant's head is locked meanwhile: the second one neither waits for it nor knows its ids.
        async with asyncio.timeout(5):
            receipt = await record_usage(second, two, [use("a", customer_id="bob")], service.clock())
        assert receipt == Receipt(ingested_count=1, duplicate_count=0, conflicts=[], position=1)
    assert (await head(service.pool, one)).position == 2
    assert (await head(service.pool, two)).position == 1
    assert [row["customer_id"] for _, row in await stored(service, one)] == ["ada", "ada"]
    assert [row["customer_id"] for _, row in await stored(service, two)] == ["bob"]


@pytest.mark.parametrize(
    ("ordinals", "count", "accepted"),
    [
        ([0, 1, 2], 3, True),
        ([0, 2], 2, False),
        ([1, 2], 2, False),
        ([0, 1], 3, False),
        ([0, 1], 1, False),
        ([], 0, False),
    ],
)
async def test_a_batch_with_a_hole_in_its_ordinals_is_not_sealed(
    service: Service, tenant_id: str, ordinals: list[int], count: int, accepted: bool
) -> None:
    batch = new_batch()

    async def seal() -> None:
        async with service.pool.acquire() as connection, connection.transaction():
            await copy_rows(connection, tenant_id, batch, ordinals)
            await connection.fetchrow(
                event_log.SQL["append_usage"], tenant_id, batch, count, bytes(32), service.clock(), NO_ORIGIN
            )

    if accepted:
        await seal()
    else:
        with pytest.raises(asyncpg.RaiseError, match=r"^batch .* holds|at least one"):
            await seal()
    assert (await rows_of(service, tenant_id))["usage_event"] == (len(ordinals) if accepted else 0)
    assert (await head(service.pool, tenant_id)).position == (count if accepted else 0)


async def test_a_backend_killed_in_the_middle_leaves_nothing_and_a_retry_counts_once(
    append: Append, service: Service, owner: Connection[Record], dsn: str, tenant_id: str
) -> None:
    await append(use("a"))
    before, rows = await head(service.pool, tenant_id), await rows_of(service, tenant_id)
    victim = await asyncpg.connect(dsn, server_settings={"role": "taximeter_app", "search_path": LIVE})
    running = victim.transaction()
    await running.start()
    receipt = await record_usage(victim, tenant_id, [use("b"), use("c")], service.clock())
    assert receipt.position == 3
    # Another request with one of these ids waits for the key, and goes on when the backend is gone.
    waiting = asyncio.create_task(append(use("c"), use("d")))
    await until_waiting(owner, 1)
    assert await owner.fetchval("select pg_terminate_backend($1, 5000)", victim.get_server_pid())
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await running.commit()
    await victim.close(timeout=1)
    assert (await waiting) == Receipt(ingested_count=2, duplicate_count=0, conflicts=[], position=3)
    assert before.position == 1
    assert rows["usage_event"] == 1
    again = await append(use("b"), use("c"))
    assert again == Receipt(ingested_count=1, duplicate_count=1, conflicts=[], position=4)
    assert [row["event_id"] for _, row in await stored(service, tenant_id)] == ["a", "c", "d", "b"]
    assert (await rows_of(service, tenant_id))["usage_event"] == 4
