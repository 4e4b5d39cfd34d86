"""Whatever byte of whatever row of the log is changed, the audit finds it."""

from __future__ import annotations

import random
from typing import Any

import asyncpg
import pytest
from asyncpg import Record

from tests.app.audit.history import History

TABLES = ("head", "commit", "event_key", "usage_event", "domain_event", "retraction")
ROUNDS = 2
"""How often each column is changed, each time in a row and at a place by chance."""

CHANGES = {
    "text": "overlay({0} placing case substr({0}, $2 + 1, 1) when 'x' then 'y' else 'x' end from $2 + 1 for 1)",
    "bytea": "set_byte({0}, $2, get_byte({0}, $2) # 4)",
    # Of the random end of a batch id; its beginning says in which part of the table the row lies.
    "uuid": "overlay({0}::text placing case substr({0}::text, 25 + $2 % 12, 1) when '3' then '4' else '3' end"
    " from 25 + $2 % 12 for 1)::uuid",
    "bigint": "{0} # (1::bigint << ($2 % 40))",
    "integer": "{0} # (1 << ($2 % 20))",
    "timestamp with time zone": "{0} + interval '1 microsecond' * (1::bigint << ($2 % 40))",
}
"""How a value of each type is changed in one byte; $2 says which."""


async def a_row(history: History, table: str, column: str, chance: random.Random) -> Record | None:
    """Some row, or ``None`` where the column of none matters."""
    # Nothing refers to the batch of a domain commit, and no digest covers it.
    covered = "kind <> 'domain'" if (table, column) == ("commit", "batch") else "true"
    rows = await history.owner.fetch(
        f"select tableoid, ctid, {column} as value, octet_length({column}::text) as size"
        f"  from log.{table} where tenant_id = $1 and {covered}",
        history.tenant_id,
    )
    return chance.choice(rows) if rows else None


async def set_value(history: History, table: str, assignment: str, row: Record, *values: Any) -> Any:
    """Change one row; its new place."""
    async with history.owner.transaction():
        await history.owner.execute("set local session_replication_role = replica")
        return await history.owner.fetchrow(
            f"update log.{table} set {assignment} where ctid = $1 and tableoid = $3 returning tableoid, ctid",
            *(row["ctid"], *values, row["tableoid"]),
        )


@pytest.mark.parametrize("table", TABLES)
async def test_a_change_of_any_byte_of_any_row_is_found(history: History, table: str) -> None:
    chance = random.Random(history.tenant_id)
    columns = await history.owner.fetch(
        "select column_name as name, data_type from information_schema.columns where table_schema = 'log'"
        " and table_name = $1",
        table,
    )
    found = set[str]()
    for column in columns * ROUNDS:
        name = column["name"]
        row = await a_row(history, table, name, chance)
        assert row is not None
        place = chance.randrange(max(row["size"], 1))
        change = f"{name} = {CHANGES[column['data_type']].format(name)}"
        try:
            moved = await set_value(history, table, change, row, place)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            # The database refuses the value, or there is no such byte.
            continue
        verdict = await history.verdict()
        assert verdict.findings, f"{change} at {place} of {row} was not found (tenant {history.tenant_id})"
        await set_value(history, table, f"{name} = $2", moved, row["value"])
        found.add(name)
    assert (await history.verdict()).findings == []
    assert len(found) > len(columns) / 2
