"""Where the server's socket is, and the connection string that names it."""

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

from app.engine.account import allows
from app.engine.cluster import Cluster
from app.engine.problems import EngineError
from app.engine.settings import PORT

LONGEST_SOCKET_DIRECTORY = 85
"""Bytes: the kernel gives a socket's path 104 to 108 bytes, the file name takes 15, the rest is safety."""
SOCKET_FILES = (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock")
"""The files that the server makes in its socket directory."""

# Connection strings and the server's own list of directories give commas and spaces a meaning.
_PLAIN_PATH = re.compile(r"[\w/.+@=-]+", re.ASCII)
_SHORT_PREFIX = "taximeter-"
_SHORT_NAME_BYTES = len("/" + _SHORT_PREFIX) + 8


def dsn(socket_directory: Path, database: str, user: str = "postgres") -> str:
    """Return the connection string of a database on the server whose socket is in `socket_directory`."""
    host = quote(str(socket_directory), safe="/")
    return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={PORT}"


async def socket_directory_for(cluster: Cluster) -> Path:
    """Return the data directory, or a fresh short directory where its path cannot carry a socket.

    The short one belongs to the server's account and is closed to others, like the data directory. Its random
    name cannot be taken in advance; other processes learn it from the pid file. EngineError when no temporary
    directory will do.
    """
    if _carries_socket(str(cluster.directory), 0):
        return cluster.directory
    for base in _temporary_bases():
        if not _carries_socket(str(base), _SHORT_NAME_BYTES):
            continue
        if cluster.account.switch and not await allows(cluster.account, 'test -x "$1"', base):
            continue
        with contextlib.suppress(OSError):
            made = Path(tempfile.mkdtemp(prefix=_SHORT_PREFIX, dir=base))
            cluster.account.take(made)
            return made
    raise EngineError(f"No temporary directory can take the socket of {cluster.directory}, whose path is too long.")


def remove_short_directory(directory: Path, cluster: Cluster) -> None:
    """Remove a directory made by `socket_directory_for`; anything else that a pid file may name stays."""
    with contextlib.suppress(OSError):
        status = directory.lstat()
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == cluster.account.uid
        if ours and directory.name.startswith(_SHORT_PREFIX) and directory.parent in _temporary_bases():
            for name in SOCKET_FILES:
                (directory / name).unlink(missing_ok=True)
            directory.rmdir()


def _carries_socket(path: str, more: int) -> bool:
    short = len(os.fsencode(path)) + more <= LONGEST_SOCKET_DIRECTORY
    return short and _PLAIN_PATH.fullmatch(path) is not None


def _temporary_bases() -> list[Path]:
    return [Path(base).resolve() for base in (tempfile.gettempdir(), "/tmp", "/var/tmp")]
