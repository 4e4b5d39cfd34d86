"""Telling the server's processes from all others."""

import os
from pathlib import Path

from app.engine.processes import OPENED, PidFile, foreign_server, marker, pid_file, postmaster, serving


def test_a_pid_file_gives_the_process_and_its_socket(tmp_path: Path):
    assert pid_file(tmp_path) is None
    file = tmp_path / "postmaster.pid"
    file.write_text("")
    assert pid_file(tmp_path) is None
    file.write_text(f"123\n{tmp_path}\n1700000000\n5432\n")
    assert pid_file(tmp_path) == PidFile(123, None)
    file.write_text(f"123\n{tmp_path}\n1700000000\n5432\n/tmp/taximeter-x\n\n")
    assert pid_file(tmp_path) == PidFile(123, Path("/tmp/taximeter-x"))
    file.write_text(f"123\n{OPENED}/7\n1700000000\n5432\n{OPENED}/7\n\n")
    assert pid_file(tmp_path) == PidFile(123, tmp_path)


def test_the_marker_is_the_directory_and_not_its_path(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").mkdir()
    assert marker(tmp_path / "a") == marker(tmp_path / "b") != marker(tmp_path / "c")
    assert len(marker(tmp_path / "a")) < 64


def test_a_living_process_with_the_recorded_pid_is_not_the_server(tmp_path: Path):
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n1700000000\n5432\n{tmp_path}\n\n")
    assert postmaster(tmp_path, os.geteuid()) is None
    assert serving(tmp_path, os.geteuid()) == []
    assert foreign_server(tmp_path) is None


def test_a_missing_directory_is_served_by_nobody(tmp_path: Path):
    assert serving(tmp_path / "pg18", os.geteuid()) == []
