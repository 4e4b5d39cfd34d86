"""Verifying: every tenant's log from its first commit, recomputed from the rows that are stored."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from app.audit.archive.places import unexplained
from app.audit.archive.retired_months import retired_months
from app.audit.chain_walk import Walk
from app.audit.contents import Misfit, first_misfit
from app.audit.crew import Crew
from app.audit.findings import SHOWN_MAX, Finding, Rule, Verdict, shown
from app.audit.heads import SignedHead
from app.audit.place import SQL, Place
from app.audit.publishing import verdict
from app.audit.tables import Tables, compare, fact_counts, key_sums, retraction_counts, usage_sums
from domain.chain import Commit
from projections.log_source import CommitKind

SPAN_EVENTS = 50_000
"""Events of one job: a fraction of a second, so that the crew is busy to the end and a progress bar moves."""

SPAN_COMMITS = 2_000
"""Commits of one job, where they are small: each is looked up by itself."""

AHEAD = 3
"""Jobs for each process that wait or are worked on: the walk is far faster, and what it has read is held till then."""

Report = Callable[[int], None]
"""Called with the number of events that were compared since the last call."""


async def check_span(place: Place, tenant_id: str, commits: Sequence[Commit]) -> Misfit | None:
    """A job: the first of these commits whose rows do not give its root."""
    return await first_misfit(place.source, tenant_id, await place.with_rows(tenant_id, commits))


async def verify(
    place: Place, crew: Crew, heads: Mapping[str, Sequence[SignedHead]], report: Report, tenant_id: str | None = None
) -> list[Verdict]:
    """The verdict on every tenant, or on one, in the order of their ids. ``heads`` are those published, by tenant.

    Reads one moment of the database. Memory does not grow with the log.
    """
    # First, for they are the longest jobs.
    summing = asyncio.create_task(_tables(crew, tenant_id))
    try:
        tenants = {*await place.source.tenants(), *heads} if tenant_id is None else {tenant_id}
        walked = {
            tenant: await walk_tenant(place, crew, tenant, heads.get(tenant, ()), report) for tenant in sorted(tenants)
        }
        tables = await summing
    finally:
        summing.cancel()
    if tenant_id is None:
        for tenant in sorted(tables.tenants() - tenants):
            walked[tenant] = await walk_tenant(place, crew, tenant, (), report)
    return [
        verdict(tenant, walk, [*findings, *await _compared(place, tenant, tables, walk, bool(findings))])
        for tenant, (walk, findings) in sorted(walked.items())
    ]


async def _tables(crew: Crew, tenant_id: str | None) -> Tables:
    seed = secrets.randbits(63)
    usage, keys, facts, retractions = await asyncio.gather(
        crew.do(usage_sums, tenant_id, seed),
        crew.do(key_sums, tenant_id, seed),
        crew.do(fact_counts, tenant_id),
        crew.do(retraction_counts, tenant_id),
    )
    return Tables(usage, keys, facts, retractions)


async def _compared(place: Place, tenant_id: str, tables: Tables, walk: Walk, broken: bool) -> list[Finding]:
    named = Counter(await _named(place, tenant_id) if broken else walk.events)
    spans = [span for span in await retired_months(place.database) if span.tenant_id == tenant_id]
    named.subtract({CommitKind.usage: sum(span.events for span in spans)})
    return [*await compare(place, tenant_id, tables, named), *await unexplained(place.database, tenant_id)]


async def _named(place: Place, tenant_id: str) -> Mapping[str, int]:
    """How many events the commits name, of a walk that did not come to the end."""
    counts = dict[str, int]()
    async for page in place.source.commits(tenant_id):
        for held in page:
            commit = held.commit
            counts[commit.kind] = counts.get(commit.kind, 0) + commit.last_position - commit.first_position + 1
    return counts


async def walk_tenant(
    place: Place, crew: Crew, tenant_id: str, heads: Sequence[SignedHead], report: Report
) -> tuple[Walk, list[Finding]]:
    """Walk one tenant's commits while the crew compares their rows; the first finding, if there is one."""
    walk, spans = Walk(heads), _Spans(crew, tenant_id, report)
    finding: Finding | None = None
    try:
        async for page in place.source.commits(tenant_id):
            for held in page:
                finding = walk.follow(held.commit)
                if finding is not None:
                    break
                await spans.add(held.commit)
            if finding is not None or spans.misfit is not None:
                break
        await spans.finish()
    finally:
        spans.stop()
    misfit = spans.misfit
    if misfit is not None and (finding is None or misfit.commit.first_position < finding.first_position):
        finding = await _told(place, tenant_id, misfit)
    if finding is None:
        finding = walk.end(await place.source.head(tenant_id))
    return walk, [finding] if finding is not None else []


class _Spans:
    """Gives the commits of a walk to the crew, some at a time, and takes the answers in their order."""

    def __init__(self, crew: Crew, tenant_id: str, report: Report) -> None:
        self.misfit: Misfit | None = None
        self._crew = crew
        self._tenant_id = tenant_id
        self._report = report
        self._commits: list[Commit] = []
        self._events = 0
        self._at_work: deque[tuple[int, asyncio.Task[Misfit | None]]] = deque()

    async def add(self, commit: Commit) -> None:
        self._commits.append(commit)
        self._events += commit.last_position - commit.first_position + 1
        if self._events >= SPAN_EVENTS or len(self._commits) >= SPAN_COMMITS:
            self._hand_out()
            while len(self._at_work) >= AHEAD * self._crew.processes and self.misfit is None:
                await self._take()

    async def finish(self) -> None:
        """Wait for what is at work, until there is a misfit."""
        if self._commits:
            self._hand_out()
        while self._at_work and self.misfit is None:
            await self._take()

    def stop(self) -> None:
        """Give up what is still at work."""
        for _, task in self._at_work:
            task.cancel()

    def _hand_out(self) -> None:
        job = self._crew.do(check_span, self._tenant_id, self._commits)
        self._at_work.append((self._events, asyncio.create_task(job)))
        self._commits, self._events = [], 0

    async def _take(self) -> None:
        events, task = self._at_work.popleft()
        self.misfit = await task
        self._report(events)


async def _told(place: Place, tenant_id: str, misfit: Misfit) -> Finding:
    """A misfit as a finding, with what the keys say of the rows that differ."""
    commit = misfit.commit
    events = commit.last_position - commit.first_position + 1
    expected, found = f"root {commit.root.hex()}", None
    rows = shown([f"position {position:,} is empty" for position in misfit.missing], len(misfit.missing))
    if misfit.unreadable is not None:
        message, found = "a row of the commit is none that an append can have written", misfit.unreadable
    elif misfit.missing:
        message = f"{len(misfit.missing):,} of the commit's {events:,} events are gone"
        expected, found = f"{events:,} rows", f"{events - len(misfit.missing):,} rows"
    elif misfit.root is None:
        message = "the rows of the commit do not stand in its order, each at one position"
    else:
        which = "its event was" if events == 1 else f"one or more of its {events:,} events were"
        message = f"the commit does not hold what was recorded: {which} changed, or its root was"
        found = f"root {misfit.root.hex()}"
    return Finding(
        rule=Rule.events,
        message=message,
        first_position=commit.first_position,
        last_position=commit.last_position,
        expected=expected,
        found=found,
        rows=[*rows, *await _by_keys(place, tenant_id, commit)],
    )


async def _by_keys(place: Place, tenant_id: str, commit: Commit) -> list[str]:
    """Which ids stand elsewhere than their keys say, of a usage commit."""
    if commit.kind != CommitKind.usage:
        return []
    async for page in place.source.commits(tenant_id, commit.first_position - 1, commit.last_position):
        for held in page:
            rows = await place.database.fetch(SQL["keys_of_batch"], tenant_id, held.batch, SHOWN_MAX)
            return [
                f"position {commit.first_position + row['ordinal']:,} should hold event '{row['event_id']}'"
                + (f" and holds '{row['stored']}'" if row["stored"] is not None else ", whose row is gone")
                for row in rows
            ]
    return []
