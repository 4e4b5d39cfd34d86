"""`taximeter audit key` and `taximeter audit publish`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from app import settings
from app.audit.heads import append_heads, read_heads
from app.audit.place import database_place
from app.audit.publishing import signed_heads
from app.audit.signing_key import key_path, load_key, make_key, public_text
from app.clock import system_clock
from app.commands import database


def add_key(parser: ArgumentParser) -> None:
    """The flags of ``taximeter audit key``."""
    settings.add_flags(parser, (settings.DATA, settings.SIGNING_KEY))


def add_publish(parser: ArgumentParser) -> None:
    """The flags of ``taximeter audit publish``."""
    parser.add_argument("file", metavar="FILE", type=Path, help="where the signed heads are added, a line each")
    parser.add_argument("--tenant", metavar="ID", help="only this tenant (default: every one)")
    settings.add_flags(parser, (*settings.DATABASE, settings.SIGNING_KEY))


async def show_key(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Print the public key; the pair is made when there is none."""
    path = key_path(flags, environment)
    if path.exists():
        key = load_key(path)
    else:
        key = make_key(path)
        print(f"taximeter: a new signing key is in {path}; whoever has it can sign heads", file=sys.stderr)
    print(public_text(key))
    return 0


async def publish(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Add today's heads to the file, if the chain fits, and fits what the file holds."""
    key, path = load_key(key_path(flags, environment)), flags.file
    published = read_heads(path) if path.exists() else None
    for number, problem in published.problems if published else ():
        print(f"line {number} of {path}: {problem}")
    if published and published.problems:
        print("nothing was published: the file holds what was not published")
        return 1
    async with database(flags, environment, create=False) as dsn, database_place(dsn) as place:
        before = published.heads if published else {}
        heads, misfits = await signed_heads(place.source, key, system_clock(), before, flags.tenant)
    for line in (line for one in misfits for line in one.lines()):
        print(line)
    if heads:
        append_heads(path, heads)
    for head in heads:
        print(f"tenant {head.tenant_id}: position {head.position:,}, digest {head.digest}")
    print(f"{len(heads)} signed with {public_text(key)} and added to {path}; keep it where this machine cannot write")
    return 1 if misfits else 0
