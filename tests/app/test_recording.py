"""Many requests at once: one commit for those that wait, and to each its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from app import ingesting, recording
from app.database import connect_owner
from app.event_log import Receipt
from app.ingest.decode import Decoded
from app.ingest.problem import EventProblem, RejectedEvent
from app.ingesting import Posted, Recorded, Refused
from app.projecting import Doorbell
from app.recording import COMMITS_AT_ONCE, LineFull, Recorder
from app.service import Caller, Service
from domain.event import UsageEvent
from projections.log_reader import commits_after, head
from tests.app.log_rows import MANY, rejected_of, stored, until_waiting, use


def posted(*events: UsageEvent, skip_invalid: bool = False, bad: str | None = None) -> Posted:
    """A request with these events; ``bad`` is the id of one more that breaks a rule."""
    problems = (EventProblem(len(events), bad, "metadata", "INVALID_TYPE", "metadata must be an object"),)
    rejected = [] if bad is None else [RejectedEvent(len(events), bad, '{"event_id":"bad"}', problems)]
    return Posted(Decoded(list(enumerate(events)), rejected), skip_invalid)


@pytest.fixture
def recorder(service: Service) -> Recorder:
    return Recorder(service, Doorbell(service))


@asynccontextmanager
async def held_head(dsn: str, tenant_id: str) -> AsyncIterator[Any]:
    """Nothing of the tenant can be sealed while the block runs; the connection that holds it."""
    owner = await connect_owner(dsn)
    try:
        async with owner.transaction():
            await owner.execute("select log.lock_head($1)", tenant_id)
            yield owner
    finally:
        await owner.close()


async def together(
    recorder: Recorder, dsn: str, tenant_id: str, requests: Sequence[Posted]
) -> list[Recorded | BaseException]:
    """Let requests arrive while as many commits as may run wait for the head; their outcomes once it is free."""
    async with held_head(dsn, tenant_id):
        first = await begun(recorder, tenant_id)
        rest = [asyncio.create_task(recorder.record(tenant_id, one)) for one in requests]
        await asyncio.sleep(0)
    await asyncio.gather(*first)
    return await asyncio.gather(*rest, return_exceptions=True)


async def begun(recorder: Recorder, tenant_id: str) -> list[asyncio.Task[Recorded]]:
    """As many requests as are recorded at once, each taken into a commit of its own."""
    tasks: list[asyncio.Task[Recorded]] = []
    for number in range(COMMITS_AT_ONCE):
        tasks.append(asyncio.create_task(recorder.record(tenant_id, posted(use(f"first{number}")))))
        # The caller stands in line, then the line is taken from.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return tasks


async def commits_of(service: Service, tenant_id: str) -> list[int]:
    """How many usage events each commit holds."""
    return [
        one.commit.last_position - one.commit.first_position + 1
        for one in await commits_after(service.pool, tenant_id, 0, limit=MANY)
        if one.commit.kind == "usage"
    ]


async def recorded_ids(service: Service, tenant_id: str) -> dict[str, int]:
    """The ids that were recorded beside those of ``begun``, in the log's order, and their positions."""
    rows = await stored(service, tenant_id)
    return {row["event_id"]: position for position, row in rows if not row["event_id"].startswith("first")}


async def test_a_request_alone_is_recorded_at_once(recorder: Recorder, service: Service, caller: Caller) -> None:
    before = (await head(service.pool, caller.tenant_id)).position
    receipt, problems = await recorder.record(caller.tenant_id, posted(use("a"), use("b")))
    assert (receipt, problems) == (Receipt(2, 0, [], before + 2), [])
    assert await commits_of(service, caller.tenant_id) == [2]


async def test_requests_that_wait_share_a_commit(
    recorder: Recorder, service: Service, caller: Caller, dsn: str
) -> None:
    requests = [posted(use(f"a{n}"), use(f"b{n}")) for n in range(30)]
    outcomes = await together(recorder, dsn, caller.tenant_id, requests)
    assert sorted(await commits_of(service, caller.tenant_id)) == [1] * COMMITS_AT_ONCE + [60]
    recorded = await recorded_ids(service, caller.tenant_id)
    assert list(recorded) == [event_id for n in range(30) for event_id in (f"a{n}", f"b{n}")]
    assert outcomes == [Recorded(Receipt(2, 0, [], recorded["b29"]), [])] * 30


async def test_each_is_told_what_became_of_its_own_events(
    recorder: Recorder, service: Service, caller: Caller, dsn: str
) -> None:
    await recorder.record(caller.tenant_id, posted(use("old")))
    outcomes = await together(
        recorder,
        dsn,
        caller.tenant_id,
        [
            posted(use("a"), use("old")),
            posted(use("a"), use("a", customer_id="bob"), use("b")),
            posted(use("old", metadata="")),
            posted(use("c"), bad="worse"),
            posted(use("c"), bad="bad", skip_invalid=True),
            posted(use("d", timestamp=None)),
        ],
    )
    recorded = await recorded_ids(service, caller.tenant_id)
    end = recorded["d"]
    refused = outcomes[3]
    assert isinstance(refused, Refused)
    assert [problem.event_id for problem in refused.problems] == ["worse"]
    receipts = [one.receipt for one in outcomes if isinstance(one, Recorded)]
    assert receipts == [
        Receipt(1, 1, [], end),
        Receipt(1, 1, ["a"], end),
        Receipt(0, 0, ["old"], end),
        Receipt(1, 0, [], end),
        Receipt(1, 0, [], end),
    ]
    # Nothing of the refused request is there: "c" came with the one that skips what is bad.
    assert list(recorded) == ["old", "a", "b", "c", "d"]
    kept = [(row["event_id"], row["reason"]) for row in await rejected_of(service, caller.tenant_id)]
    assert kept == [("bad", "invalid"), ("a", "conflict"), ("old", "conflict")]


async def test_a_commit_takes_no_more_than_readers_look_for(
    recorder: Recorder, service: Service, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "COMMIT_EVENTS_MAX", 10)
    requests = [posted(*(use(f"{n}-{k}") for k in range(size))) for n, size in enumerate([4, 4, 4, 10, 1])]
    await together(recorder, dsn, caller.tenant_id, requests)
    assert sorted(await commits_of(service, caller.tenant_id)) == sorted([1] * COMMITS_AT_ONCE + [8, 4, 10, 1])


async def test_tenants_do_not_wait_for_each_other(
    recorder: Recorder, service: Service, caller: Caller, dsn: str
) -> None:
    async with held_head(dsn, caller.tenant_id):
        stuck = [asyncio.create_task(recorder.record(caller.tenant_id, posted(use(f"a{n}")))) for n in range(20)]
        async with asyncio.timeout(10):
            await recorder.record(f"{caller.tenant_id}-other", posted(use("a")))
        assert not any(task.done() for task in stuck)
    await asyncio.gather(*stuck)


async def test_what_is_wrong_with_one_request_does_not_hit_the_others(
    recorder: Recorder, service: Service, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours that some event brings out: the others that wait with it are recorded."""
    append = ingesting.append_usage

    async def failing(database: Any, tenant_id: str, requests: Sequence[Any], now: Any) -> list[Receipt]:
        if any(event.event_id == "poison" for sent in requests for event in sent.events):
            raise asyncpg.DataError("no such value")
        return await append(database, tenant_id, requests, now)

    monkeypatch.setattr(ingesting, "append_usage", failing)
    requests = [posted(use("a")), posted(use("poison")), posted(use("b"))]
    good, bad, also_good = await together(recorder, dsn, caller.tenant_id, requests)
    assert isinstance(bad, asyncpg.DataError)
    assert isinstance(good, Recorded)
    assert isinstance(also_good, Recorded)
    ids = {row["event_id"] for _, row in await stored(service, caller.tenant_id)}
    assert {"a", "b"} < ids
    assert "poison" not in ids


async def test_a_lost_database_is_told_to_all_that_wait_and_asked_once(
    recorder: Recorder, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def lost(database: Any, tenant_id: str, requests: Sequence[Any], now: Any) -> list[Receipt]:
        asked.append(len(requests))
        raise ConnectionResetError("gone")

    async with held_head(dsn, caller.tenant_id) as owner:
        first = await begun(recorder, caller.tenant_id)
        rest = [asyncio.create_task(recorder.record(caller.tenant_id, posted(use(f"a{n}")))) for n in range(5)]
        await until_waiting(owner, COMMITS_AT_ONCE)
        monkeypatch.setattr(ingesting, "append_usage", lost)
    await asyncio.gather(*first)
    outcomes = await asyncio.gather(*rest, return_exceptions=True)
    assert all(isinstance(outcome, ConnectionResetError) for outcome in outcomes)
    assert asked == [5]


async def test_a_caller_that_goes_away_leaves_its_events_in_the_line(
    recorder: Recorder, service: Service, caller: Caller, dsn: str
) -> None:
    async with held_head(dsn, caller.tenant_id):
        tasks = [asyncio.create_task(recorder.record(caller.tenant_id, posted(use(f"a{n}")))) for n in range(6)]
        await asyncio.sleep(0)
        for gone in (tasks[0], tasks[5]):
            gone.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True, *[False] * 4, True]
    await recorder.record(caller.tenant_id, posted(use("last")))
    ids = {row["event_id"] for _, row in await stored(service, caller.tenant_id)}
    assert ids == {*(f"a{n}" for n in range(6)), "last"}


async def test_more_than_may_wait_is_sent_back(
    recorder: Recorder, service: Service, caller: Caller, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "WAITING_EVENTS_MAX", 5)
    async with held_head(dsn, caller.tenant_id):
        waiting = [
            asyncio.create_task(recorder.record(caller.tenant_id, posted(use(f"{n}a"), use(f"{n}b")))) for n in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(LineFull, match="4 events wait"):
            await recorder.record(caller.tenant_id, posted(use("c"), use("d")))
    await asyncio.gather(*waiting)
    # It comes back to normal, and what is larger than the bound is recorded where nothing waits.
    receipt, _ = await recorder.record(caller.tenant_id, posted(*(use(f"e{n}") for n in range(8))))
    assert receipt.ingested_count == 8
