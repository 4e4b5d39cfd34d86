"""Late hours: noted when an hour changes after a cycle reaching into it was closed, the same however the pages fall."""

from __future__ import annotations

import pytest
from asyncpg import Connection, Pool, Record
from hypothesis import given, settings

from projections import quantities
from projections.late_hours import LateHour, late_hours, late_hours_of
from projections.log_reader import END
from projections.rebuild import rebuild
from tests.projections.histories import (
    HOUR_MICROS,
    START,
    Close,
    Commit,
    History,
    NewMeter,
    Switch,
    Void,
    grown,
    steps,
)

pytestmark = pytest.mark.usefixtures("small_pages")

COUNT = NewMeter("call", "count", None, None)
FILTERED = NewMeter(
    "call", "count", None, {"conjunction": "and", "clauses": [{"key": "v", "operator": "equals", "value": 1}]}
)
EVENT = Commit((("call", "ada", 0, ""),))
CYCLE = Close("ada", 0, 2 * HOUR_MICROS)


async def late(history: History, customer_id: str = "ada") -> list[LateHour]:
    await history.project()
    await history.check_late_hours()
    return await late_hours(history.pool, history.tenant_id, customer_id, 0, END)


@pytest.mark.parametrize(
    "quiet",
    [
        [COUNT, EVENT, CYCLE],
        [COUNT, CYCLE, Commit((("call", "bob", 0, ""),))],
        [COUNT, CYCLE, Commit((("job", "ada", 0, ""),))],
        [COUNT, CYCLE, Commit((("call", "ada", 2 * HOUR_MICROS, ""),))],
        [COUNT, Close("ada", HOUR_MICROS, 2 * HOUR_MICROS), EVENT],
        [FILTERED, CYCLE, EVENT],
        [COUNT, Switch(0), CYCLE, EVENT],
        [COUNT, EVENT, Void((0,)), CYCLE, Void((0,))],
        [CYCLE, EVENT, COUNT],
        [CYCLE, EVENT, Void((0,)), COUNT],
    ],
    ids=[
        "recorded before the close",
        "another customer",
        "another event name",
        "after the cycle",
        "before the cycle",
        "filtered away",
        "archived",
        "retracted before the close",
        "a meter declared after it",
        "a meter declared after the retraction",
    ],
)
async def test_an_hour_that_is_not_late(pool: Pool[Record], quiet: list[object]) -> None:
    assert await late(await grown(pool, quiet)) == []


async def test_what_is_recorded_after_the_close_is_late(pool: Pool[Record]) -> None:
    history = await grown(pool, [COUNT, CYCLE, EVENT])
    position = history.events[0].position
    assert await late(history) == [LateHour("mtr_0", START, position, history.times[position])]
    await history.do(EVENT)
    again = history.events[1].position
    assert await late(history) == [LateHour("mtr_0", START, again, history.times[again])]
    assert await late_hours(pool, history.tenant_id, "ada", again, END) == []
    assert await late_hours(pool, history.tenant_id, "ada", again - 1, again) != []
    assert await late_hours(pool, history.tenant_id, "bob", 0, END) == []
    assert await late_hours(pool, f"{history.tenant_id}x", "ada", 0, END) == []
    # Several questions at once, also of one customer.
    asked = [("ada", 0), ("ada", again), ("bob", 0)]
    found = await late_hours_of(pool, history.tenant_id, asked, END)
    assert {one: len(hours) for one, hours in found.items()} == {("ada", 0): 1, ("ada", again): 0, ("bob", 0): 0}


@pytest.mark.parametrize("paged", [False, True], ids=["one page", "a page each"])
async def test_what_is_retracted_after_the_close_is_late(
    pool: Pool[Record], paged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantities, "PAGE_COMMITS", 1 if paged else 50)
    history = await grown(pool, [COUNT, EVENT, CYCLE, Void((0,))])
    position = history.events[0].voided_at
    assert position is not None
    assert await late(history) == [LateHour("mtr_0", START, position, history.times[position])]
    assert await pool.fetchval("select count(*) from quantity where tenant_id = $1", history.tenant_id) == 0


async def test_a_cut_hour_belongs_to_both_cycles(pool: Pool[Record]) -> None:
    half = HOUR_MICROS // 2
    for cycle in (Close("ada", 0, half), Close("ada", half, HOUR_MICROS)):
        assert len(await late(await grown(pool, [COUNT, cycle, EVENT]))) == 1


@settings(max_examples=60)
@given(steps=steps)
async def test_pages_of_any_size_note_the_same(pool: Pool[Record], steps: list[object]) -> None:
    """The second time the catalogue is ahead of the pages, as in a rebuild: it holds invoices that come later."""
    history = await grown(pool, [COUNT, CYCLE, EVENT, *steps, Close("ada", 0, HOUR_MICROS), EVENT])
    noted: list[list[LateHour]] = []
    for commits in (1, 50):
        await forget(pool, history.tenant_id)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quantities, "PAGE_COMMITS", commits)
            noted.append(await late(history))
    assert noted[0] == noted[1] != []


async def forget(pool: Pool[Record], tenant_id: str) -> None:
    """Take the quantities back to the beginning of the log."""
    for table in ("quantity", "distinct_value", "unmeasured_event", "late_hour"):
        await pool.execute(f"delete from {table} where tenant_id = $1", tenant_id)
    await pool.execute("delete from progress where tenant_id = $1 and projection = 'quantities'", tenant_id)


async def test_a_rebuild_finds_a_late_hour_that_was_lost(pool: Pool[Record], owner: Connection[Record]) -> None:
    history = await grown(pool, [COUNT, CYCLE, EVENT, EVENT, Void((0,))])
    kept = await late(history)
    assert await pool.execute("delete from late_hour where tenant_id = $1", history.tenant_id) == "DELETE 1"
    (found,) = await rebuild(owner, lambda *_: None, swap=True)
    assert (found.table, found.missing, found.extra) == ("late_hour", 1, 0)
    assert await late(history) == kept
