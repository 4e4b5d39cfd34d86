"""``taximeter backup`` and ``taximeter restore``."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from app import settings
from app.backup.record import Backup, Head
from app.backup.restoring import Place, Wanted, choose, restore_home, restore_url
from app.backup.taking import archive_trouble, keep_newest, take_base, take_dump
from app.commands import has_cluster, tell
from app.database import connect_owner
from app.engine.archive import archive_of, use_archive
from app.engine.binaries import find_binaries
from app.engine.launcher import Engine, embedded
from app.engine.problems import EngineError
from app.settings import SettingError
from domain import instant

Environment = Mapping[str, str]


def add_backup_flags(parser: ArgumentParser) -> None:
    """What only ``taximeter backup`` takes."""
    parser.add_argument("place", type=_path, metavar="DIR", help="where backups are kept; each gets a directory in it")
    parser.add_argument(
        "--dump",
        action="store_true",
        help="write statements that any later PostgreSQL reads, instead of a copy that can be brought forward",
    )
    parser.add_argument("--keep", type=_count, metavar="NUMBER", help="then delete all but so many, and their WAL")


def add_restore_flags(parser: ArgumentParser) -> None:
    """What only ``taximeter restore`` takes."""
    parser.add_argument("place", type=_path, metavar="DIR", help="a backup, or the directory that holds backups")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--until", metavar="TIME", help="restore what was acknowledged by then: 2026-03-10T12:00:00Z")
    until.add_argument("--position", metavar="[TENANT:]NUMBER", help="restore up to the commit with that position")


async def use_wal_archive(flags: Namespace, environment: Environment) -> None:
    """Archive where ``--wal-archive`` says from the engine's next start on. Raises ``EngineError``."""
    wanted: str = settings.value(settings.WAL_ARCHIVE, flags, environment)
    if not wanted or settings.value(settings.DATABASE_URL, flags, environment):
        return
    data: Path = settings.value(settings.DATA, flags, environment)
    await use_archive(data, None if wanted == settings.NO_ARCHIVE else Path(wanted))


async def back_up(flags: Namespace, environment: Environment) -> int:
    """``taximeter backup``"""
    url: str = settings.value(settings.DATABASE_URL, flags, environment)
    place: Path = flags.place
    trouble: str | None = None
    if url:
        programs = (await asyncio.to_thread(find_binaries)).directory
        backup = await take_dump(url, programs, place)
        _tell_backup(backup)
    else:
        data: Path = settings.value(settings.DATA, flags, environment)
        if not await asyncio.to_thread(has_cluster, data):
            raise EngineError(f"there is no Taximeter data in {data}, so there is nothing to back up")
        async with embedded(data) as engine:
            programs = engine.programs
            backup = await (take_dump(engine.dsn, programs, place) if flags.dump else take_base(engine, place))
            _tell_backup(backup)
            trouble = await _tell_archive(engine, data)
    if flags.keep:
        for deleted in await keep_newest(place, backup.note.kind, flags.keep, programs):
            print(f"deleted:  {deleted.directory}")
    # The backup is good; what fails is what should carry it forward.
    return 1 if trouble else 0


def _tell_backup(backup: Backup) -> None:
    seconds = (backup.note.finished_at - backup.note.begun_at).total_seconds()
    print(f"backup:   {backup.directory}  ({_megabytes(backup.content):,.1f} MB in {seconds:.1f} s)")
    for head in backup.note.heads:
        print(f"holds:    tenant {head.tenant_id} up to position {head.position:,} at least")


async def _tell_archive(engine: Engine, data: Path) -> str | None:
    archive = archive_of(data)
    if archive is None:
        print(
            "archive:  none, so this restores to its own moment only (`taximeter serve --wal-archive DIR` begins one)"
        )
        return None
    print(f"archive:  {archive}")
    owner = await connect_owner(engine.dsn_for("postgres"))
    try:
        trouble = await archive_trouble(owner)
    finally:
        await owner.close()
    if trouble:
        tell(trouble)
    return trouble


async def restore(flags: Namespace, environment: Environment) -> int:
    """``taximeter restore``"""
    url: str = settings.value(settings.DATABASE_URL, flags, environment)
    wanted = Wanted(_until(flags.until), _place(flags, environment))
    backup = await asyncio.to_thread(choose, flags.place, wanted)
    if url:
        heads = await restore_url(backup, url, _say)
        place = "--database-url ..."
    else:
        data: Path = settings.value(settings.DATA, flags, environment)
        archive = _archive(backup, settings.value(settings.WAL_ARCHIVE, flags, environment))
        if archive is None and (wanted.until or wanted.place):
            raise EngineError(
                f"{backup.directory} was made without a WAL archive, so it restores to its own moment only: leave "
                "--until and --position away, or say with --wal-archive where one is."
            )
        heads = await restore_home(backup, data, archive, wanted, _say)
        place = f"--data {data}"
    _tell_restored(backup, heads, place)
    return 0


def _archive(backup: Backup, given: str) -> Path | None:
    """The archive that was named, else the one that the backup was made with."""
    if given == settings.NO_ARCHIVE:
        return None
    known = given or backup.note.wal_archive
    return Path(known) if known else None


def _tell_restored(backup: Backup, heads: list[Head], place: str) -> None:
    print(f"restored: {backup.directory}")
    for head in heads:
        print(f"tenant {head.tenant_id}: up to position {head.position:,}, digest {head.digest}")
    print(
        "What was recorded after that is not in it. Have senders send again what they sent since: ids that are here\n"
        "count as duplicates. Invoices that were issued since are gone, and their numbers will be given again.\n"
        f"Start it with:  taximeter serve {place}\n"
        "From here it has a history of its own: give it a WAL archive and backups of its own, and back it up now."
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _megabytes(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1_000_000


def _until(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return instant.parse(text)
    except ValueError as error:
        raise SettingError(f"--until is {text!r}: {error}") from None


def _place(flags: Namespace, environment: Environment) -> Place | None:
    if flags.position is None:
        return None
    tenant_id, _, number = flags.position.rpartition(":")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise SettingError(f"--position is {flags.position!r}: must be a position such as 1200, or tenant:1200")
    return Place(tenant_id or settings.value(settings.TENANT, flags, environment), int(number))


def _path(text: str) -> Path:
    return Path(text).absolute()


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError("must be a whole number from 1")
    return int(text)
