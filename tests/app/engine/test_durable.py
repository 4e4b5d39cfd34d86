"""A file is written whole or not at all."""

import os
from pathlib import Path

import pytest

from app.engine.durable import write_durably


def test_a_file_is_replaced_and_readable_by_all(tmp_path: Path):
    write_durably(tmp_path / "note", "first\n")
    write_durably(tmp_path / "note", "second\n")
    assert (tmp_path / "note").read_text() == "second\n"
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["note"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_durably(tmp_path / "note", "first\n")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(tmp_path / "note", "second\n")
    assert (tmp_path / "note").read_text() == "first\n"
    assert os.listdir(tmp_path) == ["note"]
