"""Which backups there are, and which of them fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.backup.record import NOTE, Head, Kind, Note, backups_in, discard, finish, name_of
from app.backup.restoring import Place, Wanted, choose
from app.engine.problems import EngineError

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def note_of(kind: Kind = "base", begun_at: datetime = NOON, position: int = 10, **changes: Any) -> Note:
    fields: dict[str, Any] = {
        "kind": kind,
        "taximeter": "1",
        "major": 18,
        "begun_at": begun_at,
        "finished_at": begun_at + timedelta(minutes=5),
        "heads": [Head("t", position, "00" * 32)],
        "wal_archive": None,
    }
    return Note(**(fields | changes))


def made(place: Path, note: Note) -> str:
    side = place / "side"
    (side / "data").mkdir(parents=True)
    return finish(side, note, place / name_of(note.kind, note.begun_at)).directory.name


def test_the_newest_one_that_ends_before_the_moment_is_taken(tmp_path: Path) -> None:
    first = made(tmp_path, note_of(position=10))
    second = made(tmp_path, note_of(begun_at=NOON + timedelta(hours=1), position=20))
    made(tmp_path, note_of("dump", begun_at=NOON + timedelta(minutes=30)))
    assert choose(tmp_path, Wanted()).directory.name == second
    assert choose(tmp_path, Wanted(until=NOON + timedelta(minutes=59))).directory.name == first
    # A backup under way at that moment holds more than was known then.
    assert choose(tmp_path, Wanted(until=NOON + timedelta(minutes=64))).directory.name == first
    assert choose(tmp_path, Wanted(until=NOON + timedelta(minutes=65))).directory.name == second
    assert choose(tmp_path, Wanted(place=Place("t", 20))).directory.name == first
    assert choose(tmp_path, Wanted(place=Place("t", 21))).directory.name == second
    # A tenant that came later is in neither.
    assert choose(tmp_path, Wanted(place=Place("new", 1))).directory.name == second
    with pytest.raises(EngineError, match="ends before position 10 of tenant t; the oldest one was finished at 2026"):
        choose(tmp_path, Wanted(place=Place("t", 10)))


def test_a_backup_can_be_named_itself(tmp_path: Path) -> None:
    first = made(tmp_path, note_of())
    made(tmp_path, note_of(begun_at=NOON + timedelta(hours=1)))
    assert choose(tmp_path / first, Wanted()).directory.name == first


def test_what_is_unfinished_or_half_deleted_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "base.unfinished" / "data").mkdir(parents=True)
    with pytest.raises(EngineError, match="There is no backup in"):
        backups_in(tmp_path)
    made(tmp_path, note_of())
    discard(backups_in(tmp_path)[0])
    with pytest.raises(EngineError, match="There is no backup in"):
        backups_in(tmp_path)
    with pytest.raises(EngineError, match="There is no directory"):
        backups_in(tmp_path / "typo")


def test_a_note_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    name = made(tmp_path, note_of())
    (tmp_path / name / NOTE).write_text('{"kind": "base", "format": 2}')
    with pytest.raises(EngineError, match=rf"{name}/{NOTE} cannot be read"):
        backups_in(tmp_path)
