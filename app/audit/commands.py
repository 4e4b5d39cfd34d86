"""`taximeter audit ACTION`: what each action is called, its flags, and what runs it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.audit.archive.commands import (
    add_bring_back,
    add_export,
    add_import,
    add_retire,
    run_bring_back,
    run_export,
    run_import,
    run_retire,
)
from app.audit.head_commands import add_key, add_publish, publish, show_key
from app.audit.replaying import add_replay, run_replay
from app.audit.trail_command import add_trail_flags, show_trail
from app.audit.verify_command import add_verify, run_verify

Run = Callable[[Namespace, Mapping[str, str]], Awaitable[int]]
"""Runs an action; the exit status is 0 when all is proved, 1 when something does not fit."""

ACTIONS: dict[str, Run] = {
    "verify": run_verify,
    "publish": publish,
    "key": show_key,
    "replay": run_replay,
    "trail": show_trail,
    "export": run_export,
    "import": run_import,
    "retire": run_retire,
    "bring-back": run_bring_back,
}


def add_audit(sub: Any) -> None:
    """Add the actions and their flags to the command line."""
    audit = sub.add_parser("audit", help="prove what the log says")
    actions = audit.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=ArgumentParser)
    add_verify(actions.add_parser("verify", help="recompute every chain from the stored rows"))
    add_publish(actions.add_parser("publish", help="sign today's heads and add them to a file"))
    add_key(actions.add_parser("key", help="print the public key of the heads; make the pair when there is none"))
    add_replay(actions)
    add_trail_flags(actions.add_parser("trail", help="who changed what, when and from where"))
    add_export(actions)
    add_import(actions)
    add_retire(actions)
    add_bring_back(actions)


async def run_audit(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Run one action; its exit status."""
    return await ACTIONS[flags.action](flags, environment)
