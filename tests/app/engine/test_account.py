"""The server's account, and programs run as it."""

import asyncio
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest

from app.engine import account
from app.engine.account import Account, run, server_account, spawn
from app.engine.problems import EngineError

ME = Account(os.geteuid(), os.getegid(), "me", switch=False)


def _owned_by(monkeypatch: pytest.MonkeyPatch, uid: int, gid: int) -> None:
    fields = list(os.stat("/"))
    fields[4:6] = [uid, gid]
    monkeypatch.setattr(account, "_owner", lambda _path: os.stat_result(fields))


def test_a_user_runs_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    chosen = server_account(tmp_path / "pg18")
    assert (chosen.uid, chosen.name, chosen.switch) == (4242, "4242", False)


def test_a_user_is_refused_the_data_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    _owned_by(monkeypatch, 4243, 4243)
    with pytest.raises(EngineError, match="belongs to the account 4243"):
        server_account(tmp_path / "pg18")


def test_root_takes_an_existing_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nobody = pwd.getpwnam("nobody")

    def lookup(name: str) -> pwd.struct_passwd:
        if name == "nobody":
            return nobody
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", lookup)
    assert server_account(tmp_path / "pg18") == Account(nobody.pw_uid, nobody.pw_gid, "nobody", switch=True)


def test_root_keeps_the_account_that_owns_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _owned_by(monkeypatch, 4242, 4243)
    assert server_account(tmp_path / "pg18") == Account(4242, 4243, "4242", switch=True)
    _owned_by(monkeypatch, 0, 0)
    with pytest.raises(EngineError, match="belongs to root"):
        server_account(tmp_path / "pg18")


def test_root_without_any_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(account, "SERVER_ACCOUNTS", ("no-such-account",))
    with pytest.raises(EngineError, match="neither an account `postgres` nor `nobody`"):
        server_account(tmp_path / "pg18")


async def test_the_environment_is_not_passed_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGDATA", "/elsewhere")
    monkeypatch.setenv("SECRET", "key")
    status, output = await run(["/usr/bin/env"], ME)
    assert status == 0
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert "PATH" in names
    assert not names & {"PGDATA", "SECRET"}
    assert "LC_ALL=C" in output.splitlines()


async def test_a_failing_program_gives_its_status_and_words():
    assert await run(["/bin/sh", "-c", "echo no >&2; exit 3"], ME) == (3, "no")


async def test_a_cancelled_program_dies_with_its_children(tmp_path: Path):
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    task = asyncio.create_task(run(["/bin/sh", "-c", f"cat & echo $! > {pids}; wait"], ME))
    child = int(await asyncio.to_thread(pids.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # It has its signal by then; how soon the kernel takes it away is not ours to say.
    async with asyncio.timeout(10):
        while not _is_dead(child):
            await asyncio.sleep(0.01)


def _is_dead(pid: int) -> bool:
    """Tell that the process is gone, or a zombie that nobody has collected yet."""
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_program_that_is_not_there(tmp_path: Path):
    with pytest.raises(EngineError, match="cannot be started as me"):
        spawn([tmp_path / "missing"], ME, output=subprocess.DEVNULL)


def test_a_program_has_its_own_session():
    process = spawn(["/bin/cat", "/dev/zero"], ME, output=subprocess.DEVNULL)
    try:
        assert os.getsid(process.pid) == process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
