"""Homes for embedded servers, and processes that use them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.engine.processes import serving

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class User:
    """A process inside `embedded`."""

    process: asyncio.subprocess.Process
    dsn: str
    uid: int

    async def leave(self) -> int:
        """End its input, and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()

    async def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        await self.process.wait()


def _kill_servers(home: Path) -> None:
    for directory in home.glob("pg*"):
        if (directory / "PG_VERSION").exists():
            for pid in serving(directory, directory.stat().st_uid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that does not exist yet, below a directory closed to every other account (0700)."""
    # Not tmp_path: its long names would move every socket to a short directory.
    parent = Path(tempfile.mkdtemp(prefix="engine-"))
    yield parent / "home"
    for directory in (parent, *parent.glob("**/home")):
        _kill_servers(directory)
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def open_home(home: Path) -> Path:
    """A home below a directory that every account may enter and, as in /tmp, make files in."""
    home.parent.chmod(0o1777)
    return home


@pytest.fixture
async def spawn_user() -> AsyncIterator[Callable[..., Awaitable[asyncio.subprocess.Process]]]:
    """Start processes that use a home, without waiting for them; kills what is left of them at the end."""
    started: list[asyncio.subprocess.Process] = []

    async def spawn(home: Path, *options: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("user_process.py")),
            str(home),
            *options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )
        started.append(process)
        return process

    yield spawn
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
def enter(
    spawn_user: Callable[..., Awaitable[asyncio.subprocess.Process]],
) -> Callable[..., Awaitable[User]]:
    """Start processes that use a home, and wait until they are inside."""

    async def entered(home: Path, *options: str) -> User:
        process = await spawn_user(home, *options)
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert line, "the process ended before it was inside"
        told = json.loads(line)
        return User(process, told["dsn"], told["uid"])

    return entered
