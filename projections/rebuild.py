"""The schema of the read models: created, and rebuilt from the log beside the one in use."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from importlib import resources
from typing import cast

import msgspec

from domain.aggregate import Fact, Root
from projections import catalog
from projections.database import Database
from projections.log_reader import facts_after, facts_of, fold
from projections.mapper import AGGREGATES
from projections.quantities import catch_up
from projections.statements import load

SQL = load("projections.sql", "rebuild.sql")

LIVE, NEXT = "read", "read_next"
"""The schema in use, and the one being built."""

TABLES = (
    "tenant",
    "meter",
    "product",
    "customer",
    "subscription",
    "invoice",
    "credit_entitlement",
    "credit_account",
    "wallet",
    "alert",
    "alert_firing",
    "quantity",
    "distinct_value",
    "unmeasured_event",
    "late_hour",
    "progress",
)
"""Every read model; a rebuild compares them in this order."""

FACTS_PAGE = 5_000
"""Domain events read at once: some megabytes."""

Report = Callable[[str, int, int], None]
"""Called with tenant, position reached and position to reach, after each step."""


class Difference(msgspec.Struct, frozen=True):
    """Rows of one read model that the log does not give (``extra``), or that are not there (``missing``)."""

    table: str
    missing: int
    extra: int


def schema_text() -> str:
    """The SQL that creates the read models in the schema of the search path."""
    return resources.files("projections.sql").joinpath("tables.sql").read_text(encoding="utf-8")


def schema_digest() -> str:
    """A name for the shape of the read models: another shape needs a rebuild."""
    return sha256(schema_text().encode()).hexdigest()


async def stored_schema_digest(database: Database) -> str | None:
    """The shape that the live read models were made in; ``None`` when there are none."""
    return cast("str | None", await database.fetchval(SQL["schema_digest"]))


async def create_schema(database: Database, name: str) -> None:
    """Make the read models, empty, in schema ``name``; one that stands there is dropped."""
    async with database.transaction():
        await database.execute(SQL["drop_schema"].format(schema=name))
        await database.execute(SQL["create_schema"].format(schema=name, digest=schema_digest()))
        await database.execute(f"set local search_path = {name}")
        await database.execute(schema_text())
        await database.execute(SQL["grant_schema"].format(schema=name))


async def rebuild(database: Database, report: Report, *, swap: bool = True) -> list[Difference]:
    """Build every read model from the log, compare with the live ones, and put the new ones in their place.

    ``database`` is a connection of the owner. The service goes on meanwhile. Only the last step locks all heads, those
    of tenants to come too: every append waits while it takes in what was recorded a moment ago, compares and swaps. The
    comparison reads every row of the read models, old and new, so that is seconds for each million of rows. Reads
    go on. Raises ``LockNotAvailableError`` when a command holds its head for too long: then nothing was swapped.
    """
    await create_schema(database, NEXT)
    await database.execute(f"set search_path = {NEXT}")
    reached: dict[str, int] = {}
    # The second round takes in what was recorded during the first, which may have taken long, and leaves the last step
    # what was recorded during the second.
    for _ in range(2):
        await _follow(database, reached, report)
    async with database.transaction():
        await database.execute(SQL["lock_heads"])
        for row in await database.fetch(SQL["heads"]):
            tenant_id, position = row["tenant_id"], row["position"]
            await _record_streams(database, tenant_id, reached.get(tenant_id, 0), position)
            await catch_up(database, tenant_id, position)
            report(tenant_id, position, position)
        await _keep_looked(database)
        differences = await compare(database)
        if swap:
            await database.execute(SQL["drop_schema"].format(schema=LIVE))
            await database.execute(SQL["rename_schema"])
    await database.execute(f"set search_path = {LIVE}")
    return differences


async def _keep_looked(database: Database) -> None:
    """Take over how far the alerts have been looked at: no event says it, and a look from the beginning costs time."""
    if await stored_schema_digest(database) == schema_digest():
        await database.execute(SQL["keep_looked"])


async def _follow(database: Database, reached: dict[str, int], report: Report) -> None:
    """Build from where each tenant's log was ``reached`` to where it stands now, and note that."""
    for row in await database.fetch(SQL["heads"]):
        tenant_id, position = row["tenant_id"], row["position"]
        before = reached.get(tenant_id, 0)
        async with database.transaction():
            await _record_streams(database, tenant_id, before, position)
        await _catch_up_in_pages(database, tenant_id, before, position, report)
        reached[tenant_id] = position


async def compare(database: Database) -> list[Difference]:
    """The read models where the live rows and the rebuilt ones differ. The caller holds the heads.

    The live quantities may be behind, so they are brought to the same position first. Live read models of another
    shape are not compared.
    """
    found: list[Difference] = []
    if await stored_schema_digest(database) != schema_digest():
        return found
    await database.execute(f"set local search_path = {LIVE}")
    for row in await database.fetch(SQL["heads"]):
        await catch_up(database, row["tenant_id"], row["position"])
    for table in TABLES:
        missing = await database.fetchval(SQL["count_rows_beside"].format(table=table, a=NEXT, b=LIVE))
        extra = await database.fetchval(SQL["count_rows_beside"].format(table=table, a=LIVE, b=NEXT))
        if missing or extra:
            found.append(Difference(table, missing, extra))
    return found


async def _catch_up_in_pages(database: Database, tenant_id: str, after: int, until: int, report: Report) -> None:
    position = after
    while position < until:
        async with database.transaction():
            reached = await catch_up(database, tenant_id, until, pages=1)
        if reached == position:
            break
        position = reached
        report(tenant_id, position, until)


async def _record_streams(database: Database, tenant_id: str, after: int, up_to: int) -> None:
    """Write the rows of every aggregate that has events in ``(after, up_to]``, as of ``up_to``."""
    placed: dict[str, list[tuple[int, Fact]]] = {}
    position = after
    while True:
        page = await facts_after(database, tenant_id, position, up_to=up_to, limit=FACTS_PAGE)
        for place, fact in page:
            placed.setdefault(fact.originator_id, []).append((place, fact))
        if len(page) < FACTS_PAGE:
            break
        position = page[-1][0]
    for stream, events in placed.items():
        kind = kind_of(stream)
        found = fold(kind, await facts_of(database, tenant_id, stream, up_to=up_to))
        assert found is not None
        await catalog.record(database, tenant_id, found, events)
    # As the commands do: the mark stands at the last domain event, wherever the usage around it goes.
    if placed:
        await catalog.mark(database, tenant_id, max(events[-1][0] for events in placed.values()))


def kind_of(stream: str) -> type[Root]:
    """The aggregate class that a stream's name begins with. Raises ``ValueError`` for an unknown one."""
    name = stream.partition(":")[0]
    for kind in AGGREGATES:
        if name == kind.TOPIC:
            return kind
    raise ValueError(f"no aggregate is called {name}")
