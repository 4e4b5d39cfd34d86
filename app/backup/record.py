"""The note beside each backup: what it is, when it was made, and how far each tenant's log was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from app.engine.durable import sync_directory, write_durably
from app.engine.problems import EngineError
from domain import instant

NOTE = "backup.json"
"""Written last: a directory without it is no backup."""

CONTENT = "data"
"""What was copied, beside the note: a data directory, or a dump in pg_dump's directory format."""

Kind = Literal["base", "dump"]
"""A *base* is the whole data directory and can be carried forward by a WAL archive; a *dump* is one database as
statements, which any later major release reads."""


class Head(msgspec.Struct, frozen=True):
    """How far a tenant's log was: no restored database may know less, or something else."""

    tenant_id: str
    position: int
    digest: str


class Note(msgspec.Struct, frozen=True):
    """``major`` is PostgreSQL's; ``heads`` were read before the copy began, so they are in it."""

    kind: Kind
    taximeter: str
    major: int
    begun_at: datetime
    finished_at: datetime
    heads: list[Head]
    wal_archive: str | None
    first_wal: str | None = None
    format: Literal[1] = 1


class Backup(msgspec.Struct, frozen=True):
    """A finished backup."""

    directory: Path
    note: Note

    @property
    def content(self) -> Path:
        """The data directory or the dump."""
        return self.directory / CONTENT

    def position(self, tenant_id: str) -> int:
        """How far the tenant's log was when it began; 0 for a tenant that it does not know."""
        return next((head.position for head in self.note.heads if head.tenant_id == tenant_id), 0)


def name_of(kind: Kind, begun_at: datetime) -> str:
    """The directory's name, which sorts by time, to the millisecond."""
    return f"{kind}-{begun_at:%Y%m%dT%H%M%S}.{begun_at.microsecond // 1000:03d}Z"


def finish(side: Path, note: Note, directory: Path) -> Backup:
    """Write the note and give the finished backup its name: only now it is one."""
    write_durably(side / NOTE, msgspec.json.format(msgspec.json.encode(note), indent=2).decode() + "\n")
    side.rename(directory)
    sync_directory(directory.parent)
    return Backup(directory, note)


def discard(backup: Backup) -> None:
    """Delete a backup; one that is half deleted is none."""
    (backup.directory / NOTE).unlink()
    shutil.rmtree(backup.directory)


def backups_in(place: Path) -> list[Backup]:
    """The finished backups in a directory, oldest first; the directory may itself be one.

    Raises ``EngineError`` when there is none, or when a note cannot be read.
    """
    if not place.is_dir():
        raise EngineError(f"There is no directory {place}.")
    own = [place] if (place / NOTE).is_file() else []
    found = [_read(one) for one in own or sorted(place.iterdir()) if (one / NOTE).is_file()]
    if not found:
        raise EngineError(f"There is no backup in {place}: `taximeter backup {place}` makes one.")
    return sorted(found, key=lambda backup: backup.note.begun_at)


def newest(place: Path, fits: Callable[[Backup], bool], wanted: str) -> Backup:
    """The newest backup that fits. Raises ``EngineError`` that tells what there is."""
    found = backups_in(place)
    fitting = [backup for backup in found if fits(backup)]
    if not fitting:
        first = instant.text(found[0].note.finished_at)
        raise EngineError(f"No backup in {place} {wanted}; the oldest one was finished at {first}.")
    return fitting[-1]


def _read(directory: Path) -> Backup:
    try:
        note = msgspec.json.decode((directory / NOTE).read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError) as error:
        raise EngineError(f"{directory / NOTE} cannot be read: {error}.") from error
    return Backup(directory, note)
