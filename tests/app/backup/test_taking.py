"""Taking backups: under way, refused, broken off, and the old ones deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.backup import taking
from app.backup.record import backups_in
from app.backup.restoring import Wanted, restore_home
from app.backup.taking import archive_trouble, keep_newest, take_base
from app.commands import prepare
from app.database import connect_owner
from app.engine.archive import use_archive
from app.engine.launcher import Engine, embedded
from app.engine.locks import FileLock
from app.engine.problems import EngineError
from tests.app.backup.drill import archive_in


async def test_a_backup_beside_the_data_is_refused(engine: Engine, dsn: str) -> None:
    with pytest.raises(EngineError, match=r"lies in the data directory .*, whose loss it is for"):
        await take_base(engine, engine.data_directory.parent / "backups")


async def test_one_at_a_time_in_one_place(engine: Engine, dsn: str, directory: Path) -> None:
    lock = FileLock(directory / "backup.lock")
    assert lock.try_exclusive()
    with pytest.raises(EngineError, match="Another backup is being made"):
        await take_base(engine, directory)
    lock.close()


async def test_one_that_fails_leaves_nothing_and_a_killed_one_is_cleared_away(
    engine: Engine, dsn: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "base.unfinished" / "data").mkdir(parents=True)

    async def failing(*arguments: object, **_: object) -> str:
        (directory / "base.unfinished" / "data").mkdir(parents=True)
        raise EngineError("pg_basebackup failed (status 1): no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(taking, "run_program", failing)
        with pytest.raises(EngineError, match="no space left"):
            await take_base(engine, directory)
    assert os.listdir(directory) == ["backup.lock"]


async def test_a_place_that_cannot_be_made_is_named(engine: Engine, dsn: str, directory: Path) -> None:
    (directory / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be made: Not a directory"):
        await take_base(engine, directory / "file" / "backups")


async def test_keeping_two_deletes_the_oldest_and_the_wal_that_only_it_needs(directory: Path) -> None:
    home, archive, place = directory / "home", archive_in(directory), directory / "backups"
    await use_archive(home, archive)
    async with embedded(home) as engine:
        await prepare(engine.dsn)
        made = [await take_base(engine, place) for _ in range(3)]
        deleted = await keep_newest(place, "base", 2, engine.programs)
    assert [one.directory for one in deleted] == [made[0].directory]
    assert [one.directory for one in backups_in(place)] == [made[1].directory, made[2].directory]
    assert min(name for name in os.listdir(archive) if len(name) == 24) == made[1].note.first_wal
    # What is kept still restores, both to its own end and to the archive's.
    await restore_home(backups_in(place)[0], directory / "again", archive, Wanted(), lambda _: None)


async def test_an_archive_that_takes_no_files_is_told(directory: Path) -> None:
    home, archive = directory / "home", archive_in(directory)
    await use_archive(home, archive)
    async with embedded(home) as engine:
        owner = await connect_owner(engine.dsn)
        assert await archive_trouble(owner) is None
        archive.rename(directory / "unmounted")
        await owner.execute("create table public.filler (n int)")
        await owner.fetchval("select pg_switch_wal()")
        while (trouble := await archive_trouble(owner)) is None:
            pass
        assert "the WAL archive takes no files since 20" in trouble
        assert "1 wait in the data directory" in trouble
        (directory / "unmounted").rename(archive)
        await owner.fetchval("select pg_stat_reset_shared('archiver')")
        await owner.close()
