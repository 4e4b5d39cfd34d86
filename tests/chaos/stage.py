"""The processes of a run: the database, and services on it, each of which can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from app.engine.launcher import revive
from app.engine.problems import EngineError
from projections.fault_points import FAULTS, SEED

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
"""What a service may take to begin on a machine that is busy with others."""

ROLES = ("web", "project")

Lines = list[str]


@dataclass
class Service:
    """A running service. ``forked`` says that its children come from the nursery, not from the real supervisor."""

    name: str
    process: Process
    forked: bool
    said: Path
    url: str = ""
    pids: dict[int, str] = field(default_factory=dict[int, str])
    killed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 0))
    ended: int = 0

    def kill(self, role: str, dice: Random) -> bool:
        """SIGKILL a child of this role; False when none lives at this moment."""
        found = [pid for pid, its in self._children() if its == role]
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(dice.choice(found), signal.SIGKILL)
            return True
        return False

    def _children(self) -> Iterator[tuple[int, str]]:
        if self.forked:
            yield from list(self.pids.items())
            return
        pid = self.process.pid
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                for role in ROLES:
                    if b"app.child" in words and role.encode() in words:
                        yield int(child), role

    async def follow(self) -> None:
        """Read what the nursery says of births and deaths; it ends with the process."""
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode():
            match line.split():
                case ["born", pid, role]:
                    self.pids[int(pid)] = role
                case ["died", pid, role, status]:
                    self.pids.pop(int(pid), None)
                    self._note_death(role, int(status))
                case _:
                    pass

    def _note_death(self, role: str, status: int) -> None:
        if status == -signal.SIGKILL:
            self.killed[role] += 1
        else:
            self.ended += 1

    def count_deaths(self) -> None:
        """Of the real supervisor: it says on standard error which of its children ended, and how."""
        if self.forked:
            return
        self.killed = dict.fromkeys(ROLES, 0)
        self.ended = 0
        for role, status in re.findall(r"the (\w+) process ended with status (-?\d+)", self.said.read_text()):
            self._note_death(role, int(status))

    def faults(self) -> dict[str, int]:
        """How often each fault point did what it was armed with, as the processes said."""
        found: dict[str, int] = {}
        for point, action in re.findall(r"fault at (\S+): (\w+)", self.said.read_text(errors="replace")):
            key = f"{point} {action}"
            found[key] = found.get(key, 0) + 1
        return found

    async def stop(self) -> None:
        """End it, as a person would; the nursery has nothing to tidy up."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL if self.forked else signal.SIGINT)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def environment(faults: str, seed: str) -> dict[str, str]:
    """The environment of a service; with ``faults`` they are armed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TAXIMETER_")}
    return {**clean, FAULTS: faults, SEED: seed} if faults else clean


@asynccontextmanager
async def forked(
    name: str, dsn: str, rules: dict[str, Any], faults: str, seed: str, home: Path
) -> AsyncIterator[Service]:
    """A service whose children are cheap to kill: one of each role."""
    plan = {
        "dsn": dsn,
        "rules": rules,
        "origins": [],
        "log_format": "text",
        "metrics": False,
        "metrics_token": "",
        "signing_key": str(home / "no-key.pem"),
        "roles": list(ROLES),
    }
    said = home / f"{name}.txt"
    with said.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.nursery"),
            cwd=ROOT,
            env={**environment(faults, f"{seed} {name}"), "CHAOS_PLAN": json.dumps(plan)},
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    service = Service(name, process, True, said)
    async with _running(service, r"serves at (\S+)"):
        yield service


@asynccontextmanager
async def supervised(name: str, arguments: list[str], faults: str, seed: str, home: Path) -> AsyncIterator[Service]:
    """The real ``taximeter serve``, with one web process and one projector."""
    said = home / f"{name}.txt"
    with said.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "serve", "--port", "0", *arguments),
            cwd=ROOT,
            env=environment(faults, f"{seed} {name}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    service = Service(name, process, False, said)
    async with _running(service, r"serves at (\S+)"):
        yield service


@asynccontextmanager
async def _running(service: Service, ready: str) -> AsyncIterator[None]:
    assert service.process.stdout is not None
    following: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(START_SECONDS):
            while not service.url:
                line = (await service.process.stdout.readline()).decode()
                assert line, f"{service.name} ended early: {service.said.read_text()[-2000:]}"
                if found := re.search(ready, line):
                    service.url = found[1]
        following = asyncio.create_task(service.follow())
        yield
    finally:
        await service.stop()
        if following is not None:
            await following
        service.count_deaths()


class Server:
    """The embedded PostgreSQL of a run, as seen by whoever kills it."""

    def __init__(self, home: Path, data: Path) -> None:
        self._home = home
        self._data = data
        self.killed_whole = 0
        self.killed_backends = 0
        self.filled_disks = 0

    def _postmaster(self) -> int | None:
        with suppress(OSError, IndexError, ValueError):
            return int((self._data / "postmaster.pid").read_text().splitlines()[0])
        return None

    def kill_whole(self) -> bool:
        """SIGKILL every process of the server at once, as a power cut would."""
        pid = self._postmaster()
        if pid is None:
            return False
        with suppress(OSError):
            # The first one stops the others from being replaced.
            os.kill(pid, signal.SIGSTOP)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in (pid, *map(int, children)):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            self.killed_whole += 1
            return True
        return False

    def kill_backend(self, dice: Random) -> bool:
        """SIGKILL one process of the server; it then ends all the others and recovers by itself."""
        pid = self._postmaster()
        if pid is None:
            return False
        with suppress(OSError, IndexError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            serving = [one for one in children if any(word in _title(one) for word in (b"idle", b"COPY", b"SELECT"))]
            os.kill(int(dice.choice(serving or children)), signal.SIGKILL)
            self.killed_backends += 1
            return True
        return False

    async def fill_disk(self, seconds: float) -> None:
        """Leave no byte free where the data is, for a while; a server that died of it is started again after that."""
        ballast = self._home / "ballast"
        try:
            await asyncio.to_thread(_fill, ballast)
            self.filled_disks += 1
            await asyncio.sleep(seconds)
        finally:
            ballast.unlink(missing_ok=True)
        await self.start_again()

    async def start_again(self) -> None:
        """What a service manager does with a server that is gone: start it until it runs."""
        while True:
            try:
                await revive(self._home)
                return
            except EngineError:
                await asyncio.sleep(0.2)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)


def _title(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
