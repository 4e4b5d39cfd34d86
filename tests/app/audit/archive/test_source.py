"""An archive as a source for audits: it says what the database says, and nothing but what its files say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.audit.archive import writing
from app.audit.archive.reading import Archive
from app.audit.archive.source import ArchiveSource
from app.audit.archive.streaming import owner_of
from projections.log_reader import END
from projections.log_source import CommitKind, DatabaseSource, LogSource, Unreadable
from tests.app.audit.archive.conftest import Kept
from tests.app.audit.archive.history import exported
from tests.app.audit.archive.test_reading import changed, note_again, path_of, rewrite


async def events_of(
    source: LogSource, tenant_id: str, kind: CommitKind, after: int = 0, up_to: int = END
) -> list[tuple[int, bytes]]:
    """Positions with canonical bytes."""
    return [
        pair
        async for page in source.events(tenant_id, kind, after, up_to)
        for pair in zip(page.positions, page.contents, strict=True)
    ]


@pytest.fixture
async def database(kept: Kept) -> AsyncIterator[DatabaseSource]:
    async with owner_of(kept.dsn) as owner:
        yield DatabaseSource(owner)  # type: ignore[arg-type]


async def test_it_says_what_the_database_says(kept: Kept, database: DatabaseSource) -> None:
    source, tenant_id = ArchiveSource(Archive(kept.archive.directory)), kept.shop.tenant_id
    assert await source.tenants() == await database.tenants() == [tenant_id]
    assert await source.head(tenant_id) == await database.head(tenant_id)
    assert (await source.head("nobody")).position == 0
    commits = [one async for page in source.commits(tenant_id) for one in page]
    assert commits == [one async for page in database.commits(tenant_id) for one in page]
    for kind in CommitKind:
        assert await events_of(source, tenant_id, kind) == await events_of(database, tenant_id, kind) != []
    middle, late = commits[len(commits) // 3].commit.last_position, commits[-3].commit.last_position
    inside = [one async for page in source.commits(tenant_id, middle, late) for one in page]
    assert inside == [one for one in commits if middle < one.commit.last_position <= late]
    for kind in CommitKind:
        span = await events_of(source, tenant_id, kind, middle, late)
        assert span == await events_of(database, tenant_id, kind, middle, late)


async def test_a_log_of_many_files_and_groups_is_the_same(
    kept: Kept, database: DatabaseSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "GROUP_ROWS", 3)
    monkeypatch.setattr(writing, "FILE_ROWS_MAX", 10)
    monkeypatch.setattr("app.audit.archive.streaming.ROWS_AHEAD", 4)
    made = await exported(kept.dsn, tmp_path / "out")
    source, tenant_id = ArchiveSource(Archive(made.directory)), kept.shop.tenant_id
    assert len(source.archive.paths(tenant_id, writing.Table("usage_events", ()))) > 3
    everything = await events_of(source, tenant_id, CommitKind.usage)
    assert everything == await events_of(database, tenant_id, CommitKind.usage)
    position = everything[20][0]
    assert await events_of(source, tenant_id, CommitKind.usage, position - 1, position) == [everything[20]]


async def test_it_says_what_the_files_say(kept: Kept, copied: Path) -> None:
    """Whether that is right is for an audit to find."""
    rewrite(copied, "usage_events", changed("metadata", '{"n": 1000}'))
    source, tenant_id = ArchiveSource(Archive(copied)), kept.shop.tenant_id
    honest = ArchiveSource(Archive(kept.archive.directory))
    told, known = [await events_of(one, tenant_id, CommitKind.usage) for one in (source, honest)]
    assert len([one for one in zip(told, known, strict=True) if one[0] != one[1]]) == 1


async def test_what_cannot_be_read_is_said(kept: Kept, copied: Path) -> None:
    for table in ("usage_events", "commits"):
        path_of(copied, table).write_bytes(b"PAR1 or not")
    note_again(copied)
    source = ArchiveSource(Archive(copied))
    with pytest.raises(Unreadable, match="cannot be read"):
        await events_of(source, kept.shop.tenant_id, CommitKind.usage)
    with pytest.raises(Unreadable, match="cannot be read"):
        assert [page async for page in source.commits(kept.shop.tenant_id)]
