"""The operating system account that the server runs under, and running programs as that account."""

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.engine.problems import EngineError

SERVER_ACCOUNTS = ("postgres", "nobody")
"""Existing accounts without rights that can run the server for root, the more fitting first."""
_ENVIRONMENT_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Account:
    """An account by number; `switch` tells that this process is root and has to become it in the child."""

    uid: int
    gid: int
    name: str
    switch: bool

    def take(self, path: Path) -> None:
        """Make the account the owner of `path` (only root can, and only root needs to)."""
        if self.switch:
            os.chown(path, self.uid, self.gid)


def server_account(data_directory: Path) -> Account:
    """Return the account for the server of `data_directory`, which need not exist yet.

    An ordinary user runs the server. PostgreSQL refuses to run as root, so root gives it to the owner of the
    existing directory, else to the first of SERVER_ACCOUNTS. EngineError when neither is possible.
    """
    owner = _owner(data_directory)
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise EngineError(
                f"The data directory {data_directory} belongs to the account {_name(owner.st_uid)}; "
                f"run Taximeter as that account or as root."
            )
        return Account(os.geteuid(), os.getegid(), _name(os.geteuid()), switch=False)
    if owner is not None:
        if owner.st_uid == 0:
            raise EngineError(
                f"The data directory {data_directory} belongs to root, as which PostgreSQL refuses to run. "
                f"Give it to another account: chown -R postgres {data_directory}"
            )
        return Account(owner.st_uid, owner.st_gid, _name(owner.st_uid), switch=True)
    for name in SERVER_ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid, name, switch=True)
    raise EngineError(
        "PostgreSQL refuses to run as root, and this machine has neither an account `postgres` nor `nobody`. "
        "Create one (useradd --system postgres) or run Taximeter as an ordinary user."
    )


def spawn(
    command: Sequence[str | Path],
    account: Account,
    *,
    output: int | IO[bytes],
    pass_fds: Sequence[int] = (),
    more: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program as `account` in its own process session; EngineError when it cannot be started.

    Its own session keeps Ctrl-C at the terminal away from it. The environment is almost empty: PG* variables
    would change the server, and secrets of the application have no business in its environment; what a program
    needs of them is in `more`. The working directory is the root, which every account can enter.
    This blocks for the milliseconds of a fork; in a thread, a cancellation would lose the child.
    """
    kept = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
    try:
        return subprocess.Popen(
            list(command),
            cwd="/",
            env={"PATH": os.defpath, **kept, **(more or {}), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            user=account.uid if account.switch else None,
            group=account.gid if account.switch else None,
            extra_groups=[] if account.switch else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"{command[0]} cannot be started as {account.name}: {error}.") from error


async def run(
    command: Sequence[str | Path],
    account: Account,
    *,
    pass_fds: Sequence[int] = (),
    more: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a program to its end as `account`, with `more` environment; return its exit status and its output.

    On cancellation the program and all its children are killed first.
    """
    process = spawn(command, account, output=subprocess.PIPE, pass_fds=pass_fds, more=more)
    # communicate() in a thread: asyncio's own subprocesses cannot change the account under uvloop.
    reading = asyncio.ensure_future(asyncio.to_thread(process.communicate))
    try:
        output, _ = await asyncio.shield(reading)
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await reading
        raise
    return process.returncode, output.decode(errors="replace").strip()


async def allows(account: Account, script: str, *arguments: Path) -> bool:
    """Tell whether a shell script succeeds as `account`; `$1` and so on are the arguments.

    Asking the kernel as that account is the one answer that is right for groups, ACLs and mount options.
    """
    status, _ = await run(["/bin/sh", "-c", script, "sh", *arguments], account)
    return status == 0


def _owner(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}.") from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
