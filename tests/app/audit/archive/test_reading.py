"""Reading an archive: whatever was changed in it is found, by the manifest and by the chain, each by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from msgspec.structs import replace
from pyarrow import parquet as pq

from app.audit.archive.manifest import DoesNotFit, digest_of, read_manifest, write_manifest
from app.audit.archive.reading import Archive, check_chain
from tests.app.audit.archive.conftest import Kept

COVERED = ("commits", "usage_events", "domain_events", "retractions")
"""What the chain covers."""


def path_of(directory: Path, table: str) -> Path:
    (path,) = directory.glob(f"*/{table}-*.parquet")
    return path


def note_again(directory: Path) -> None:
    """Write the manifest that the files, as they are now, would have."""
    one = read_manifest(directory)
    notes = [replace(note, sha256=digest_of(directory / note.path)) for note in one.manifest.files]
    write_manifest(directory, replace(one.manifest, files=tuple(notes)))


def rewrite(directory: Path, table: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the rows of a file, and the manifest with them, as somebody does who knows how."""
    path = path_of(directory, table)
    held = pq.read_table(path)
    rows = held.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=held.schema), path)
    note_again(directory)


def test_what_was_written_fits(kept: Kept) -> None:
    archive = Archive(kept.archive.directory)
    archive.check_files()
    check_chain(archive)


def test_a_byte_changed_in_any_file_is_found(copied: Path) -> None:
    for path in sorted(one for one in copied.rglob("*") if one.is_file()):
        held = path.read_bytes()
        for place in (0, len(held) // 2, len(held) - 1):
            path.write_bytes(held[:place] + bytes([held[place] ^ 1]) + held[place + 1 :])
            with pytest.raises(DoesNotFit, match=path.name):
                Archive(copied).check_files()
        path.write_bytes(held)
    Archive(copied).check_files()


def test_a_file_that_is_missing_or_was_added_is_found(copied: Path) -> None:
    path = path_of(copied, "usage_events")
    path.rename(copied / "aside")
    with pytest.raises(DoesNotFit, match="aside is not in the manifest"):
        Archive(copied).check_files()
    (copied / "aside").unlink()
    with pytest.raises(DoesNotFit, match=r"usage_events-000001\.parquet is in the manifest and not there"):
        Archive(copied).check_files()


def test_no_path_of_a_manifest_leads_out_of_its_directory(copied: Path) -> None:
    (copied.parent / "outside").write_bytes(b"")
    one = read_manifest(copied)
    note = replace(one.manifest.files[0], path="../outside")
    write_manifest(copied, replace(one.manifest, files=(*one.manifest.files, note)))
    with pytest.raises(DoesNotFit, match="is in the manifest and not there"):
        Archive(copied).check_files()


def changed(column: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[1 if len(rows) > 1 else 0][column] = value

    return change


def swapped(rows: list[dict[str, Any]]) -> None:
    for column in rows[0].keys() - {"position"}:
        rows[2][column], rows[3][column] = rows[3][column], rows[2][column]


def inserted(rows: list[dict[str, Any]]) -> None:
    rows.insert(3, {**rows[3], "event_id": "more"})


def doubled(rows: list[dict[str, Any]]) -> None:
    rows.append({**rows[-1], "position": rows[-1]["position"] + 1})


CHANGES = {
    "metadata": ("usage_events", changed("metadata", '{"n": 1000}'), "are not those that were sealed"),
    "time": ("usage_events", changed("timestamp", 1), "are not those that were sealed"),
    "swapped": ("usage_events", swapped, "are not those that were sealed"),
    "inserted": ("usage_events", inserted, "is missing"),
    "deleted": ("usage_events", lambda rows: rows.pop(4), "is missing"),
    "doubled": ("usage_events", doubled, "is in no commit"),
    "fact": ("domain_events", changed("state", b"{}"), "are not those that were sealed"),
    "reason": ("retractions", changed("reason", "other"), "are not those that were sealed"),
    "recorded": ("commits", changed("origin", b"somebody else"), "does not extend the chain"),
    "root": ("commits", changed("root", bytes(32)), "are not those that were sealed"),
    "kind": ("commits", changed("kind", "other"), "which nobody knows"),
    "batch": ("commits", changed("batch", "none"), "which is none"),
    "truncated": ("commits", lambda rows: rows.pop(), "is in no commit"),
    "gap": ("commits", lambda rows: rows.pop(1), "is missing"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_that_the_manifest_knows_breaks_the_chain(copied: Path, what: str) -> None:
    table, change, message = CHANGES[what]
    rewrite(copied, table, change)
    archive = Archive(copied)
    archive.check_files()
    with pytest.raises(DoesNotFit, match=message):
        check_chain(archive)


def test_a_tail_that_is_gone_with_its_rows_is_found_by_the_head(copied: Path) -> None:
    last: list[dict[str, Any]] = []
    rewrite(copied, "commits", lambda rows: last.append(rows.pop()))
    table = {"usage": "usage_events", "domain": "domain_events", "retraction": "retractions"}[last[0]["kind"]]

    def cut(rows: list[dict[str, Any]]) -> None:
        rows[:] = [row for row in rows if row["position"] < last[0]["first_position"]]

    rewrite(copied, table, cut)
    with pytest.raises(DoesNotFit, match="the chain ends at position"):
        check_chain(Archive(copied))


def test_a_file_of_another_table_is_found(copied: Path) -> None:
    path_of(copied, "retractions").write_bytes(path_of(copied, "commits").read_bytes())
    note_again(copied)
    with pytest.raises(DoesNotFit, match="has other columns"):
        check_chain(Archive(copied))


def test_what_is_no_parquet_is_found(copied: Path) -> None:
    path_of(copied, "commits").write_bytes(b"PAR1 or not")
    note_again(copied)
    with pytest.raises(DoesNotFit, match="cannot be read"):
        check_chain(Archive(copied))
    assert msgspec.json.decode((copied / "manifest.json").read_bytes())["kind"] == "archive"
