"""All read models anew from the log, beside the ones in use: compared with them, and put in their place.

One engine for whoever needs them: `taximeter rebuild`, a start that finds another shape, and `taximeter audit replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from domain.aggregate import Root
from projections import catalog
from projections.comparing import Difference, compare_tenant
from projections.database import Database
from projections.fault_points import FaultPoint, reach
from projections.log_reader import fold, placed_facts_of, streams_changed
from projections.mapper import AGGREGATES
from projections.quantities import catch_up, projected_position
from projections.shape import LIVE, NEXT, SQL, Standing, being_built, create_schema, drop_schema, put_in_place, standing

STREAMS_PAGE = 5_000
"""Streams whose names are read at once: less than a megabyte. Their events are read one stream after another."""

Report = Callable[[str, int, int], None]
"""Called with tenant, position reached and position to reach, before the first step and after each."""


async def rebuild(database: Database, report: Report, *, swap: bool = True, resume: bool = False) -> list[Difference]:
    """Build every read model from the log, compare with the live ones, and put the new ones in their place.

    ``database`` is a connection of the owner. The service goes on meanwhile. With ``resume`` it goes on with what a
    rebuild that died or ``build_beside`` has built. Live read models of another shape are not compared. Raises
    ``LockNotAvailableError`` when a command holds its head for too long: then nothing was swapped.
    """
    shadow = Shadow(database, NEXT, report)
    try:
        await shadow.build(resume=resume)
        differences = await shadow.compare()
        if swap:
            await shadow.put_in_place()
    finally:
        await shadow.leave()
    return differences


async def build_beside(database: Database, report: Report) -> None:
    """Build the read models of this program beside those in use, up to now or nearly, and leave them there.

    A later ``rebuild`` that resumes has only to take in what was recorded since.
    """
    shadow = Shadow(database, NEXT, report)
    await shadow.build(resume=True)
    await shadow.leave()


class Shadow:
    """Read models in a schema of their own, made from the log. Nobody is told of them, and nothing but rows is made.

    ``tenants`` are those that are built and compared; all, when it is not given.
    """

    def __init__(self, database: Database, schema: str, report: Report, tenants: Collection[str] | None = None) -> None:
        self._database = database
        self._schema = schema
        self._report = report
        self._tenants = None if tenants is None else list(tenants)

    async def build(self, *, resume: bool) -> bool:
        """Build up to now or nearly; with ``resume`` on top of what was built before, if that can be used.

        Whether it went on with something. The schema becomes the search path of the connection until ``leave``.
        """
        database = self._database
        goes_on = resume and await being_built(database, self._schema) and not await self._is_ahead()
        if not goes_on:
            await create_schema(database, self._schema)
            await reach(FaultPoint.rebuild_created)
        await database.execute(f"set search_path = {self._schema}")
        # What a crash takes of rows that are derived is derived again; the swap itself is flushed.
        await database.execute("set synchronous_commit = off")
        # The second round takes in what was recorded during the first, which may have taken long, and leaves the last
        # step what was recorded during the second.
        for _ in range(2):
            await self._follow(await self._counted_live())
            await reach(FaultPoint.rebuild_followed)
        return goes_on

    async def compare(self, shown: int = 0) -> list[Difference]:
        """Where the live read models and these differ, with the first ``shown`` rows of each table and tenant.

        One snapshot of the database, in which the live ones stand at some position, the catalogue at the log's end and
        the quantities maybe behind; these are brought to the same. So nobody has to wait, however long it takes.
        """
        found: list[Difference] = []
        async with self._database.transaction(isolation="repeatable_read"):
            counted = await self._counted_live()
            if counted is None:
                return found
            for tenant_id, position in await self._heads():
                await self._record_streams(tenant_id, position)
                if tenant_id in counted:
                    await catch_up(self._database, tenant_id, counted[tenant_id], silent=True)
                found += await compare_tenant(self._database, tenant_id, LIVE, self._schema, shown)
        await reach(FaultPoint.rebuild_compared)
        return found

    async def put_in_place(self) -> None:
        """Use these read models instead of the live ones.

        Only this locks all heads, those of tenants to come too: every append waits while it takes in what was recorded
        a moment ago, and swaps. Reads go on.
        """
        database = self._database
        await self._follow(None)
        async with database.transaction():
            await database.execute("set local synchronous_commit = on")
            await database.execute(SQL["lock_heads"])
            for tenant_id, position in await self._heads():
                await self._record_streams(tenant_id, position)
                await catch_up(database, tenant_id, position, silent=True)
                self._report(tenant_id, position, position)
            if await standing(database) is Standing.FITS:
                # No event says how far the alerts have been looked at, and a look from the beginning costs time.
                await database.execute(SQL["keep_looked"].format(schema=LIVE))
            await put_in_place(database, self._schema)
            await reach(FaultPoint.rebuild_swapped)

    async def drop(self) -> None:
        """Drop these read models, when they have been compared and are not to be used."""
        await drop_schema(self._database, self._schema)

    async def leave(self) -> None:
        """Give the connection back as it was."""
        await self._database.execute(f"set search_path = {LIVE}")
        await self._database.execute("set synchronous_commit = on")

    async def _counted_live(self) -> Mapping[str, int] | None:
        """How far the live quantities of each tenant are: no farther may these be that are compared with them.

        ``None`` when the live ones have another shape, so that there is nothing to compare.
        """
        if await standing(self._database) is not Standing.FITS:
            return None
        rows = await self._database.fetch(SQL["projected"].format(schema=LIVE))
        return {row["tenant_id"]: row["position"] for row in rows}

    async def _is_ahead(self) -> bool:
        """Whether what was built before knows more than the live ones: they are younger then, and not comparable."""
        counted = await self._counted_live()
        rows = await self._database.fetch(SQL["projected"].format(schema=self._schema))
        return counted is not None and any(row["position"] > counted.get(row["tenant_id"], 0) for row in rows)

    async def _heads(self) -> list[tuple[str, int]]:
        rows = await self._database.fetch(SQL["heads"], self._tenants)
        return [(row["tenant_id"], row["position"]) for row in rows]

    async def _follow(self, counted: Mapping[str, int] | None) -> None:
        """Build up to where each tenant's log stands now; quantities only as far as they are ``counted``, if that is
        given."""
        for tenant_id, position in await self._heads():
            async with self._database.transaction():
                await self._record_streams(tenant_id, position)
            until = position if counted is None else min(position, counted.get(tenant_id, 0))
            await self._catch_up_in_pages(tenant_id, until)

    async def _catch_up_in_pages(self, tenant_id: str, until: int) -> None:
        position = await projected_position(self._database, tenant_id)
        self._report(tenant_id, position, until)
        while position < until:
            async with self._database.transaction():
                reached = await catch_up(self._database, tenant_id, until, pages=1, silent=True)
            if reached == position:
                break
            position = reached
            self._report(tenant_id, position, until)

    async def _record_streams(self, tenant_id: str, up_to: int) -> None:
        """Write the rows of every aggregate that has events past the catalogue's mark, as of ``up_to``."""
        database = self._database
        marked: int = await database.fetchval(SQL["reached"], tenant_id) or 0
        last, after = marked, marked
        while True:
            page = await streams_changed(database, tenant_id, marked, after=after, up_to=up_to, limit=STREAMS_PAGE)
            for stream, _ in page:
                placed = await placed_facts_of(database, tenant_id, stream, up_to=up_to)
                found = fold(kind_of(stream), [fact for _, fact in placed])
                assert found is not None
                new = [(position, fact) for position, fact in placed if position > marked]
                await catalog.record(database, tenant_id, [(found, new)])
                last = max(last, new[-1][0])
            if len(page) < STREAMS_PAGE:
                break
            after = page[-1][1]
        # As the commands do: the mark stands at the last domain event, wherever the usage around it goes.
        if last > marked:
            await catalog.mark(database, tenant_id, last)


def kind_of(stream: str) -> type[Root]:
    """The aggregate class that a stream's name begins with. Raises ``ValueError`` for an unknown one."""
    name = stream.partition(":")[0]
    for kind in AGGREGATES:
        if name == kind.TOPIC:
            return kind
    raise ValueError(f"no aggregate is called {name}")
