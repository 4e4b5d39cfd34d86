"""A lost data directory is restored, to the end and to earlier moments: everything up to there is there, and works."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.backup import restoring
from app.backup.record import Backup, Head
from app.backup.restoring import Place, Wanted, choose, restore_home, restore_url
from app.backup.taking import take_base
from app.commands import open_service, prepare
from app.engine import recovery
from app.engine.archive import archive_of, use_archive
from app.engine.launcher import Engine, embedded
from app.engine.locks import FileLock
from app.engine.problems import EngineError
from app.engine.processes import pid_file
from domain.rating import LineKind
from tests.app.backup.drill import Drill, archive_in, check_whole, opened_again
from tests.app.business import a_shop
from tests.app.shop import APRIL, MARCH
from tests.conftest import RULES, MovingClock

END = Wanted()


def silent(_: str) -> None:
    """Nobody is told how far it is."""


def left_in(home: Path) -> set[str]:
    return {entry.name for entry in home.glob("*")}


async def rescue(wal: Path, archive: Path) -> None:
    """What the page says to run."""
    copying = await asyncio.create_subprocess_shell(f"cp -np {wal}/0* {archive}")
    assert await copying.wait() == 0


async def restored(drill: Drill, home: Path, wanted: Wanted = END) -> list[Head]:
    return await restore_home(choose(drill.directory / "backups", wanted), home, drill.archive, wanted, silent)


async def test_to_the_end_nothing_is_missing_and_the_service_goes_on(drill: Drill, directory: Path) -> None:
    home = directory / "home"
    heads = await restored(drill, home)
    assert Head(drill.tenant_id, drill.head.position, drill.head.digest.hex()) in heads
    async with opened_again(home, drill) as shop, embedded(home) as engine:
        there = await check_whole(shop, engine.dsn)
        assert there.keys() == drill.acknowledged.keys()
        # Closing again gives the invoice that was sent, and its usage is what was acknowledged.
        assert await shop.close(drill.subscription_id, MARCH) == drill.invoice
        calls = next(line for line in drill.invoice.lines if line.kind is LineKind.usage)
        assert int(calls.consumed_units) == len(drill.acknowledged)
        # Life goes on where it was.
        assert await shop.record([(APRIL, "{}")]) > drill.head.position
        await check_whole(shop, engine.dsn)
    assert archive_of(home) is None, "a copy must not write into the archive of what it was copied from"


async def test_to_a_moment_exactly_what_was_acknowledged_by_then_is_there(drill: Drill, directory: Path) -> None:
    home = directory / "home"
    await restored(drill, home, Wanted(until=drill.moment))
    async with opened_again(home, drill) as shop, embedded(home) as engine:
        there = await check_whole(shop, engine.dsn)
        assert drill.by_moment.keys() <= there.keys() < drill.acknowledged.keys()
        # One writer, one request at a time: at most the one that was on its way at that moment came too.
        assert len(there) - len(drill.by_moment) in (0, 20)
        # The cycle that was closed later is open again, and closing it bills what is there.
        document = await shop.close(drill.subscription_id, MARCH)
        calls = next(line for line in document.lines if line.kind is LineKind.usage)
        assert int(calls.consumed_units) == len(there)


async def test_to_a_position_the_log_ends_with_the_commit_that_holds_it(drill: Drill, directory: Path) -> None:
    last = sorted(drill.by_moment.values())[-1]
    wanted = Wanted(place=Place(drill.tenant_id, last - 3))
    heads = await restored(drill, directory / "home", wanted)
    assert {head.tenant_id: head.position for head in heads}[drill.tenant_id] == last
    async with opened_again(directory / "home", drill) as shop, embedded(directory / "home") as engine:
        await check_whole(shop, engine.dsn)


async def test_the_last_minute_is_rescued_from_the_old_disk(directory: Path) -> None:
    """The server is killed before its last file is archived; the file is copied by hand, as the page says."""
    home, archive = directory / "home", archive_in(directory)
    await use_archive(home, archive)
    async with embedded(home) as engine:
        await prepare(engine.dsn)
        backup = await take_base(engine, directory / "backups")
        async with open_service(engine.dsn, RULES) as opened:
            shop = await a_shop(opened.pool, MovingClock())  # type: ignore[arg-type]
            position = await shop.use(shop.service.clock())
        recorded = pid_file(engine.data_directory)
        assert recorded is not None
        os.kill(recorded.pid, signal.SIGKILL)
    for restored_home, found in ((directory / "without", 0), (directory / "with", position)):
        heads = await restore_home(backup, restored_home, archive, END, silent)
        assert {head.tenant_id: head.position for head in heads}.get(shop.tenant_id, 0) == found
        await rescue(engine.data_directory / "pg_wal", archive)


async def test_without_an_archive_a_backup_restores_to_its_own_moment(drill: Drill, directory: Path) -> None:
    home = directory / "home"
    heads = await restore_home(drill.backup, home, None, END, silent)
    position = {head.tenant_id: head.position for head in heads}[drill.tenant_id]
    assert drill.backup.position(drill.tenant_id) <= position < drill.head.position
    async with opened_again(home, drill) as shop, embedded(home) as engine:
        await check_whole(shop, engine.dsn)


async def test_a_restore_never_writes_over_a_database(drill: Drill, directory: Path) -> None:
    home = directory / "home"
    (home / "pg18").mkdir(parents=True)
    (home / "pg18" / "precious").write_text("data")
    with pytest.raises(EngineError, match=r"holds a database already \(pg18\), and a restore never writes over one"):
        await restored(drill, home)
    assert [entry.name for entry in home.iterdir()] in (["pg18", "start.lock"], ["start.lock", "pg18"])
    assert (home / "pg18" / "precious").read_text() == "data"


async def test_a_database_by_url_that_is_in_use_is_left_alone(engine: Engine, dsn: str, drill: Drill) -> None:
    with pytest.raises(EngineError, match="which only --data can take"):
        await restore_url(drill.backup, dsn, silent)


async def test_a_home_that_somebody_uses_is_not_restored_into(drill: Drill, directory: Path) -> None:
    home = directory / "home"
    home.mkdir()
    lock = FileLock(home / "start.lock")
    assert lock.try_exclusive()
    with pytest.raises(EngineError, match=r"uses .* just now"):
        await restored(drill, home)
    lock.close()


async def test_a_damaged_backup_is_noticed_before_anything_is_made(drill: Drill, directory: Path) -> None:
    copy = directory / "copy"
    shutil.copytree(drill.backup.directory, copy)
    victim = copy / "data" / "global" / "pg_control"
    content = bytearray(victim.read_bytes())
    content[100] ^= 1
    victim.write_bytes(content)
    with pytest.raises(EngineError, match=r"pg_verifybackup failed .*pg_control"):
        await restore_home(Backup(copy, drill.backup.note), directory / "home", drill.archive, END, silent)
    assert [entry.name for entry in (directory / "home").iterdir()] == ["start.lock"]


@pytest.mark.parametrize(
    ("until", "message"),
    [
        (datetime(2040, 1, 1, tzinfo=UTC), "ends before the moment that was asked for: its last commit is of 20"),
        (datetime(2020, 1, 1, tzinfo=UTC), "No backup in .* was finished before 2020-01-01T00:00:00"),
    ],
)
async def test_a_moment_that_cannot_be_restored_is_refused(
    drill: Drill, directory: Path, until: datetime, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        await restored(drill, directory / "home", Wanted(until=until))
    assert left_in(directory / "home") <= {"start.lock"}


async def test_a_moment_inside_of_the_backup_is_refused(drill: Drill, directory: Path) -> None:
    """`choose` does not offer it; a clock that was set back might."""
    early = Wanted(until=drill.backup.note.begun_at - timedelta(seconds=1))
    with pytest.raises(EngineError, match="before the end of this backup"):
        await restore_home(drill.backup, directory / "home", drill.archive, early, silent)


async def test_a_position_that_is_nowhere_is_refused(drill: Drill, directory: Path) -> None:
    beyond = Wanted(place=Place(drill.tenant_id, drill.head.position + 1))
    with pytest.raises(EngineError, match=f"end at position {drill.head.position}. Nothing was restored"):
        await restored(drill, directory / "home", beyond)
    within = Wanted(place=Place(drill.tenant_id, 1))
    with pytest.raises(EngineError, match=f"No backup in .* ends before position 1 of tenant {drill.tenant_id}"):
        await restored(drill, directory / "home", within)
    assert [entry.name for entry in (directory / "home").iterdir()] == ["start.lock"]


async def test_an_archive_that_is_not_there_is_told(drill: Drill, directory: Path) -> None:
    with pytest.raises(EngineError, match="Say where it is now with --wal-archive"):
        await restore_home(drill.backup, directory / "home", directory / "moved", END, silent)


async def test_a_file_of_the_archive_that_cannot_be_read_is_not_taken_for_its_end(
    drill: Drill, directory: Path
) -> None:
    archive = directory / "copy"
    shutil.copytree(drill.archive, archive)
    archive.chmod(0o755)
    last = max(name for name in os.listdir(archive) if len(name) == 24)
    for entry in archive.iterdir():
        entry.chmod(0o644)
    (archive / last).unlink()
    (archive / last).mkdir()
    with pytest.raises(EngineError, match=f"The file {last} of the WAL archive is there, but .* cannot read it"):
        await restore_home(drill.backup, directory / "home", archive, END, silent)
    (archive / last).rmdir()
    (archive / f"{last[:-1]}F").touch()
    with pytest.raises(EngineError, match=f"has later files, but not {last}: what was recorded after it cannot be"):
        await restore_home(drill.backup, directory / "home", archive, END, silent)


async def test_an_archive_of_something_else_is_told(drill: Drill, directory: Path) -> None:
    """What comes out has to be the log that was backed up: a digest beside the backup says which."""
    note = drill.backup.note
    heads = [Head(head.tenant_id, head.position, "00" * 32) for head in note.heads]
    other = Backup(drill.backup.directory, type(note)(**{**_fields(note), "heads": heads}))
    with pytest.raises(EngineError, match="What was restored is not what was backed up"):
        await restore_home(other, directory / "home", drill.archive, END, silent)
    assert left_in(directory / "home") == {"start.lock"}


async def test_what_a_killed_restore_left_is_cleared_away(
    drill: Drill, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = directory / "home"
    (home / "restoring-killed" / "pg18").mkdir(parents=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(restoring, "move_into_place", killed)
    with pytest.raises(KeyboardInterrupt):
        await restored(drill, home)
    assert list(home.glob("pg*")) == [], "until the last step there is no database"
    assert list(home.glob("restoring-killed")) == []
    monkeypatch.setattr(restoring, "move_into_place", recovery.move_into_place)
    await restored(drill, home)
    assert [entry.name for entry in home.glob("restoring-*")] == []


def _fields(note: object) -> dict[str, object]:
    return {name: getattr(note, name) for name in note.__struct_fields__}  # type: ignore[attr-defined]
