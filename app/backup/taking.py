"""Taking a backup while everything goes on."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app import __version__
from app.backup.programs import run_program, without_password
from app.backup.record import CONTENT, Backup, Head, Kind, Note, backups_in, discard, finish, name_of
from app.clock import system_clock
from app.database import Owner, connect_owner
from app.engine.archive import archive_of
from app.engine.launcher import Engine
from app.engine.locks import FileLock
from app.engine.problems import EngineError
from projections.statements import load

SQL = load("app.sql", "backup.sql")

_FIRST_WAL = re.compile(r"^START WAL LOCATION: .* \(file ([0-9A-F]{24})\)$", re.MULTILINE)


async def take_base(engine: Engine, place: Path) -> Backup:
    """Copy the embedded server's whole data directory into a directory of its own in ``place``, with every checksum.

    It holds all that was acknowledged before it began. Raises ``EngineError``.
    """
    home = engine.data_directory.parent
    _refuse_inside(place, home)
    async with _being_made("base", place) as side:
        begun_at = system_clock()
        heads = await heads_of(engine.dsn)
        await run_program(
            engine.programs,
            "pg_basebackup",
            f"--dbname={engine.dsn_for('postgres')}",
            f"--pgdata={side / CONTENT}",
            # The log that is written meanwhile is part of it: without an archive it restores as well.
            "--wal-method=stream",
            "--checkpoint=fast",
            "--manifest-checksums=SHA256",
            "--no-password",
        )
        archive = archive_of(home)
        note = Note(
            kind="base",
            taximeter=__version__,
            major=engine.version,
            begun_at=begun_at,
            finished_at=system_clock(),
            heads=heads,
            wal_archive=str(archive) if archive else None,
            first_wal=_first_wal(side / CONTENT),
        )
        return await asyncio.to_thread(finish, side, note, place / name_of("base", begun_at))


async def take_dump(dsn: str, programs: Path, place: Path) -> Backup:
    """Write one database as statements, as it stood at one instant, into a directory of its own in ``place``.

    Raises ``EngineError``.
    """
    async with _being_made("dump", place) as side:
        begun_at = system_clock()
        heads = await heads_of(dsn)
        address, environment = without_password(dsn)
        arguments = (f"--dbname={address}", "--format=directory", f"--file={side / CONTENT}", "--no-password")
        await run_program(programs, "pg_dump", *arguments, environment=environment)
        note = Note(
            kind="dump",
            taximeter=__version__,
            major=await _major(dsn),
            begun_at=begun_at,
            finished_at=system_clock(),
            heads=heads,
            wal_archive=None,
        )
        return await asyncio.to_thread(finish, side, note, place / name_of("dump", begun_at))


async def keep_newest(place: Path, kind: Kind, count: int, programs: Path) -> list[Backup]:
    """Delete all but the newest ``count`` backups of a kind, and what only they need of the WAL archive; those deleted.

    The archive is only touched when the oldest backup that is kept was made with it. Raises ``EngineError``.
    """
    same = [backup for backup in backups_in(place) if backup.note.kind == kind]
    deleted, kept = same[:-count], same[-count:]
    for backup in deleted:
        await asyncio.to_thread(discard, backup)
    oldest = kept[0].note
    if deleted and oldest.wal_archive is not None and oldest.first_wal is not None:
        await run_program(programs, "pg_archivecleanup", oldest.wal_archive, oldest.first_wal)
    return deleted


async def heads_of(dsn: str) -> list[Head]:
    """How far each tenant's log is. Raises ``EngineError`` when there is no log at all."""
    owner = await connect_owner(dsn)
    try:
        if not await owner.fetchval(SQL["has_log"]):
            raise EngineError("There is no log in this database, so there is nothing to back up.")
        rows = await owner.fetch(SQL["log_heads"])
    finally:
        await owner.close()
    return [Head(row["tenant_id"], row["position"], row["digest"].hex()) for row in rows]


async def archive_trouble(connection: Owner) -> str | None:
    """What keeps an embedded server from archiving, as a sentence; None while files arrive, or none has to."""
    row = await connection.fetchrow(SQL["archiver"])
    assert row is not None
    failed, archived = row["last_failed_time"], row["last_archived_time"]
    if not row["wanted"] or failed is None or (archived is not None and archived > failed):
        return None
    return (
        f"the WAL archive takes no files since {failed:%Y-%m-%d %H:%M:%S} UTC: {row['waiting']} wait in the data"
        " directory, which fills up; the reason is in its server.log"
    )


@asynccontextmanager
async def _being_made(kind: Kind, place: Path) -> AsyncIterator[Path]:
    """A directory to work in, gone if the work fails; what a killed backup left is cleared away first."""
    try:
        await asyncio.to_thread(place.mkdir, mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"The directory {place} cannot be made: {error.strerror}.") from error
    lock = FileLock(place / "backup.lock")
    try:
        if not lock.try_exclusive():
            raise EngineError(f"Another backup is being made in {place}; wait for it.")
        side = await asyncio.to_thread(_begin, place, kind)
        try:
            yield side
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, side, ignore_errors=True)
            raise
    finally:
        lock.close()


def _begin(place: Path, kind: Kind) -> Path:
    for left in place.glob("*.unfinished"):
        shutil.rmtree(left, ignore_errors=True)
    side = place / f"{kind}.unfinished"
    side.mkdir(mode=0o700)
    return side


def _refuse_inside(place: Path, home: Path) -> None:
    if place.resolve().is_relative_to(home.resolve()):
        raise EngineError(f"{place} lies in the data directory {home}, whose loss it is for; choose another place.")


def _first_wal(data: Path) -> str | None:
    with contextlib.suppress(OSError):
        found = _FIRST_WAL.search((data / "backup_label").read_text())
        return found[1] if found else None
    return None


async def _major(dsn: str) -> int:
    owner = await connect_owner(dsn)
    try:
        major: int = owner.get_server_version().major
        return major
    finally:
        await owner.close()
