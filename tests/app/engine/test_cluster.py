"""The data directory: which one, and when not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.engine.account import Account
from app.engine.binaries import Binaries, find_binaries
from app.engine.cluster import Cluster, create, locate
from app.engine.copies import usable
from app.engine.launcher import ROOT_HOME
from app.engine.locks import FileLock
from app.engine.problems import EngineError


async def test_the_directory_is_per_major(tmp_path: Path):
    cluster = await locate(tmp_path, Binaries(Path("/programs"), 17))
    assert cluster.directory == tmp_path / "pg17"
    assert not cluster.exists
    assert cluster.log == tmp_path / "pg17" / "server.log"


async def test_data_of_another_major_stop_it(tmp_path: Path):
    for name in ("pg18", "pg15"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, 65534 if os.geteuid() == 0 else -1, -1)
    (tmp_path / "pg15.initdb-x").mkdir()
    with pytest.raises(EngineError, match="pg15 holds data of PostgreSQL 15"):
        await locate(tmp_path, Binaries(Path("/programs"), 18))
    (tmp_path / "pg15").rename(tmp_path / "old-pg15")
    (await locate(tmp_path, Binaries(Path("/programs"), 18))).directory.rmdir()


async def test_a_directory_that_nobody_finished_is_not_touched(home: Path):
    os.mkdir(home)
    cluster = await locate(home, find_binaries())
    # The server's account may not reach the programs where they are, as in a checkout that only its owner may enter.
    programs = await usable(cluster.binaries, cluster.account, [home, ROOT_HOME])
    cluster = replace(cluster, binaries=programs)
    cluster.directory.mkdir()
    (cluster.directory / "precious").write_text("data")
    lock = FileLock(home / "run.lock")
    with pytest.raises(EngineError, match="is not a finished PostgreSQL data directory"):
        await create(cluster, lock.fileno())
    lock.close()
    assert (cluster.directory / "precious").read_text() == "data"
    left = [name for name in os.listdir(home) if not name.startswith("programs-")]
    assert sorted(left) == [cluster.directory.name, "run.lock"]


async def test_a_failing_initdb_is_quoted(tmp_path: Path):
    program = tmp_path / "initdb"
    program.write_text("#!/bin/sh\necho 'no space left'; exit 1\n")
    program.chmod(0o755)
    me = Account(os.geteuid(), os.getegid(), "me", switch=False)
    cluster = Cluster(tmp_path, Binaries(tmp_path, 18), me, reachable=True)
    lock = FileLock(tmp_path / "run.lock")
    with pytest.raises(EngineError, match="no space left"):
        await create(cluster, lock.fileno())
    lock.close()
    assert not cluster.directory.exists()
