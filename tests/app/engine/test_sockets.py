"""Where the socket goes, and how it is named."""

import os
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.engine.account import Account
from app.engine.binaries import Binaries
from app.engine.cluster import Cluster
from app.engine.sockets import LONGEST_SOCKET_DIRECTORY, dsn, remove_short_directory, socket_directory_for


def _cluster(home: Path) -> Cluster:
    me = Account(os.geteuid(), os.getegid(), "me", switch=False)
    return Cluster(home, Binaries(Path("/programs"), 18), me, reachable=True)


def test_a_dsn_keeps_unusual_names():
    made = urlsplit(dsn(Path("/a b&c/d"), "x/y", "r@s"))
    assert parse_qs(made.query) == {"host": ["/a b&c/d"], "port": ["5432"]}
    assert made.path == "/x%2Fy"
    assert made.netloc == "r%40s@"


async def test_a_short_path_carries_its_own_socket():
    longest = Path("/" + "d" * (LONGEST_SOCKET_DIRECTORY - len("//pg18")))
    assert await socket_directory_for(_cluster(longest)) == longest / "pg18"


@pytest.mark.parametrize("home", ["/" + "d" * (LONGEST_SOCKET_DIRECTORY - 5), "/a,b", "/a b", "/é"])
async def test_other_paths_get_a_closed_short_directory(home: str):
    cluster = _cluster(Path(home))
    made = await socket_directory_for(cluster)
    assert made.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(made)) <= LONGEST_SOCKET_DIRECTORY
    remove_short_directory(made, cluster)
    assert not made.exists()


async def test_a_long_temporary_directory_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    cluster = _cluster(Path("/a b"))
    made = await socket_directory_for(cluster)
    assert deep not in made.parents
    remove_short_directory(made, cluster)


def test_only_our_own_directories_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cluster = _cluster(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    link = tmp_path / "taximeter-link"
    link.symlink_to(other)
    elsewhere = tmp_path / "taximeter-elsewhere"
    elsewhere.mkdir()
    remove_short_directory(elsewhere, cluster)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for directory in (other, link):
        remove_short_directory(directory, cluster)
    assert other.is_dir()
    assert link.is_symlink()
    assert elsewhere.is_dir()
    remove_short_directory(elsewhere, cluster)
    assert not elsewhere.exists()
