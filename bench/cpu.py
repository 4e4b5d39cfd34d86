"""CPU time of this process, of commands that it ran, and of a database server, read from Linux's /proc.

Wall time says little on a machine that others use at the same time; CPU time says what a piece of work costs.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(msgspec.Struct, frozen=True):
    """Seconds of CPU: of this process and the commands it waited for, and of the server with all its processes."""

    client: float
    server: float

    def since(self, before: Cpu) -> Cpu:
        """What was spent after ``before``."""
        return Cpu(self.client - before.client, self.server - before.server)


def cpu(server_pid: int) -> Cpu:
    """The time spent so far; ``server_pid`` is the server's first process, whose children did the work."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    ticks, children = 0, None
    # A process that ends meanwhile would be counted twice or not at all, with all that it ever did.
    while children != (now := _children(server_pid)):
        children = now
        ticks = sum(_ticks(pid) for pid in (server_pid, *children))
    return Cpu(sum(one.ru_utime + one.ru_stime for one in used), ticks / TICKS)


def parent_of(pid: int) -> int:
    """The process that started it."""
    return int(_stat(pid)[1])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ticks(pid: int) -> int:
    """Its own time, and that of children that have ended; 0 when it has just ended itself, and its parent counts it."""
    try:
        return sum(map(int, _stat(pid)[11:15]))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _stat(pid: int) -> list[str]:
    """The fields of its stat file after its name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
