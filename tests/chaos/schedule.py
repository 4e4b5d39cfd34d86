"""What breaks in a round, drawn from its seed alone: the same seed gives the same faults in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

HOT = (
    "ingest.window",
    "ingest.answer",
    "append.begin",
    "append.copying",
    "append.keys_copied",
    "append.copied",
    "append.sealed",
    "append.rejected",
    "append.taken",
    "append.committed",
    "doorbell.ring",
    "page.claimed",
    "page.folded",
    "page.advanced",
    "page.committed",
    "command.begin",
    "command.locked",
    "command.appended",
    "command.recorded",
    "command.committed",
    "live.offer",
)
"""Fault points that are passed many times a second."""

COLD = (
    "void.retracted",
    "partition.make",
    "scheduler.tick",
    "projector.listening",
    "close.projected",
    "close.caught_up",
    "close.reckoned",
    "close.numbered",
    "close.burned",
    "close.settled",
    "close.issued",
    "credit.granted",
    "cycle.opened",
    "clock.moved",
    "alert.seen",
    "alert.fired",
    "alert.looked",
    "live.read",
    "sealing.key_made",
)
"""Fault points that are passed now and then."""

TOOLS = {
    "rebuild": (
        "rebuild.created",
        "rebuild.followed",
        "rebuild.compared",
        "rebuild.dropped",
        "rebuild.swapped",
    ),
    "migrate": ("migration.locked", "migration.applied", "partition.make"),
}
"""Commands that are run beside the service, and where they are killed."""

ALONE = ("export.span", "export.written", "import.span", "import.written", "retire.dropped")
"""Fault points of commands that no round runs: their own tests break these."""

JUMPS = (0, 3_600, -3_600, 86_400, -5)
"""Seconds by which the clock of a service is off now and then."""


@dataclass(frozen=True)
class Break:
    """One thing that is done to a run: what, to which service (by its place), after which pause."""

    what: str
    service: int
    pause_seconds: float


@dataclass(frozen=True)
class Schedule:
    """What breaks in a round: armed faults of each service, and lists that are worked through side by side."""

    seed: str
    faults: tuple[str, ...]
    breaks: tuple[tuple[Break, ...], ...]


LENGTH = 4_000
"""Breaks of each list: more than any round has time for."""


PROCESSES = {"kill web": 47, "kill project": 47, "rebuild": 3, "migrate": 3}
"""What happens to the processes of a service, and how often for one another."""

WIRES = {"cut": 48, "cut in copy": 48, "hold up": 4}
"""What happens to the connections of a service."""

SERVERS = {"server": 50, "backend": 50}
"""What happens to PostgreSQL: all of it is killed, or one of its processes, after which it ends the others."""


FULL_DISKS = {"full disk": 1}
"""What happens to PostgreSQL when its data is on a small disk: that is filled, and emptied again."""


@dataclass(frozen=True)
class Pace:
    """How hard a round is: mean pauses between two breaks of each kind, and the chance of a hot fault point.

    Cold ones come ten times as often when they are passed.
    """

    process_seconds: float
    wire_seconds: float
    server_seconds: float
    chance: float
    server_breaks: Mapping[str, float] = field(default_factory=lambda: SERVERS)


def schedule_of(seed: str, services: int, pace: Pace) -> Schedule:
    """The faults of a round."""
    dice = Random(seed)
    faults = tuple(_armed(dice, pace.chance) for _ in range(services))
    lists = [_breaks(dice, PROCESSES, place, pace.process_seconds) for place in range(services)]
    lists += [_breaks(dice, WIRES, place, pace.wire_seconds) for place in range(services)]
    return Schedule(seed, faults, (*lists, _breaks(dice, pace.server_breaks, -1, pace.server_seconds)))


def _breaks(dice: Random, kinds: Mapping[str, float], service: int, seconds: float) -> tuple[Break, ...]:
    drawn = dice.choices(list(kinds), weights=list(kinds.values()), k=LENGTH)
    return tuple(Break(what, service, seconds * dice.uniform(0.3, 1.7)) for what in drawn)


def _armed(dice: Random, chance: float) -> str:
    """Some points of each kind, most of which kill."""
    jump = dice.choice(JUMPS)
    armed = [f"clock.read=jump:{jump}@0.02"] if jump else []
    for points, each in ((dice.sample(HOT, 7), chance), (dice.sample(COLD, 7), 10 * chance)):
        for point in points:
            action = dice.choices(("kill", "raise", "delay:0.3"), weights=(6, 2, 2))[0]
            armed.append(f"{point}={action}@{each:.5f}")
    return ",".join(armed)


def tool_faults(dice: Random, tool: str) -> str:
    """Where a command that runs beside the service is killed."""
    points: Sequence[str] = TOOLS[tool]
    return f"{dice.choice(points)}=kill"
