"""PostgreSQL's own programs for copies, run as whoever runs Taximeter."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from app.engine.account import Account, run
from app.engine.problems import EngineError

LINES_QUOTED = 6
"""The programs say the reason in one line, with a detail and a hint after it."""


async def run_program(
    programs: Path, name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> str:
    """Run one of the programs in a directory to its end and return what it said.

    Raises ``EngineError`` with the end of what it said when it is missing or fails.
    """
    program = programs / name
    if not program.is_file():
        raise EngineError(f"{programs} has no {name}; install PostgreSQL's client programs there.")
    account = Account(os.geteuid(), os.getegid(), "you", switch=False)
    status, output = await run([program, *arguments], account, more=environment)
    if status != 0:
        said = " / ".join(output.splitlines()[-LINES_QUOTED:]) or "it said nothing"
        raise EngineError(f"{name} failed (status {status}): {said}")
    return output


def without_password(url: str) -> tuple[str, Mapping[str, str]]:
    """An address without its password, and the environment that has it: arguments are for all accounts to see."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    user, _, place = parts.netloc.rpartition("@")
    bare = parts._replace(netloc=f"{user.partition(':')[0]}@{place}")
    return urlunsplit(bare), {"PGPASSWORD": unquote(parts.password)}
