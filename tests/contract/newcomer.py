"""The log of a tenant that is newer than the planner's statistics, beside a large one that they know.

Written straight into the tables, by the hundred thousand: digests, roots and states are empty, which no plan looks at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg
from asyncpg import Connection, Record

from app.commands import prepare
from app.database import connect_owner
from app.engine.launcher import Engine
from projections.shape import LIVE

TENANT, OLD = "newcomer", "old"
METER = "meter_1"
BIG = "big"
"""The customer who sends every tenth event; three hundred others share the rest."""

STEP = timedelta(seconds=10)
"""From one position to the next."""


class Statistics(StrEnum):
    """What the planner knows of the tables."""

    none = "nothing: no table was ever analysed"
    stale = "the old tenant alone, and none of the newest month's rows"
    fresh = "both tenants"


@dataclass(frozen=True)
class Commit:
    """A commit in the log of its tenant, by its number from 1; the rest are columns."""

    number: int
    kind: str
    first_position: int
    last_position: int
    batch: UUID
    recorded_at: datetime


COMMIT_COLUMNS = [field.name for field in fields(Commit)][1:]


@dataclass(frozen=True)
class History:
    """A tenant's log: the kinds of its commits, over and over, and when its position 0 would have been."""

    tenant_id: str
    commits: int
    since: datetime
    kinds: tuple[str, ...]
    batch_events: int

    def commit(self, number: int) -> Commit:
        """The commit with this number. Its batch is a UUIDv7, but for what is random in one."""
        last, kind = self.end(number), self.kinds[(number - 1) % len(self.kinds)]
        recorded_at = self.at(last) + timedelta(seconds=1)
        batch = UUID(int=int(recorded_at.timestamp() * 1_000) << 80 | 0x7000_8000 << 48 | number)
        return Commit(number, kind, last - self.size(kind) + 1, last, batch, recorded_at)

    def end(self, number: int) -> int:
        """Where the commit with this number ends; 0 for none."""
        rounds, rest = divmod(number, len(self.kinds))
        sizes = [self.size(kind) for kind in self.kinds]
        return rounds * sum(sizes) + sum(sizes[:rest])

    def size(self, kind: str) -> int:
        """How many events a commit of this kind has."""
        return self.batch_events if kind == "usage" else 2

    def at(self, position: int) -> datetime:
        """When the event at a position happened."""
        return self.since + STEP * position


NEWCOMER = History(
    TENANT,
    commits=5_000,
    # After two days its rows go to a partition that was empty when the statistics were taken.
    since=datetime(2026, 3, 30, tzinfo=UTC),
    kinds=("usage",) * 4 + ("domain",) + ("usage",) * 4 + ("retraction",),
    batch_events=10,
)
_KNOWN = History(
    OLD,
    commits=1_750,
    since=datetime(2026, 3, 1, tzinfo=UTC),
    kinds=("usage",),
    batch_events=80,
)

_ROWS = """
insert into log.head
select tenant_id, max(last_position), sha256(''), max(recorded_at) from log.commit where tenant_id = $1 group by 1;

insert into log.usage_event
select tenant_id, batch, position - first_position, 'e' || position,
       case when position % 7 = 0 then 'job' else 'call' end,
       case when position % 10 = 0 then 'big' else 'c' || position % 300 end,
       $2::timestamptz + position * interval '10 s', '{"tokens": ' || position || '}'
  from log.commit, generate_series(first_position, last_position) as position
 where tenant_id = $1 and kind = 'usage';

insert into log.event_key
select tenant_id, event_id, batch, ordinal from log.usage_event where tenant_id = $1;

insert into log.domain_event
select tenant_id, 'customer:c' || position % 300, position, position, 'customer.changed', ''
  from log.commit, generate_series(first_position, last_position) as position
 where tenant_id = $1 and kind = 'domain';

insert into log.retraction
select tenant_id, 'e' || position - 5, batch, position - first_position, position, ''
  from log.commit, generate_series(first_position, last_position) as position
 where tenant_id = $1 and kind = 'retraction';

insert into progress
select tenant_id, projection, position from log.head, unnest(array['quantities', 'alerts']) as projection
 where tenant_id = $1;

insert into unmeasured_event
select tenant_id, 'meter_1', position, 'e' || position
  from log.commit, generate_series(first_position, last_position) as position
 where tenant_id = $1 and kind = 'usage' and position % 10 = 0;

insert into alert
select $1, 'alert_' || n, case n when 0 then 'big' else 'c' || n end, null, 'usage', 'meter_1', null, '1', false, now()
  from generate_series(0, 20) as n;
"""
"""The rows that belong to the commits of the tenant $1, whose position 0 would have been at $2."""

_FORGET = """
select pg_clear_relation_stats(schemaname, tablename) from pg_tables
 where schemaname in ('log', 'kept', current_schema);
select pg_clear_attribute_stats(schemaname, tablename, attname, inherited)
  from pg_stats where schemaname in ('log', 'kept', current_schema);
"""


async def build(engine: Engine, name: str) -> str:
    """The address of a database with both tenants, whose statistics are ``stale``."""
    owner = await asyncpg.connect(engine.dsn)
    await owner.execute(f"create database {name}")
    await owner.close()
    dsn = engine.dsn_for(name)
    await prepare(dsn)
    async with opened(dsn) as owner:
        for month in (_KNOWN.since, NEWCOMER.at(NEWCOMER.end(NEWCOMER.commits))):
            await owner.execute("select log.ensure_partition($1)", month.date())
        for table in await _tables(owner):
            # It would analyse what is filled in here, sooner or later.
            await owner.execute(f"alter table {table} set (autovacuum_enabled = off)")
        await _fill(owner, _KNOWN)
        await owner.execute("analyze")
        await _fill(owner, NEWCOMER)
    return dsn


async def bring(owner: Connection[Record], statistics: Statistics) -> None:
    """Make the statistics of a new database say this. From ``fresh`` there is no way back."""
    if statistics is Statistics.fresh:
        await owner.execute("analyze")
    if statistics is Statistics.none:
        await owner.execute(_FORGET)


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Connection[Record]]:
    """A connection of the owner of the database."""
    connection = await connect_owner(dsn)
    assert isinstance(connection, Connection)
    yield connection
    await connection.close()


async def _tables(owner: Connection[Record]) -> list[str]:
    rows = await owner.fetch(
        """
        select oid::regclass::text as name from pg_class
         where relkind = 'r' and relnamespace::regnamespace::text = any($1)
        """,
        ["log", "kept", LIVE],
    )
    return [row["name"] for row in rows]


async def _fill(owner: Connection[Record], history: History) -> None:
    commits = [history.commit(number + 1) for number in range(history.commits)]
    await owner.copy_records_to_table(
        "commit",
        schema_name="log",
        columns=["tenant_id", *COMMIT_COLUMNS, "origin", "root", "digest"],
        records=[(history.tenant_id, *astuple(one)[1:], b"", bytes(32), bytes(32)) for one in commits],
    )
    for statement in _ROWS.strip().split(";\n"):
        arguments = (history.tenant_id, history.since)
        await owner.execute(statement, *arguments[: 1 + ("$2" in statement)])
