"""Start the server process, wait for it, stop it."""

import asyncio
import contextlib
import enum
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from app.engine.account import spawn
from app.engine.archive import archive_settings
from app.engine.cluster import Cluster, named
from app.engine.locks import POLL_SECONDS, FileLock
from app.engine.problems import EngineError, advice, without_our_calls
from app.engine.processes import foreign_server, marker, pid_file, postmaster, send, serving
from app.engine.settings import server_settings
from app.engine.sockets import SOCKET_FILES, dsn, remove_short_directory, socket_directory_for

RECOVERY_SECONDS = 900.0
"""Replaying 4 GB of WAL after a crash takes minutes on a slow disk; nothing useful takes longer."""
SILENCE_SECONDS = 60.0
"""A living server accepts connections, if only to say that it is starting, long before this."""
ORPHAN_SECONDS = 3.0
"""Processes whose postmaster was killed end by themselves within this time, or they are busy and told to."""
FAST_SECONDS = 120.0
"""A fast shutdown rolls back and writes a checkpoint: at worst all of shared_buffers to a slow disk."""
IMMEDIATE_SECONDS = 15.0
"""An immediate shutdown writes nothing and kills its stragglers after 5 seconds."""
CONNECT_SECONDS = 5
"""A connection over a socket is made in milliseconds, or the machine is very busy."""
LOG_LIMIT = 10 * 1024 * 1024
"""Bytes of the log file above which the next start puts it aside as `server.log.1`."""
LOG_TAIL = 2000
"""Characters of the log that an error message quotes."""


class _Answer(enum.Enum):
    READY = "accepts connections"
    BUSY = "lives but does not become ready"
    SILENT = "lives but does not answer"


class _Patience:
    """How long a server that is not ready is waited for; begins now."""

    def __init__(self, seconds: float = RECOVERY_SECONDS) -> None:
        self._seconds = seconds
        self._began = self._heard = self._nudged = time.monotonic()

    def is_over(self, answer: _Answer) -> bool:
        """Take note of an answer; True when the server was silent, or busy, for too long."""
        now = time.monotonic()
        if answer is _Answer.BUSY:
            self._heard = now
        return now - self._heard > SILENCE_SECONDS or now - self._began > self._seconds

    def suspects_orphans(self) -> bool:
        """Tell, once per ORPHAN_SECONDS of silence, that the postmaster may be gone."""
        now = time.monotonic()
        if now - max(self._heard, self._nudged) <= ORPHAN_SECONDS:
            return False
        self._nudged = now
        return True


async def wait_for_server(cluster: Cluster, run_lock: FileLock) -> Path | None:
    """Return the socket directory of the living server once it is ready; None when no server process lives.

    With None the run lock is held. Processes left by a killed postmaster are waited for, and told to quit
    when they are too busy to notice. EngineError when a server lives but stays unusable.
    """
    patience = _Patience()
    while not run_lock.try_exclusive():
        recorded = pid_file(cluster.directory)
        socket_directory = recorded.socket_directory if recorded else None
        answer = _Answer.SILENT if socket_directory is None else await _ask(socket_directory)
        if answer is _Answer.READY:
            return socket_directory
        if patience.is_over(answer):
            raise EngineError(f"A server process of {cluster.directory} {answer.value}; see {cluster.log}.")
        if patience.suspects_orphans():
            await _quit_orphans(cluster)
        await asyncio.sleep(POLL_SECONDS)
    return None


async def start(
    cluster: Cluster,
    run_lock: FileLock,
    more: Mapping[str, str] | None = None,
    seconds: float = RECOVERY_SECONDS,
) -> Path:
    """Start the server, with `more` settings, and return its socket directory once it is ready.

    The caller holds the run lock alone, so no server process lives. EngineError quotes the server's log; it comes
    when the server was not ready after `seconds`, too.
    """
    await _clear_leftovers(cluster)
    settings = await archive_settings(cluster.home, cluster.binaries, cluster.account) | dict(more or {})
    socket_directory = await socket_directory_for(cluster)
    log = _open_log(cluster)
    try:
        quoted_from = os.fstat(log).st_size
        process = _spawn(cluster, socket_directory, log, run_lock, settings)
    finally:
        os.close(log)
    # The server may outlive our interest in it; a thread collects its exit status whenever that comes.
    threading.Thread(target=process.wait, name="postgres", daemon=True).start()
    patience = _Patience(seconds)
    while (answer := await _ask(socket_directory)) is not _Answer.READY:
        if process.poll() is not None:
            remove_short_directory(socket_directory, cluster)
            reason = f"ended at once (status {process.returncode})"
            raise EngineError(f"The PostgreSQL server {reason}. {_quote(cluster, quoted_from)}")
        if patience.is_over(answer):
            raise EngineError(f"The PostgreSQL server {answer.value}. {_quote(cluster, quoted_from)}")
        await asyncio.sleep(POLL_SECONDS)
    return socket_directory


def _spawn(
    cluster: Cluster, socket_directory: Path, log: int, run_lock: FileLock, more: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with named(cluster, cluster.directory) as (name, descriptors):
        socket_name = name if socket_directory == cluster.directory else str(socket_directory)
        command: list[str | Path] = [cluster.binaries.postgres, "-D", name]
        settings = {**server_settings(socket_name, marker(cluster.directory)), **more}
        for setting, value in settings.items():
            command += ["-c", f"{setting}={value}"]
        return spawn(command, cluster.account, output=log, pass_fds=[run_lock.fileno(), *descriptors])


async def stop(cluster: Cluster) -> None:
    """Stop the server and wait until its last process is gone; nothing happens when none lives.

    The caller holds the start lock. EngineError when the server cannot be stopped.
    """
    run_lock = FileLock(cluster.home / "run.lock")
    # Read now: a clean shutdown removes the file.
    recorded = pid_file(cluster.directory)
    try:
        for number, seconds in (
            (signal.SIGINT, FAST_SECONDS),
            (signal.SIGQUIT, IMMEDIATE_SECONDS),
            (signal.SIGKILL, IMMEDIATE_SECONDS),
        ):
            if run_lock.try_exclusive():
                break
            await _signal_server(cluster, number)
            if await _freed(run_lock, seconds):
                break
        else:
            raise EngineError(f"The PostgreSQL server of {cluster.directory} does not stop; see {cluster.log}.")
        await _clear_leftovers(cluster)
        if recorded is not None and recorded.socket_directory is not None:
            remove_short_directory(recorded.socket_directory, cluster)
    finally:
        run_lock.close()


async def ensure_database(socket_directory: Path, database: str) -> None:
    """Create `database` when it is missing; another process may do the same at the same moment."""
    connection = await asyncpg.connect(dsn(socket_directory, "postgres"))
    try:
        if await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database) is None:
            # Nobody can be connected to template0, so a busy template never refuses the copy.
            with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
                await connection.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
    finally:
        await connection.close()


async def _ask(socket_directory: Path) -> _Answer:
    """Try to connect, and tell what the server at `socket_directory` said."""
    try:
        connection = await asyncpg.connect(dsn(socket_directory, "postgres"), timeout=CONNECT_SECONDS)
        await connection.close(timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
        return _Answer.SILENT
    except (asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError):
        # It is starting or stopping, or every connection is taken.
        return _Answer.BUSY
    except asyncpg.PostgresError as error:
        raise EngineError(f"The PostgreSQL server refuses the superuser: {error}.") from error
    return _Answer.READY


async def _signal_server(cluster: Cluster, number: signal.Signals) -> None:
    """Signal the postmaster, or all processes that it left behind."""
    found = postmaster(cluster.directory, cluster.account.uid)
    send([found] if found is not None else await _living(cluster), number)


async def _quit_orphans(cluster: Cluster) -> None:
    """Tell the processes of a killed postmaster to quit; a living postmaster is left alone."""
    if postmaster(cluster.directory, cluster.account.uid) is None:
        send(await _living(cluster), signal.SIGQUIT)


async def _living(cluster: Cluster) -> list[int]:
    # In a thread: a machine with many processes has many files to read.
    return await asyncio.to_thread(serving, cluster.directory, cluster.account.uid)


async def _freed(run_lock: FileLock, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not run_lock.try_exclusive():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


async def _clear_leftovers(cluster: Cluster) -> None:
    """Remove the pid file and the socket of a server that is gone. The caller holds the run lock.

    PostgreSQL itself refuses to start when a stale pid file names any living process, as it often does after
    the restart of a container. The lock knows better, unless somebody deleted the lock file or started a
    server by hand; both show in the processes.
    """
    foreign = foreign_server(cluster.directory)
    strangers = [foreign] if foreign is not None else await _living(cluster)
    if strangers:
        raise EngineError(
            f"The process {strangers[0]} serves {cluster.directory} without holding its lock "
            "(was it started by hand, or was run.lock deleted?); stop it first."
        )
    recorded = pid_file(cluster.directory)
    if recorded is not None and recorded.socket_directory is not None:
        remove_short_directory(recorded.socket_directory, cluster)
    for name in ("postmaster.pid", *SOCKET_FILES):
        (cluster.directory / name).unlink(missing_ok=True)


def _open_log(cluster: Cluster) -> int:
    """Open the log for appending; a large one is put aside first."""
    log = cluster.log
    with contextlib.suppress(FileNotFoundError):
        if log.lstat().st_size > LOG_LIMIT:
            log.replace(log.with_name("server.log.1"))
    # Root opens a file in another account's directory here, so it must be that plain file and no link.
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise EngineError(f"The log {log} cannot be opened: {error.strerror}.") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise EngineError(f"{log} is not a plain file; move it away.")
    if cluster.account.switch:
        os.fchown(descriptor, cluster.account.uid, cluster.account.gid)
    return descriptor


def _quote(cluster: Cluster, start: int) -> str:
    """Return what to do about what the server logged since `start`, and the last LOG_TAIL bytes of that."""
    with contextlib.suppress(OSError), cluster.log.open("rb") as file:
        file.seek(start)
        said = without_our_calls(file.read().decode(errors="replace")).strip()
        todo = advice(said, cluster.directory, cluster.account.name)
        return f"{todo}{cluster.log} says: {said[-LOG_TAIL:]}"
    return f"See {cluster.log}."
