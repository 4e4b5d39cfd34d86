"""A seed is a schedule: what a round found can be run again."""

from __future__ import annotations

from random import Random

from projections.fault_points import FaultPoint, read_faults
from tests.chaos.schedule import ALONE, COLD, HOT, TOOLS, Pace, schedule_of, tool_faults

PACE = Pace(process_seconds=1, wire_seconds=1, server_seconds=1, chance=0.01)


def test_one_seed_gives_one_schedule() -> None:
    assert schedule_of("7", 2, PACE) == schedule_of("7", 2, PACE)
    assert schedule_of("7", 2, PACE) != schedule_of("8", 2, PACE)


def test_every_fault_point_can_be_drawn_and_what_is_drawn_can_be_armed() -> None:
    points = {*HOT, *COLD, *(point for points in TOOLS.values() for point in points), *ALONE, "clock.read"}
    assert points == set(FaultPoint)
    for seed in range(50):
        for faults in schedule_of(str(seed), 2, PACE).faults:
            assert len(read_faults(faults)) >= 14
    for tool in TOOLS:
        assert read_faults(tool_faults(Random(1), tool))


def test_everything_that_can_break_is_drawn() -> None:
    whats = {one.what for breaks in schedule_of("7", 2, PACE).breaks for one in breaks}
    assert whats == {
        "kill web",
        "kill project",
        "rebuild",
        "migrate",
        "cut",
        "cut in copy",
        "hold up",
        "server",
        "backend",
    }
