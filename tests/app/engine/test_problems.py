"""What PostgreSQL says, and what a person reads: each text is what a real server or initdb said."""

import os
import pwd
from pathlib import Path

import pytest

from app.engine.launcher import EngineError, embedded
from app.engine.problems import advice, reasons, without_our_calls

DIRECTORY = Path("/data/pg18")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('FATAL:  could not write lock file "postmaster.pid": No space left on device', "The disk of /data/pg18 is"),
        ("ERROR:  could not resize shared memory segment: No space left on device", "--shm-size"),
        ('FATAL:  could not create lock file "postmaster.pid": Read-only file system', "is mounted read-only"),
        ('FATAL:  data directory "/data/pg18" has invalid permissions', "chmod 700 /data/pg18"),
        ('could not open file "/data/pg18/global/pg_control": Permission denied', "chown -R postgres /data/pg18"),
        ('PANIC:  could not read file "global/pg_control": read 0 of 296', "restore a backup into another directory"),
        ("LOG:  database system was shut down", ""),
    ],
)
def test_what_to_do_is_said_first(said: str, told: str):
    assert told in advice(said, DIRECTORY, "postgres")
    assert bool(advice(said, DIRECTORY, "postgres")) == bool(told)


def test_our_own_calls_are_not_the_reason():
    said = (
        "12:00 [1] LOG:  redo starts at 0/16EF4D8\n"
        "12:00 [2] FATAL:  the database system is not yet accepting connections\n"
        "12:00 [2] DETAIL:  Consistent recovery state has not been yet reached.\n"
        "12:00 [3] FATAL:  the database system is starting up\n"
        "12:00 [1] FATAL:  checkpoint request failed\n"
    )
    assert without_our_calls(said) == (
        "12:00 [1] LOG:  redo starts at 0/16EF4D8\n12:00 [1] FATAL:  checkpoint request failed\n"
    )


def test_the_chatter_of_initdb_is_left_out():
    said = (
        "The default text search configuration will be set to english.\n\n"
        "running bootstrap script ... 16:10 UTC [6814] FATAL:  could not write to file: No space left on device\n"
        "initdb: removing contents of data directory"
    )
    assert reasons(said) == (
        "running bootstrap script ... 16:10 UTC [6814] FATAL:  could not write to file: No space left on device"
    )
    assert reasons("killed") == "killed"


async def _refused(home: Path) -> str:
    with pytest.raises(EngineError) as refused:
        async with embedded(home):
            pass
    return str(refused.value)


async def test_a_directory_that_others_may_see_and_a_damaged_one(home: Path):
    async with embedded(home) as engine:
        directory = engine.data_directory
    directory.chmod(0o755)
    assert f"chmod 700 {directory} {directory}/server.log says: " in await _refused(home)
    directory.chmod(0o700)
    control = directory / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(b"")
    assert f"Files in {directory} are damaged. " in await _refused(home)
    control.write_bytes(content)
    async with embedded(home):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_file_of_another_account(home: Path):
    async with embedded(home) as engine:
        control = engine.data_directory / "global" / "pg_control"
    owner = control.stat()
    os.chown(control, 0, 0)
    account = pwd.getpwuid(owner.st_uid).pw_name
    assert f"chown -R {account} {engine.data_directory}" in await _refused(home)
    os.chown(control, owner.st_uid, owner.st_gid)
    async with embedded(home):
        pass
