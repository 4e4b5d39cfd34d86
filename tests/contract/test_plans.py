"""A statement that reads the log touches a small multiple of what it asks for, whatever the planner knows.

A tenant that began after the last ANALYZE looks to the planner as if it had a row or none. Rows that were touched are
counted, not the names of plans: how they are found is the server's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from asyncpg import Connection, Record

from app.engine.launcher import Engine
from projections.statements import load, parse
from tests.app.log_rows import copy_rows
from tests.contract.log_readers import ASKED, IDS, LINEAR_AT_FIRST, WHOLE, Asking
from tests.contract.newcomer import NEWCOMER, TENANT, Statistics, bring, build, opened

APPEND = load("app.sql", "append.sql")
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for layer in ("app", "projections")
    for path in (ROOT / layer / "sql").glob("*.sql")
    if "-- name: " in path.read_text(encoding="utf-8")
)

TOUCHED_MAX = 3
"""Rows that may be touched for each that cannot be done without."""

BESIDE_MAX = 40
"""Rows that may be touched beside those: a statement that asks for one row looks into a few tables."""

PATIENCE = "5s"
"""What takes longer touches far too much: the wrong plans here took from milliseconds to a quarter of an hour."""

END = NEWCOMER.end(NEWCOMER.commits)
ROWS_READ = "select sum(seq_tup_read + idx_tup_fetch)::int from pg_stat_xact_all_tables where schemaname = 'log'"
NEW_BATCH, NEW_BATCH_TOO = NEWCOMER.commit(NEWCOMER.commits + 1).batch, NEWCOMER.commit(NEWCOMER.commits + 2).batch
LATER = NEWCOMER.at(END)
_READS_THE_LOG = re.compile(r"\blog\.(usage_event|event_key|commit)\b")


@pytest.fixture(scope="module")
async def filled_dsn(engine: Engine) -> str:
    return await build(engine, "plans")


# From the last there is no way back, so they stand in the order in which the tests are run.
@pytest.fixture(scope="module", params=[Statistics.stale, Statistics.none, Statistics.fresh], ids=lambda one: one.name)
async def owner(filled_dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[Connection[Record]]:
    async with opened(filled_dsn) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await bring(connection, request.param)
        yield connection
        await transaction.rollback()


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("asking", ASKED, ids=str)
async def test_what_is_touched_is_bounded_by_what_is_asked_for(
    owner: Connection[Record], asking: Asking, mode: str
) -> None:
    never_analysed = not await owner.fetchval("select exists (select from pg_stats where schemaname = 'log')")
    history = END if never_analysed and asking.statement in LINEAR_AT_FIRST else 0
    touched = sum(rows_touched(await explained(owner, asking, mode)))
    most = TOUCHED_MAX * asking.rows + BESIDE_MAX + 2 * history
    assert touched <= most, f"{touched:,.0f} rows were touched for {asking.rows:,} that were asked for"


@pytest.mark.parametrize("mode", ["custom", "generic"])
async def test_what_the_log_s_own_functions_touch_is_bounded(owner: Connection[Record], mode: str) -> None:
    """Their plans are not told, so what the transaction read is counted: ten rows, then ten keys and their commits."""
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute(f"discard plans; set local plan_cache_mode = force_{mode}_plan")
    await copy_rows(owner, TENANT, NEW_BATCH, list(range(10)))
    await owner.execute(f"set local statement_timeout = '{PATIENCE}'")
    before = await owner.fetchval(ROWS_READ)
    await owner.fetchrow(APPEND["append_usage"], TENANT, NEW_BATCH, 10, bytes(32), LATER, b"")
    await owner.fetchrow(APPEND["append_retraction"], TENANT, NEW_BATCH_TOO, IDS, "", bytes(32), LATER, b"")
    touched = await owner.fetchval(ROWS_READ) - before
    await transaction.rollback()
    assert 30 <= touched <= TOUCHED_MAX * 30 + BESIDE_MAX


def test_every_statement_that_reads_the_log_is_asked() -> None:
    assert {asking.statement for asking in ASKED} | WHOLE.keys() == {
        f"{path.relative_to(ROOT)} {name}"
        for path in FILES
        for name, text in parse(path.read_text(encoding="utf-8"), path.name).items()
        if _READS_THE_LOG.search(text)
    }


async def explained(owner: Connection[Record], asking: Asking, mode: str) -> dict[str, Any]:
    """The plan of a statement as it was run, prepared as the driver prepares it. What it wrote is taken back."""
    text = parse((ROOT / asking.file).read_text(encoding="utf-8"), asking.file)[asking.name]
    types = [one.name for one in (await owner.prepare(text)).get_parameters()]
    values = await literals(owner, types, asking.values)
    await owner.execute(f"prepare asked{listed(types)} as {text}")
    transaction = owner.transaction()
    await transaction.start()
    try:
        await owner.execute(f"set local plan_cache_mode = force_{mode}_plan")
        await owner.execute(f"set local statement_timeout = '{PATIENCE}'")
        answer = await owner.fetchval(f"explain (analyze, format json) execute asked{listed(values)}")
    finally:
        await transaction.rollback()
        await owner.execute("deallocate asked")
    return json.loads(answer)[0]["Plan"]


def listed(parts: Sequence[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


async def literals(owner: Connection[Record], types: Sequence[str], values: Sequence[object]) -> list[str]:
    """The values as SQL says them: EXECUTE takes no parameters of the driver's."""
    if not values:
        return []
    columns = ", ".join(f"quote_nullable((${place}::{one})::text)" for place, one in enumerate(types, 1))
    row = await owner.fetchrow(f"select {columns}", *values)
    assert row is not None
    return list(row)


def rows_touched(plan: dict[str, Any]) -> Iterator[float]:
    """How many rows each step read from a table, or compared with those of another one to no avail."""
    thrown_away = plan.get("Rows Removed by Join Filter", 0)
    if "Relation Name" in plan and "Operation" not in plan:
        thrown_away += plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        thrown_away += plan.get("Rows Removed by Index Recheck", 0)
    yield thrown_away * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from rows_touched(part)
