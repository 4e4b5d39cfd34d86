"""Reading a log for an audit: every kind of event as its canonical bytes, in order, and no row without a position."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import asyncpg
import pytest
from asyncpg import Connection, Record

from app.database import connect_owner
from app.event_log import append_retraction
from app.identity import new_batch
from app.keys import create_key
from app.service import Caller, Service
from domain import chain
from projections import log_source
from projections.log_reader import END, commits_after
from projections.log_source import CommitKind, DatabaseSource, Unreadable
from tests.app.log_rows import MANY, copy_rows, record_usage, use


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await connect_owner(dsn)
    yield connection
    await connection.close()


async def read(
    source: DatabaseSource, tenant_id: str, kind: CommitKind, after: int = 0, up_to: int = END
) -> dict[int, bytes]:
    """The canonical bytes by position; positions have to rise."""
    found: dict[int, bytes] = {}
    async for page in source.events(tenant_id, kind, after, up_to):
        for position, content in zip(page.positions, page.contents, strict=True):
            assert position > max(found, default=0)
            found[position] = content
    return found


async def test_every_kind_of_event_gives_the_root_of_its_commit(
    service: Service, caller: Caller, owner: Connection[Record]
) -> None:
    tenant_id, now = caller.tenant_id, service.clock()
    old = use("ünder", customer_id="añe", timestamp=datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC), metadata="")
    await record_usage(owner, tenant_id, [use("a"), old, use("b", metadata='{"x": "\u2603"}')], now)
    await create_key(service, caller, scope="read")
    async with owner.transaction():
        await append_retraction(owner, tenant_id, ["b", "a"], "wröng", now, b"{}")
    source = DatabaseSource(owner)
    read_all = {kind: await read(source, tenant_id, kind) for kind in CommitKind}
    commits = [held async for page in source.commits(tenant_id) for held in page]
    assert {held.commit.kind for held in commits} == set(CommitKind)
    for held in commits:
        commit = held.commit
        span = range(commit.first_position, commit.last_position + 1)
        contents = [read_all[CommitKind(commit.kind)][position] for position in span]
        assert chain.root_of(contents) == commit.root
        assert await read(source, tenant_id, CommitKind(commit.kind), span.start - 1, span.stop - 1) == dict(
            zip(span, contents, strict=True)
        )
    assert sum(map(len, read_all.values())) == (await source.head(tenant_id)).position


async def test_commits_come_in_pages(
    service: Service, owner: Connection[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_source, "COMMITS_PAGE", 2)
    tenant_id = f"t{new_batch().hex[:12]}"
    for number in range(5):
        await record_usage(owner, tenant_id, [use(f"{number}a"), use(f"{number}b")], service.clock())
    pages = [page async for page in DatabaseSource(owner).commits(tenant_id)]
    assert [[held.commit.last_position for held in page] for page in pages] == [[2, 4], [6, 8], [10]]
    assert [held for page in pages for held in page] == await commits_after(owner, tenant_id, 0, limit=MANY)
    some = [page async for page in DatabaseSource(owner).commits(tenant_id, after=2, up_to=6)]
    assert [[held.commit.last_position for held in page] for page in some] == [[4, 6]]
    assert tenant_id in await DatabaseSource(owner).tenants()


async def test_rows_without_a_position_are_no_events(service: Service, owner: Connection[Record]) -> None:
    tenant_id = f"t{new_batch().hex[:12]}"
    await record_usage(owner, tenant_id, [use("a"), use("b")], service.clock())
    (held,) = await commits_after(owner, tenant_id, 0, limit=MANY)
    await copy_rows(owner, tenant_id, held.batch, [2, 3])
    await copy_rows(owner, tenant_id, new_batch(), [0])
    assert list(await read(DatabaseSource(owner), tenant_id, CommitKind.usage)) == [1, 2]


async def test_who_leaves_early_can_go_on_with_the_connection(service: Service, owner: Connection[Record]) -> None:
    tenant_id = f"t{new_batch().hex[:12]}"
    many = [use(f"e{number}", metadata=f'{{"x": "{"y" * 400}"}}') for number in range(5_000)]
    await record_usage(owner, tenant_id, many, service.clock())
    async with owner.transaction():
        for _ in range(20):
            async with aclosing(DatabaseSource(owner).events(tenant_id, CommitKind.usage, 0, END)) as pages:
                first = await anext(pages)
            assert 0 < len(first.positions) < len(many)
            assert await owner.fetchval("select count(*) from log.usage_event where tenant_id = $1", tenant_id) == 5_000
        assert len(await read(DatabaseSource(owner), tenant_id, CommitKind.usage)) == len(many)


@pytest.fixture
async def forgetful(owner: Connection[Record]) -> AsyncIterator[Connection[Record]]:
    """The owner in a transaction that is taken back in the end: whatever is done to the tables is not done."""
    transaction = owner.transaction()
    await transaction.start()
    yield owner
    await transaction.rollback()


async def test_a_question_that_the_database_cannot_answer_is_an_error(forgetful: Connection[Record]) -> None:
    await forgetful.execute("alter table log.retraction rename column reason to because")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await read(DatabaseSource(forgetful), "acme", CommitKind.retraction)


@pytest.mark.parametrize(
    "change", ["metadata = null", "customer_id = null", "timestamp = '294270-01-01 00:00Z'", "timestamp = 'infinity'"]
)
async def test_a_row_that_no_append_can_have_written_is_told(
    service: Service, forgetful: Connection[Record], change: str
) -> None:
    tenant_id = f"t{new_batch().hex[:12]}"
    await record_usage(forgetful, tenant_id, [use("a"), use("b"), use("c")], service.clock())
    await forgetful.execute(
        "alter table log.usage_event alter metadata drop not null, alter customer_id drop not null,"
        " disable trigger immutable"
    )
    await forgetful.execute(
        f"update log.usage_event set {change} where tenant_id = $1 and event_id = 'b'",
        tenant_id,
    )
    with pytest.raises(Unreadable):
        await read(DatabaseSource(forgetful), tenant_id, CommitKind.usage)
