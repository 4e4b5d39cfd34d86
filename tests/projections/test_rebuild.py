"""A rebuild gives the rows that stood there, names those that the log does not give, and mends them.

In a database of its own: a rebuild looks at every tenant there is.
"""

from __future__ import annotations

import pytest
from asyncpg import Connection, Pool, Record
from hypothesis import given, settings

from app.database import connect_owner
from projections.log_reader import head
from projections.quantities import projected_position
from projections.rebuild import rebuild
from tests.projections.histories import HOURS, LOG, WHOLE, Commit, Project, edges, grown, steps

pytestmark = pytest.mark.usefixtures("small_pages")


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
