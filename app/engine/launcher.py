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
from app.engine.cluster import Cluster, create, locate, major_of, prepared
from app.engine.copies import usable
from app.engine.locks import FileLock, holding
from app.engine.problems import EngineError
from app.engine.server import ensure_database, start, stop, wait_for_server
from app.engine.sockets import dsn

__all__ = ["Engine", "EngineError", "data_home", "embedded", "revive"]

DATABASE = "taximeter"
"""The application's database."""
ROOT_HOME = Path("/var/lib/taximeter")
"""Where root keeps the data: the place for the state of a system service."""


@dataclass(frozen=True)
class Engine:
    """A running embedded server: the DSN of its superuser on the database `taximeter`, and where it lives.

    `programs` is the directory of PostgreSQL's programs of this version.
    """

    dsn: str
    data_directory: Path
    version: int
    socket_directory: Path
    programs: Path

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
    home = prepared(home)
    users = FileLock(home / "users.lock")
    try:
        async with holding(home / "start.lock"):
            binaries = await asyncio.to_thread(find_binaries, major_of(home))
            cluster = await locate(home, binaries)
            if not users.try_shared():
                # Only a leaving process takes this lock alone, and it gives it up before the start lock.
                raise EngineError(f"{home / 'users.lock'} is held by a process that is not Taximeter.")
            try:
                engine = await _joined(cluster)
            except BaseException:
                await uninterrupted(_stop_if_last(cluster, users))
                raise
        try:
            yield engine
        finally:
            await uninterrupted(_leave(cluster, users))
    finally:
        users.close()


async def revive(home: Path) -> Engine:
    """Start the server of `home` again when it has died while its users are inside; a living one is only joined.

    For who is inside of `embedded`. The DSN may be another one than before. EngineError when it cannot be run.
    """
    home = prepared(home)
    async with holding(home / "start.lock"):
        binaries = await asyncio.to_thread(find_binaries, major_of(home))
        return await _joined(await locate(home, binaries))


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
    return Engine(
        dsn(socket_directory, DATABASE),
        cluster.directory,
        cluster.binaries.major,
        socket_directory,
        cluster.binaries.directory,
    )


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


async def uninterrupted(work: Coroutine[None, None, None]) -> None:
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
