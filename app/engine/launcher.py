"""Run the embedded server, shared by every process that uses the same home, and stop it with the last one.

Three locks in the home carry the whole protocol, because the kernel keeps them right whatever is killed:
`start.lock` is held while a process joins or leaves; `users.lock` is held shared by every user, so that the
one who can take it alone is the last; `run.lock` is inherited by the server, so that it is free exactly when
no server process lives.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path

from app.engine.binaries import find_binaries
from app.engine.cluster import Cluster, create, locate
from app.engine.copies import usable
from app.engine.locks import FileLock, holding
from app.engine.problems import EngineError
from app.engine.server import ensure_database, start, stop, wait_for_server
from app.engine.sockets import dsn

__all__ = ["Engine", "EngineError", "data_home", "embedded"]

DATABASE = "taximeter"
"""The application's database."""
ROOT_HOME = Path("/var/lib/taximeter")
"""Where root keeps the data: the place for the state of a system service."""


@dataclass(frozen=True)
class Engine:
    """A running embedded server: the DSN of its superuser on the database `taximeter`, and where it lives."""

    dsn: str
    data_directory: Path
    version: int
    socket_directory: Path

    def dsn_for(self, database: str, user: str = "postgres") -> str:
        """Return the DSN of another database or user on the same server."""
        return dsn(self.socket_directory, database, user)


def data_home() -> Path:
    """Return the directory for data by convention: XDG for a user, /var/lib/taximeter for root."""
    if os.geteuid() == 0:
        return ROOT_HOME
    configured = Path(os.environ.get("XDG_DATA_HOME", ""))
    # The XDG specification says to ignore a relative path.
    if configured.is_absolute():
        return configured / "taximeter"
    try:
        return Path.home() / ".local" / "share" / "taximeter"
    except RuntimeError as error:
        raise EngineError("This account has no home directory; set XDG_DATA_HOME.") from error


@contextlib.asynccontextmanager
async def embedded(home: Path) -> AsyncIterator[Engine]:
    """Join the server of `home` (starting it when needed); leave it at the end, the last one stops it.

    `home` is made when missing. Any number of processes and tasks may be inside at once. A process that is
    killed has left. EngineError tells why the server cannot be run.
    """
    home = _prepared(home)
    users = FileLock(home / "users.lock")
    try:
        async with holding(home / "start.lock"):
            binaries = await asyncio.to_thread(find_binaries)
            cluster = await locate(home, binaries)
            if not users.try_shared():
                # Only a leaving process takes this lock alone, and it gives it up before the start lock.
                raise EngineError(f"{home / 'users.lock'} is held by a process that is not Taximeter.")
            try:
                engine = await _joined(cluster)
            except BaseException:
                await _uninterrupted(_stop_if_last(cluster, users))
                raise
        try:
            yield engine
        finally:
            await _uninterrupted(_leave(cluster, users))
    finally:
        users.close()


def _prepared(home: Path) -> Path:
    """Make the home when it is missing, and return it without links, as every process must name it alike."""
    try:
        # Other accounts may pass through to the server's own directory, but not look around.
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        return home.resolve(strict=True)
    except OSError as error:
        raise EngineError(f"The directory {home} cannot be used: {error.strerror}.") from error


async def _joined(cluster: Cluster) -> Engine:
    """Attach to the living server or start one. The caller holds the start lock."""
    run_lock = FileLock(cluster.home / "run.lock")
    try:
        socket_directory = await wait_for_server(cluster, run_lock)
        if socket_directory is None:
            programs = await usable(cluster.binaries, cluster.account, [cluster.home, ROOT_HOME])
            cluster = replace(cluster, binaries=programs)
            await create(cluster, run_lock.fileno())
            socket_directory = await start(cluster, run_lock)
    finally:
        # The server keeps its inherited copy.
        run_lock.close()
    await ensure_database(socket_directory, DATABASE)
    return Engine(dsn(socket_directory, DATABASE), cluster.directory, cluster.binaries.major, socket_directory)


async def _leave(cluster: Cluster, users: FileLock) -> None:
    async with holding(cluster.home / "start.lock"):
        await _stop_if_last(cluster, users)


async def _stop_if_last(cluster: Cluster, users: FileLock) -> None:
    """Give up the share, and stop the server if it was the last. The caller holds the start lock."""
    try:
        if users.try_exclusive():
            await stop(cluster)
    finally:
        # Before the start lock is given up, or the next one to join could not take its share.
        users.close()


async def _uninterrupted(work: Coroutine[None, None, None]) -> None:
    """Finish `work` even when the caller is cancelled again meanwhile; a half stopped server helps nobody."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and not task.cancelled():
        task.result()
        raise cancelled
    task.result()
