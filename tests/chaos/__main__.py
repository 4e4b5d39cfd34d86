"""Rounds of chaos, one seed each: ``python -m tests.chaos --rounds 3 --seconds 60 --kinds forked``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.outcome import Outcome
from tests.chaos.round import SERVING_AGAIN_SECONDS, STORM_SECONDS, Plan, run_round
from tests.chaos.schedule import FULL_DISKS, Pace, schedule_of

KINDS: dict[str, Pace] = {
    "forked": Pace(process_seconds=0.8, wire_seconds=0.6, server_seconds=4.0, chance=0.004),
    "supervised": Pace(process_seconds=1.0, wire_seconds=2.0, server_seconds=4.0, chance=0.0002),
    "full disk": Pace(
        process_seconds=3.0, wire_seconds=3.0, server_seconds=8.0, chance=0.0005, server_breaks=FULL_DISKS
    ),
}
"""Forked children are back in a moment, so they are killed without end. The real supervisor's need seconds to start: of
those, one thing breaks at a time."""


def main() -> int:
    """Run the rounds and write what they did; the exit status is 1 when anything was broken."""
    parser = argparse.ArgumentParser(description="Break a running Taximeter in every way, and check what is left.")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of rounds; all of them")
    parser.add_argument("--rounds", type=int, default=1, help="of each kind")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each round, while things break")
    parser.add_argument("--seed", default="", help="of the first round; the others count on from it")
    parser.add_argument("--out", type=Path, help="a file for what was done, one JSON object a round")
    flags = parser.parse_args()
    seed = flags.seed or str(int(time.time()))
    broken = False
    for kind in flags.kinds:
        if kind == "full disk" and os.geteuid() != 0:
            print("SKIPPED: rounds with a full disk, for which root has to mount a small one. NOT TESTED.", flush=True)
            continue
        for number in range(flags.rounds):
            broken |= _one(kind, f"{seed}.{number}", flags)
    return 1 if broken else 0


def _one(kind: str, seed: str, flags: argparse.Namespace) -> bool:
    """Run a round and tell; whether anything was broken."""
    print(f"seed {seed}, {kind}", flush=True)
    forked = kind != "supervised"
    plan = Plan(
        flags.seconds,
        forked=forked,
        one_at_a_time=not forked,
        small_disk=kind == "full disk",
        back_seconds_max=STORM_SECONDS if forked else SERVING_AGAIN_SECONDS,
    )
    outcome = asyncio.run(run_round(schedule_of(seed, 2, KINDS[kind]), plan))
    print(report(outcome), flush=True)
    if flags.out:
        with flags.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **summary(outcome)}) + "\n")
    return bool(outcome.broken or outcome.verdict.broken)


def summary(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON members; of the seconds until it served again, how many, the median and the longest."""
    back = {
        what: {"times": len(found), "median": round(sorted(found)[len(found) // 2], 3), "longest": round(max(found), 3)}
        for what, found in sorted(outcome.back_seconds.items())
    }
    return {**asdict(outcome), "back_seconds": back}


def report(outcome: Outcome) -> str:
    """The outcome for people."""
    members = summary(outcome)
    lines = [
        f"seed {outcome.seed}, {outcome.seconds:.0f} s:"
        f" killed {outcome.killed}, tools {outcome.killed_tools}, servers {outcome.killed_servers},"
        f" backends {outcome.killed_backends}; disks filled {outcome.filled_disks};"
        f" cut {outcome.cuts} ({outcome.cuts_in_copy} in copy),"
        f" held up {outcome.held_up}; children that ended with an error {outcome.ended_with_an_error}",
        f"fault points: {outcome.fault_points}",
        f"the longest that a service was not seen to serve, over however many faults: {outcome.longest_outage:.1f} s",
        f"answers: {outcome.statuses}; estimates that were invoiced: {outcome.estimates}",
    ]
    lines += [f"serving again after '{what}': {figures}" for what, figures in members["back_seconds"].items()]
    return "\n".join([*lines, *outcome.broken, outcome.verdict.text()])


if __name__ == "__main__":
    sys.exit(main())
