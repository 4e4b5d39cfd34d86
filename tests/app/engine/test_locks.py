"""File locks: shared, exclusive, inherited, dropped by the kernel."""

import asyncio
import fcntl
import subprocess
from pathlib import Path

import pytest

from app.engine.locks import FileLock, holding
from app.engine.problems import EngineError


def test_shared_holders_exclude_an_exclusive_one(tmp_path: Path):
    one, two = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.try_shared()
    assert two.try_shared()
    assert not one.try_exclusive()
    two.close()
    assert one.try_exclusive()
    three = FileLock(tmp_path / "lock")
    assert not three.try_shared()
    one.close()
    assert three.try_shared()
    three.close()
    three.close()


def test_a_child_keeps_an_inherited_lock_until_it_dies(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")
    assert lock.try_exclusive()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]) as child:
        lock.close()
        other = FileLock(tmp_path / "lock")
        assert not other.try_exclusive()
        child.kill()
        child.wait()
    assert other.try_exclusive()
    other.close()


def test_other_children_do_not_inherit_a_lock(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")
    assert lock.try_exclusive()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lock.close()
        other = FileLock(tmp_path / "lock")
        assert other.try_exclusive()
    other.close()


async def test_holding_waits_without_blocking_the_loop(tmp_path: Path):
    order: list[str] = []

    async def second() -> None:
        async with holding(tmp_path / "lock"):
            order.append("second")

    async with holding(tmp_path / "lock"):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


def test_a_lock_file_that_cannot_be_opened(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match="cannot be opened"):
        FileLock(tmp_path / "link")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(37, "No locks available")

    lock = FileLock(tmp_path / "lock")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(EngineError, match="cannot be locked: No locks available"):
        lock.try_exclusive()
    lock.close()
