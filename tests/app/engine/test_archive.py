"""The WAL archive of a home: where it may be, and that nobody starts the server without it."""

import os
from pathlib import Path

import asyncpg
import pytest

from app.engine.archive import archive_of, use_archive
from app.engine.launcher import embedded
from app.engine.problems import EngineError
from tests.app.backup.drill import archive_in


async def _value(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_it_is_remembered_for_every_start(open_home: Path):
    archive = archive_in(open_home.parent)
    assert archive_of(open_home.parent) is None
    await use_archive(open_home, archive)
    for _ in range(2):
        # As a tool starts it, which knows nothing of the flag.
        async with embedded(open_home) as engine:
            assert await _value(engine.dsn, "show archive_mode") == "on"
            assert await _value(engine.dsn, "show basic_archive.archive_directory") == str(archive)
            await _value(engine.dsn, "select pg_switch_wal()")
    # A clean stop leaves nothing behind that is not in the archive.
    assert {entry.name for entry in archive.iterdir()} >= {"000000010000000000000001"}
    await use_archive(open_home, None)
    async with embedded(open_home) as engine:
        assert await _value(engine.dsn, "show archive_mode") == "off"


async def test_it_does_not_change_under_a_running_server(open_home: Path):
    archive = archive_in(open_home.parent)
    async with embedded(open_home):
        await use_archive(open_home, None)  # Which it is already.
        with pytest.raises(EngineError, match="runs already, and archives its write-ahead log nowhere"):
            await use_archive(open_home, archive)
    await use_archive(open_home, archive)
    async with embedded(open_home):
        await use_archive(open_home, archive)
        with pytest.raises(EngineError, match=f"archives its write-ahead log in {archive}"):
            await use_archive(open_home, None)


async def test_a_directory_that_is_not_mounted_is_not_made(open_home: Path):
    missing = open_home.parent / "missing"
    with pytest.raises(EngineError, match="is not a directory; make it first"):
        await use_archive(open_home, missing)
    await use_archive(open_home, archive_in(open_home.parent))
    (open_home.parent / "wal").rename(open_home.parent / "unmounted")
    with pytest.raises(EngineError, match="is not a directory; make it first"):
        async with embedded(open_home):
            pass
    assert not (open_home.parent / "wal").exists()


async def test_it_must_not_be_lost_with_the_data(open_home: Path):
    (open_home / "wal").mkdir(parents=True)
    with pytest.raises(EngineError, match="whose loss it is for"):
        await use_archive(open_home, open_home / "wal")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")
async def test_the_account_of_the_server_has_to_be_able_to_write_it(open_home: Path):
    closed = open_home.parent / "closed"
    closed.mkdir(mode=0o700)
    await use_archive(open_home, closed)
    with pytest.raises(EngineError, match=r"cannot be written by the account (\w+), .*: chown \1 "):
        async with embedded(open_home):
            pass


async def test_a_file_in_the_archive_is_never_overwritten(open_home: Path):
    archive = archive_in(open_home.parent)
    taken = archive / "000000010000000000000001"
    taken.write_text("of another server")
    await use_archive(open_home, archive)
    async with embedded(open_home) as engine:
        await _value(engine.dsn, "select pg_switch_wal()")
        while not await _value(engine.dsn, "select failed_count from pg_stat_archiver"):
            pass
        log = (engine.data_directory / "server.log").read_text()
    assert taken.read_text() == "of another server"
    assert f'archive file "{taken}" already exists' in log
