"""The server's processes: which of the living ones are ours, and what their pid file says."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
"""Process information on Linux; elsewhere the pid file is all there is."""
OPENED = "/proc/self/fd"
"""Below this name a process on Linux can use its opened directories, whatever lies above them."""


def has_proc() -> bool:
    """Tell whether this system shows its processes as files, as Linux does."""
    return Path(OPENED).is_dir()


@dataclass(frozen=True)
class PidFile:
    """What `postmaster.pid` tells: the process and the directory of its socket (None: not written yet)."""

    pid: int
    socket_directory: Path | None


def pid_file(data_directory: Path) -> PidFile | None:
    """Read `postmaster.pid`; None when it is missing or still incomplete. It may be stale."""
    try:
        lines = (data_directory / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return None
    if not lines or not lines[0].strip().isdigit():
        return None
    socket_line = lines[4] if len(lines) > 4 else ""
    if socket_line.startswith(OPENED):
        return PidFile(int(lines[0]), data_directory)
    return PidFile(int(lines[0]), Path(socket_line) if socket_line else None)


def marker(data_directory: Path) -> str:
    """Return the word that stands in the command line of every process serving the existing directory.

    It is made of the directory's inode, which is the same under every path and in every container.
    """
    status = data_directory.stat()
    return f"taximeter-{status.st_dev:x}-{status.st_ino:016x}"


def postmaster(data_directory: Path, uid: int) -> int | None:
    """Return the pid of the living postmaster of `data_directory`; None when the pid file is stale."""
    recorded = pid_file(data_directory)
    if recorded is None:
        return None
    if not has_proc():
        return recorded.pid if _exists(recorded.pid) else None
    return recorded.pid if _matches(recorded.pid, uid, marker(data_directory).encode()) else None


def serving(data_directory: Path, uid: int) -> list[int]:
    """Return the pids of all living server processes of `data_directory`; looks at every process once.

    A pid alone proves nothing (after a restart of a container any process may have it), so the program's
    name, its account and its command line are compared. Those are readable without special rights, unlike
    the working directory of another account's process.
    """
    if not data_directory.is_dir():
        return []
    if not has_proc():
        found = postmaster(data_directory, uid)
        return [] if found is None else [found]
    word = marker(data_directory).encode()
    return [int(name) for name in os.listdir(PROC) if name.isdigit() and _matches(int(name), uid, word)]


def foreign_server(data_directory: Path) -> int | None:
    """Return the pid of a server on `data_directory` that was started by hand, if this can be seen."""
    recorded = pid_file(data_directory)
    if recorded is None:
        return None
    with contextlib.suppress(OSError):
        entry = PROC / str(recorded.pid)
        if (entry / "comm").read_text().strip() == "postgres" and (entry / "cwd").samefile(data_directory):
            return recorded.pid
    return None


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to the processes that still exist."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _matches(pid: int, uid: int, word: bytes) -> bool:
    entry = PROC / str(pid)
    with contextlib.suppress(OSError):
        return (
            entry.stat().st_uid == uid
            and (entry / "comm").read_text().strip() == "postgres"
            and word in (entry / "cmdline").read_bytes()
        )
    return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
