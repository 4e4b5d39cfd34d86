"""A rebuild gives the rows that stood there, names those that the log does not give, and mends them.

In a database of its own: a rebuild looks at every tenant there is.
"""

from __future__ import annotations

import asyncio

import pytest
from asyncpg import Connection, Pool, Record
from hypothesis import given, settings

from app.database import connect_owner
from app.transaction import transaction
from domain.customer import Customer
from projections import rebuild as rebuilding
from projections.database import Database
from projections.log_reader import head
from projections.quantities import counted_meters, projected_position
from projections.rebuild import rebuild
from tests.projections.histories import HOURS, LOG, WHOLE, Commit, History, Project, edges, grown, steps

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
    assert (found["meter"].missing, found["meter"].extra) == (3, 3)
    assert (found["distinct_value"].missing, found["distinct_value"].extra) == (HOURS, 0)
    assert found["quantity"].missing == found["quantity"].extra > 0
    assert await rebuild(owner, lambda *_: None, swap=False) == []
    await history.check(WHOLE)


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

    async def compare(database: Database) -> list[rebuilding.Difference]:
        coming.append(asyncio.create_task(grown(pool, LOG)))
        coming.append(asyncio.create_task(reading_command()))
        await settled()
        await old.check(WHOLE)
        return await compare_as_ever(database)

    compare_as_ever = rebuilding.compare
    monkeypatch.setattr(rebuilding, "compare", compare)
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
