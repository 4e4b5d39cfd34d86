"""What came of a round: how much was broken, how soon it served again, and what the checker said."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.check import Verdict


@dataclass
class Outcome:
    """What a round did and found."""

    seed: str
    forked: bool
    seconds: float = 0.0
    killed: dict[str, int] = field(default_factory=dict[str, int])
    ended_with_an_error: int = 0
    killed_tools: int = 0
    killed_servers: int = 0
    killed_backends: int = 0
    filled_disks: int = 0
    cuts: int = 0
    cuts_in_copy: int = 0
    held_up: int = 0
    fault_points: dict[str, int] = field(default_factory=dict[str, int])
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    back_seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    longest_outage: float = 0.0
    estimates: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    broken: list[str] = field(default_factory=list[str])
