"""A hole in an archive is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.backup.wal import first_missing


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([], None),
        ([0x1F0], None),
        ([0x1FE, 0x1FF, 0x200, 0x201], None),
        ([0x1FE, 0x200], "0000000100000001000000FF"),
        ([0x1FF, 0x201, 0x205], "000000010000000200000000"),
    ],
)
def test_the_first_missing_file(tmp_path: Path, numbers: list[int], missing: str | None) -> None:
    for number in numbers:
        (tmp_path / f"00000001{number // 256:08X}{number % 256:08X}").touch()
    # Older files, other timelines and notes of backups are none of its business.
    for name in ("000000010000000000000001", "000000020000000300000000", "00000001000000010000000A.00000028.backup"):
        (tmp_path / name).touch()
    assert first_missing(tmp_path, "000000010000000100000080") == missing
