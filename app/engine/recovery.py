"""Bringing a copied data directory forward by its WAL archive, beside the home that it is for.

The work is done in a side directory of the home, which is renamed at the end: a killed restore never looks finished.
"""

import asyncio
import contextlib
import errno
import os
import re
import shlex
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from app.engine.account import Account, allows
from app.engine.binaries import Binaries
from app.engine.cluster import Cluster, locate
from app.engine.copies import usable
from app.engine.durable import sync_directory
from app.engine.launcher import DATABASE, ROOT_HOME, uninterrupted
from app.engine.locks import FileLock
from app.engine.problems import EngineError
from app.engine.server import start, stop
from app.engine.sockets import dsn
from app.lost_database import LOST

SIDE_PREFIX = "restoring-"
POLL_SECONDS = 0.2
"""How often a recovering server is asked how far it is."""
UNBOUNDED_SECONDS = float("inf")
"""How long an archive takes to be read depends on its size; a person who waits sees how far it is."""

_NOT_COPIED = shutil.ignore_patterns("server.log", "server.log.1", "postmaster.opts")
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (\S+ \S+)")
_UNREAD = re.compile(r'FATAL:  could not restore file "(\w+)" from archive')
_NOTHING = "Nothing was restored."
_PROGRESS = "SELECT pg_is_in_recovery() AS busy, pg_last_xact_replay_timestamp() AS replayed"


Report = Callable[[datetime], None]
"""Called with the time of the last commit that was recovered."""


@dataclass(frozen=True)
class Recovered:
    """A recovered server that runs: its DSN, and the data directory that becomes the home's."""

    dsn: str
    cluster: Cluster


def clear_sides(home: Path) -> None:
    """Remove what killed restores left; the caller holds the start lock."""
    for left in home.glob(f"{SIDE_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def move_into_place(directory: Path, home: Path) -> Path:
    """Give a data directory of a stopped server, with its side directory, to the home."""
    target = home / directory.name
    directory.rename(target)
    sync_directory(home)
    shutil.rmtree(directory.parent, ignore_errors=True)
    return target


def side_of(home: Path) -> Path:
    """A fresh side directory that other accounts may pass through, as the home.

    It blocks for the moment of a mkdir: in a thread, a cancellation would lose the name of what it made.
    """
    side = Path(tempfile.mkdtemp(prefix=SIDE_PREFIX, dir=home))
    side.chmod(0o711)
    return side


@contextlib.asynccontextmanager
async def recovered(
    base: Path, home: Path, binaries: Binaries, archive: Path | None, target: Mapping[str, str], report: Report
) -> AsyncIterator[Recovered]:
    """A server on a copy of `base`, brought forward to the `target` (settings of PostgreSQL; empty: to the end).

    It is stopped after the block, and its directory stays. EngineError, with nothing left, when it cannot get there.
    """
    side = side_of(home)
    try:
        cluster = await _copied(base, side, binaries)
        settings = await _recovery_settings(cluster.account, archive, target)
        try:
            async with _running(cluster, settings) as socket_directory:
                await _promoted(cluster, dsn(socket_directory, "postgres"), report)
                yield Recovered(dsn(socket_directory, DATABASE), cluster)
        except EngineError as error:
            raise EngineError(_explained(cluster, str(error))) from error
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, side, ignore_errors=True)
        raise


@contextlib.asynccontextmanager
async def _running(cluster: Cluster, settings: Mapping[str, str]) -> AsyncIterator[Path]:
    """The server of a cluster that nobody else knows, stopped after the block."""
    run_lock = FileLock(cluster.home / "run.lock")
    try:
        try:
            if not run_lock.try_exclusive():
                raise EngineError(f"{cluster.home / 'run.lock'} is held by another process.")
            socket_directory = await start(cluster, run_lock, settings, UNBOUNDED_SECONDS)
        finally:
            # The server keeps its inherited copy.
            run_lock.close()
        yield socket_directory
    finally:
        await uninterrupted(stop(cluster))


async def _copied(base: Path, side: Path, binaries: Binaries) -> Cluster:
    cluster = await locate(side, binaries)
    programs = await usable(binaries, cluster.account, [side.parent, ROOT_HOME])
    cluster = replace(cluster, binaries=programs)
    given_up = threading.Event()
    copying = asyncio.ensure_future(asyncio.to_thread(_copy, base, cluster, given_up))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        # A thread cannot be cancelled, and what it copies must not outlive the clearing away.
        given_up.set()
        await asyncio.gather(copying, return_exceptions=True)
        raise
    except (OSError, shutil.Error) as error:
        raise EngineError(f"{base} cannot be copied to {side.parent}: {error}.") from error
    return cluster


def _copy(base: Path, cluster: Cluster, given_up: threading.Event) -> None:
    def copy(source: str, target: str) -> str:
        if given_up.is_set():
            raise OSError(errno.ECANCELED, "the copy was given up")
        return shutil.copy2(source, target)

    shutil.copytree(base, cluster.directory, symlinks=True, ignore=_NOT_COPIED, copy_function=copy)
    # Tells the server that it is not itself recovering from a crash: it follows the archive and begins a new timeline.
    (cluster.directory / "recovery.signal").touch(mode=0o600)
    for folder, _, files in os.walk(cluster.directory):
        cluster.account.take(Path(folder))
        for name in files:
            cluster.account.take(Path(folder, name))
    cluster.directory.chmod(0o700)


async def _recovery_settings(account: Account, archive: Path | None, target: Mapping[str, str]) -> dict[str, str]:
    if archive is None:
        # What the backup holds itself is recovered, and nothing is asked for.
        command = "false"
    else:
        if not await allows(account, 'test -d "$1" && test -r "$1" && test -x "$1"', archive):
            raise EngineError(
                f"The WAL archive {archive} is not a directory that the account {account.name} can read, under which "
                "the PostgreSQL server runs. Say where it is now with --wal-archive."
            )
        quoted = shlex.quote(str(archive)).replace("%", "%%")
        # A file that is not there ends the recovery; one that is there and cannot be read must not look the same, and
        # a status above 125 stops the server.
        command = f'test -e {quoted}/%f || exit 1; cp {quoted}/%f "%p" || exit 126'
    return {"restore_command": command, "recovery_target_action": "promote", **target}


async def _promoted(cluster: Cluster, address: str, report: Report) -> None:
    """Wait until the server has reached its target and takes writes."""
    connection: Any = None
    try:
        while True:
            try:
                if connection is None:
                    connection = await asyncpg.connect(address)
                row = await connection.fetchrow(_PROGRESS)
            except (*LOST, asyncpg.PostgresError) as error:
                raise EngineError(f"The PostgreSQL server ended while it recovered; see {cluster.log}.") from error
            if not row["busy"]:
                return
            if row["replayed"] is not None:
                report(row["replayed"])
            await asyncio.sleep(POLL_SECONDS)
    finally:
        if connection is not None:
            await connection.close()


def _explained(cluster: Cluster, error: str) -> str:
    """What went wrong, in the words of somebody who restores."""
    try:
        log = cluster.log.read_text(errors="replace")
    except OSError:
        return error
    if "recovery ended before configured recovery target was reached" in log:
        last = _LAST_COMMIT.findall(log)
        until = f"its last commit is of {last[-1].removesuffix('+00')} UTC" if last else "it holds no later commit"
        return (
            f"The WAL archive ends before the moment that was asked for: {until}. Ask for an earlier one, or leave "
            f"the moment away to restore all there is. {_NOTHING}"
        )
    if (unread := _UNREAD.search(log)) is not None:
        return (
            f"The file {unread[1]} of the WAL archive is there, but {cluster.account.name} cannot read it. {_NOTHING}"
        )
    if "requested recovery stop point is before consistent recovery point" in log:
        return f"That moment is before the end of this backup; take an older one. {_NOTHING}"
    return f"{error} {_NOTHING}"
