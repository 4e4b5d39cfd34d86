"""A rebuild gives the rows that stood there, names those that the log does not give, and mends them.

In a database of its own: a rebuild looks at every tenant there is.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asyncpg import Connection, Pool, Record
from eventsourcing.persistence import StoredEvent
from hypothesis import given, settings

from app.database import connect_owner
from app.transaction import transaction
from domain.aggregate import Fact
from domain.customer import Customer
from projections import catalog, log_reader
from projections import rebuild as rebuilding
from projections.database import Database
from projections.log_reader import head
from projections.quantities import counted_meters, projected_position
from projections.rebuild import Shadow, build_beside, rebuild
from tests.projections.histories import (
    HOURS,
    LOG,
    WHOLE,
    Commit,
    History,
    NewMeter,
    Project,
    Switch,
    edges,
    grown,
    steps,
)

pytestmark = pytest.mark.usefixtures("small_pages")

PATIENCE_SECONDS = 30.0


@settings(max_examples=12)
@given(steps=steps, edges=edges)
async def test_a_rebuild_gives_the_same_rows(
    pool: Pool[Record], own_dsn: str, steps: list[object], edges: list[int]
) -> None:
    history = await grown(pool, steps)
    await history.project()
    reports: list[tuple[str, int, int]] = []
    connection = await connect_owner(own_dsn)
    try:
        assert await rebuild(connection, lambda *report: reports.append(report), swap=True) == []
    finally:
        await connection.close()
    position = (await head(pool, history.tenant_id)).position
    assert not position or (history.tenant_id, position, position) in reports
    await history.check(edges)
    await history.check_late_hours()
    # Life goes on with the new tables.
    await history.record(Commit((("call", "ada", 0, '{"v": 1}'),)))
    await history.project()
    await history.check(edges)


async def test_a_rebuild_finds_rows_that_the_log_does_not_give(pool: Pool[Record], owner: Connection[Record]) -> None:
    """The comparison can fail: each tampered table is named, and the rebuild mends it."""
    history = await grown(pool, LOG)
    await history.project()
    tenant_id = history.tenant_id
    assert await pool.execute("update quantity set total = total + 1 where tenant_id = $1", tenant_id) != "UPDATE 0"
    assert await pool.execute("delete from distinct_value where tenant_id = $1", tenant_id) != "DELETE 0"
    assert await pool.execute("update meter set name = 'Other' where tenant_id = $1", tenant_id) == "UPDATE 3"
    found = {difference.table: difference for difference in await rebuild(owner, lambda *_: None, swap=True)}
    assert set(found) == {"quantity", "distinct_value", "meter"}
    counts = {table: (one.missing, one.extra, one.changed) for table, one in found.items()}
    assert counts["meter"] == (0, 0, 3)
    assert counts["distinct_value"] == (HOURS, 0, 0)
    assert counts["quantity"][:2] == (0, 0) < counts["quantity"]
    assert await rebuild(owner, lambda *_: None, swap=False) == []
    await history.check(WHOLE)


async def test_a_rebuild_holds_the_events_of_one_stream_at_a_time(
    pool: Pool[Record], owner: Connection[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty meters, the first of them archived and brought back: no more is read before a row is written."""
    monkeypatch.setattr(rebuilding, "STREAMS_PAGE", 4)
    history = await grown(pool, [NewMeter("call", "count", None, None) for _ in range(29)])
    for step in (Switch(0), NewMeter("job", "count", None, None), Switch(0)):
        await history.do(step)
    held, most, written = 0, 0, 0
    read, record = log_reader.to_fact, catalog.record

    def noted(stored: StoredEvent) -> Fact:
        nonlocal held
        held += 1
        return read(stored)

    async def recorded(database: Database, tenant_id: str, changed: list[Any]) -> None:
        nonlocal held, most, written
        held, most, written = 0, max(most, held), written + (tenant_id == history.tenant_id)
        await record(database, tenant_id, changed)

    monkeypatch.setattr(log_reader, "to_fact", noted)
    monkeypatch.setattr(catalog, "record", recorded)
    shadow = Shadow(owner, "read_audit", lambda *_: None, [history.tenant_id])
    await shadow.build(resume=False)
    assert (most, written) == (3, 30)
    assert await shadow.compare() == []
    # What comes later is added to what is there, and each stream once.
    await history.do(Switch(0))
    await history.do(Switch(0))
    written = 0
    assert await shadow.build(resume=True)
    assert written == 1
    assert await shadow.compare() == []
    await shadow.drop()
    await shadow.leave()


async def test_a_rebuild_is_quiet_about_quantities_that_are_behind(
    pool: Pool[Record], owner: Connection[Record]
) -> None:
    behind = await grown(pool, LOG)
    await behind.do(Project())
    assert 0 < await projected_position(pool, behind.tenant_id) < (await head(pool, behind.tenant_id)).position
    untouched = await grown(pool, LOG)
    assert await projected_position(pool, untouched.tenant_id) == 0
    assert await rebuild(owner, lambda *_: None, swap=True) == []
    for history in (behind, untouched):
        await history.check(WHOLE)


async def test_a_tenant_that_comes_during_the_last_step_is_kept(
    pool: Pool[Record], own_dsn: str, owner: Connection[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the swap, as does a command of a tenant that was there; readers do not wait."""
    old = await grown(pool, LOG)
    await old.project()
    coming: list[asyncio.Task[object]] = []
    watcher = await connect_owner(own_dsn)

    async def settled() -> None:
        while not all(task.done() for task in coming):
            waiting = await watcher.fetchval(
                "select count(*) from pg_stat_activity"
                " where wait_event_type = 'Lock' and datname = current_database() and application_name = 'taximeter'"
            )
            if waiting >= sum(not task.done() for task in coming):
                return

    async def reading_command() -> None:
        """As a close does: it locks its head, reads the read models that are about to be swapped, and appends."""
        async with transaction(old.service, old.caller, "customer.create") as running:
            await counted_meters(running.database, old.tenant_id)
            running.add(
                Customer.create(
                    "ada", personal="", time_zone="UTC", preferred_locale=None, metadata="{}", at=running.now
                )
            )

    async def put_in_place(database: Database, built: str) -> None:
        coming.append(asyncio.create_task(grown(pool, LOG)))
        coming.append(asyncio.create_task(reading_command()))
        await settled()
        await old.check(WHOLE)
        await put_in_place_as_ever(database, built)

    put_in_place_as_ever = rebuilding.put_in_place
    monkeypatch.setattr(rebuilding, "put_in_place", put_in_place)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await rebuild(owner, lambda *_: None, swap=True) == []
        new, _ = await asyncio.gather(*coming)
    await watcher.close()
    assert isinstance(new, History)
    monkeypatch.undo()
    assert await rebuild(owner, lambda *_: None, swap=False) == []
    for history in (old, new):
        await history.project()
        await history.check(WHOLE)


async def test_a_rebuild_that_died_is_gone_on_with(pool: Pool[Record], own_dsn: str, owner: Connection[Record]) -> None:
    """Wherever it dies, the next one goes on from there and gives the rows of one that never died."""
    history = await grown(pool, LOG)
    await history.project()
    position = (await head(pool, history.tenant_id)).position
    reached: set[int] = set()

    class Died(Exception):
        pass

    def dying(tenant_id: str, at: int, _until: int) -> None:
        if tenant_id == history.tenant_id and at not in reached:
            reached.add(at)
            raise Died

    while position not in reached:
        # Each one is another process.
        connection = await connect_owner(own_dsn)
        with pytest.raises(Died):
            await rebuild(connection, dying, resume=True)
        await connection.close()
    assert len(reached) > 3, "it died at several places"
    again: list[int] = []
    assert await rebuild(owner, lambda tenant_id, at, _: again.append(at), resume=True) == []
    await history.check(WHOLE)
    await history.check_late_hours()


async def test_what_was_built_beside_is_taken_and_followed_up(pool: Pool[Record], owner: Connection[Record]) -> None:
    history = await grown(pool, LOG)
    await history.project()
    await build_beside(owner, lambda *_: None)
    await history.check(WHOLE)  # The ones in use are used, and grow.
    for step in LOG:
        await history.do(step)
    await history.project()
    pages: list[int] = []
    before = (await head(pool, history.tenant_id)).position // 2

    def note(tenant_id: str, at: int, _until: int) -> None:
        if tenant_id == history.tenant_id:
            pages.append(at)

    assert await rebuild(owner, note, resume=True) == []
    assert min(pages) >= before, "what was built is not built again"
    await history.check(WHOLE)
