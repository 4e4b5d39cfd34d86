"""Restoring a backup into a directory or a database that holds nothing yet."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg
import msgspec

from app.backup.programs import run_program, without_password
from app.backup.record import CONTENT, Backup, Head, newest
from app.backup.taking import SQL, heads_of
from app.backup.wal import first_missing
from app.database import Owner, connect_owner
from app.engine.binaries import Binaries, find_binaries
from app.engine.launcher import embedded
from app.engine.locks import FileLock
from app.engine.problems import EngineError
from app.engine.recovery import Report, clear_sides, move_into_place, recovered, side_of
from domain import instant

Say = Callable[[str], None]


class Place(msgspec.Struct, frozen=True):
    """A position in a tenant's log up to which to restore, with everything else that was committed before it."""

    tenant_id: str
    position: int


@dataclass(frozen=True)
class Wanted:
    """How far to restore: to an instant, to a place, or (neither) to the end of what there is."""

    until: datetime | None = None
    place: Place | None = None

    def fits(self, backup: Backup) -> bool:
        """Whether a backup can be brought forward to there: it must not hold more already."""
        if self.until is not None:
            return backup.note.kind == "base" and backup.note.finished_at <= self.until
        if self.place is not None:
            return backup.note.kind == "base" and backup.position(self.place.tenant_id) < self.place.position
        return True

    def text(self) -> str:
        """As a clause after "no backup …"."""
        if self.until is not None:
            return f"was finished before {instant.text(self.until)}, of the kind that can be brought forward"
        if self.place is not None:
            return f"ends before position {self.place.position} of tenant {self.place.tenant_id}"
        return "fits"


def choose(source: Path, wanted: Wanted) -> Backup:
    """The newest backup in ``source`` that can be brought to what is wanted. Raises ``EngineError``."""
    return newest(source, wanted.fits, wanted.text())


async def restore_home(backup: Backup, home: Path, archive: Path | None, wanted: Wanted, say: Say) -> list[Head]:
    """Make the embedded database of ``home``, which must hold none, from a backup; how far each log is then.

    ``archive`` is where the write-ahead log was archived. Whoever starts the service meanwhile waits. Raises
    ``EngineError``; then nothing was restored.
    """
    try:
        await asyncio.to_thread(home.mkdir, mode=0o711, parents=True, exist_ok=True)
        home = await asyncio.to_thread(home.resolve, strict=True)
    except OSError as error:
        raise EngineError(f"The directory {home} cannot be used: {error.strerror}.") from error
    lock = FileLock(home / "start.lock")
    try:
        if not lock.try_exclusive():
            raise EngineError(f"Something uses {home} just now; a restore needs a directory of its own.")
        held = [entry.name for entry in home.glob("pg[0-9]*")]
        if held:
            raise EngineError(
                f"{home} holds a database already ({', '.join(held)}), and a restore never writes over one. Name "
                "another directory with --data, or move that one away first."
            )
        await asyncio.to_thread(clear_sides, home)
        if backup.note.kind == "dump":
            return await _from_dump(backup, home, say)
        return await _from_base(backup, home, archive, wanted, say)
    finally:
        lock.close()


async def restore_url(backup: Backup, url: str, say: Say) -> list[Head]:
    """Fill the empty database at ``url`` from a dump, in one transaction; how far each log is then.

    Raises ``EngineError`` when it is not empty, when the backup is no dump, or when the dump does not fit.
    """
    if backup.note.kind != "dump":
        raise EngineError(
            f"{backup.directory} is a copy of a data directory, which only --data can take. For a database by URL, "
            "make a backup with --dump."
        )
    owner = await connect_owner(url)
    try:
        if not await owner.fetchval(SQL["is_empty"]):
            raise EngineError("The database of --database-url is not empty, and a restore never writes over one.")
    finally:
        await owner.close()
    programs = (await asyncio.to_thread(find_binaries)).directory
    say(f"reading {backup.directory} into the database ...")
    await _fill(backup, url, programs)
    return await _checked(backup, url)


async def _from_base(backup: Backup, home: Path, archive: Path | None, wanted: Wanted, say: Say) -> list[Head]:
    binaries = await asyncio.to_thread(find_binaries, backup.note.major)
    if binaries.major != backup.note.major:
        raise EngineError(
            f"{backup.directory} is a data directory of PostgreSQL {backup.note.major}, and the programs found are "
            f"PostgreSQL {binaries.major}, which cannot read it. Install PostgreSQL {backup.note.major}."
        )
    say(f"checking {backup.directory} ...")
    await run_program(binaries.directory, "pg_verifybackup", "--exit-on-error", "--quiet", backup.content)
    if archive is not None and wanted.until is None:
        _refuse_hole(archive, backup)
    report = _telling(say)
    target = {"recovery_target_inclusive": "on"}
    if wanted.until is not None:
        target["recovery_target_time"] = wanted.until.isoformat(sep=" ")
    elif wanted.place is not None:
        say(f"looking for position {wanted.place.position} of tenant {wanted.place.tenant_id} ...")
        target["recovery_target_xid"] = await _transaction_of(backup, home, binaries, archive, wanted.place, report)
    say(f"restoring {backup.directory} ...")
    async with recovered(backup.content, home, binaries, archive, target, report) as server:
        heads = await _checked(backup, server.dsn)
    await asyncio.to_thread(move_into_place, server.cluster.directory, home)
    return heads


def _refuse_hole(archive: Path, backup: Backup) -> None:
    """PostgreSQL takes a missing file for the end: what comes after it would be left away without a word."""
    missing = first_missing(archive, backup.note.first_wal or "")
    if missing is not None:
        raise EngineError(
            f"The WAL archive {archive} has later files, but not {missing}: what was recorded after it cannot be "
            "restored. Find that file; or restore what was recorded before it, with --until. Nothing was restored."
        )


async def _transaction_of(
    backup: Backup, home: Path, binaries: Binaries, archive: Path | None, place: Place, report: Report
) -> str:
    """The transaction that recorded a position. Only a database that is past it knows, so one is recovered for that."""
    async with recovered(backup.content, home, binaries, archive, {}, report) as server:
        owner = await connect_owner(server.dsn)
        try:
            row = await owner.fetchrow(SQL["commit_with"], place.tenant_id, place.position)
        finally:
            await owner.close()
        heads = await heads_of(server.dsn)
    await asyncio.to_thread(shutil.rmtree, server.cluster.home, ignore_errors=True)
    if row is None:
        end = next((head.position for head in heads if head.tenant_id == place.tenant_id), 0)
        raise EngineError(
            f"Position {place.position} of tenant {place.tenant_id} is not in the backup and its WAL archive, which "
            f"end at position {end}. Nothing was restored."
        )
    transaction: str = row["transaction"]
    return transaction


async def _from_dump(backup: Backup, home: Path, say: Say) -> list[Head]:
    """Through a home inside of the home, whose data directory is moved up at the end."""
    side = side_of(home)
    try:
        say(f"reading {backup.directory} into a new database ...")
        async with embedded(side) as engine:
            await _fill(backup, engine.dsn, engine.programs)
            heads = await _checked(backup, engine.dsn)
        await asyncio.to_thread(move_into_place, engine.data_directory, home)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, side, ignore_errors=True)
        raise
    return heads


async def _fill(backup: Backup, dsn: str, programs: Path) -> None:
    owner = await connect_owner(dsn)
    try:
        with suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            await owner.execute(SQL["create_role"])
        await owner.execute(SQL["join_role"])
    finally:
        await owner.close()
    address, environment = without_password(dsn)
    await run_program(
        programs,
        "pg_restore",
        f"--dbname={address}",
        # Whole or not at all, and owned by whoever restores it.
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-password",
        backup.directory / CONTENT,
        environment=environment,
    )
    owner = await connect_owner(dsn)
    try:
        await owner.execute(SQL["gather_statistics"])
    finally:
        await owner.close()


async def _checked(backup: Backup, dsn: str) -> list[Head]:
    """How far each log is. Raises ``EngineError`` when it is not the one that was backed up, or ends before it."""
    owner = await connect_owner(dsn)
    try:
        for head in backup.note.heads:
            await _check(owner, head)
    finally:
        await owner.close()
    return await heads_of(dsn)


async def _check(owner: Owner, head: Head) -> None:
    found: bytes | None = await owner.fetchval(SQL["digest_at"], head.tenant_id, head.position)
    if head.position and (found is None or found.hex() != head.digest):
        raise EngineError(
            f"What was restored is not what was backed up: tenant {head.tenant_id} has another log up to position "
            f"{head.position}. Nothing was restored."
        )


def _telling(say: Say) -> Report:
    """Say how far the recovery is, once for each minute of recovered time."""
    said: set[str] = set()

    def report(replayed: datetime) -> None:
        text = f"{replayed:%Y-%m-%d %H:%M} UTC"
        if text not in said:
            said.add(text)
            say(f"  ... recovered up to {text}")

    return report
