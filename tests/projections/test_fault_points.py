"""Fault points: what can be armed, what is refused, what happens there, and that nothing happens unarmed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from projections import fault_points
from projections.fault_points import FAULTS, SEED, Action, FaultError, FaultPoint, InjectedFault, arm, halfway, reach

ROOT = Path(__file__).resolve().parents[2]
UNARMED_SECONDS_MAX = 20e-6
"""What passing an unarmed point may cost: many times what it does cost, and a thousandth of any request."""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm({}, "test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("append.comitted=kill", "there is no fault point 'append.comitted'"),
        ("append.committed=explode", "'explode' is nothing that can happen"),
        ("append.committed", "'append.committed' is no fault"),
        ("append.committed=kill@", "is no fault"),
        ("append.committed=kill@1.1", "a chance is above 0 and at most 1"),
        ("append.committed=kill@0", "a chance is above 0 and at most 1"),
        ("append.committed=kill:1", "a delay and a jump have their seconds"),
        ("append.committed=delay", "a delay and a jump have their seconds"),
        ("append.committed=delay:-1", "a delay lasts up to"),
        ("append.committed=delay:601", "a delay lasts up to"),
        ("append.committed=jump:5", "the clock alone can jump"),
        ("clock.read=kill", "the clock alone can jump"),
        ("clock.read=jump:400000000", "a clock jumps by up to"),
        ("append.committed=kill,,page.folded=kil", "'kil' is nothing that can happen"),
    ],
)
def test_what_is_mistyped_is_refused(text: str, said: str) -> None:
    with pytest.raises(FaultError, match=said):
        arm({FAULTS: text}, "test")


@pytest.mark.parametrize("command", ["serve", "migrate", "project", "rebuild"])
def test_a_service_with_a_mistyped_fault_does_not_start(command: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app", command, "--data", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, FAULTS: "append.comitted=kill"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "there is no fault point 'append.comitted'" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_there_are_enough_points_and_their_names_are_theirs_alone() -> None:
    assert len(FaultPoint) >= 25
    assert {point.name for point in FaultPoint} == {point.value.replace(".", "_") for point in FaultPoint}


def test_several_faults_may_be_armed_at_one_point() -> None:
    faults = fault_points.read_faults("page.folded=kill@0.02, page.folded=delay:0.25")
    assert [(one.action, one.milliseconds, one.chance) for one in faults[FaultPoint.page_folded]] == [
        (Action.kill, 0, 20_000),
        (Action.delay, 250, 1_000_000),
    ]


async def test_an_armed_process_says_so_loudly(caplog: pytest.LogCaptureFixture) -> None:
    arm({FAULTS: "append.begin=raise", SEED: "7"}, "web 3")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "FAULTS ARE ARMED in web 3" in record.getMessage()


async def test_unarmed_nothing_happens_and_it_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    arm({}, "test")
    began = time.perf_counter()
    for _ in range(10_000):
        await reach(FaultPoint.append_committed)
    assert (time.perf_counter() - began) / 10_000 < UNARMED_SECONDS_MAX
    assert [piece async for piece in halfway(FaultPoint.append_copying, b"1234")] == [b"1234"]
    assert fault_points.clock_jump() == timedelta()
    assert caplog.records == []


async def test_a_point_raises_and_its_neighbours_do_not() -> None:
    arm({FAULTS: "append.begin=raise"}, "test")
    await reach(FaultPoint.append_committed)
    with pytest.raises(InjectedFault, match=r"append\.begin"):
        await reach(FaultPoint.append_begin)


async def test_a_delay_holds_up_its_task_alone() -> None:
    arm({FAULTS: "append.begin=delay:600"}, "test")
    waiting = asyncio.create_task(reach(FaultPoint.append_begin))
    await asyncio.sleep(0)
    await reach(FaultPoint.append_committed)
    assert not waiting.done()
    waiting.cancel()


async def test_halfway_is_after_half_of_the_bytes() -> None:
    arm({FAULTS: "append.copying=raise"}, "test")
    sent = halfway(FaultPoint.append_copying, b"1234")
    assert await anext(sent) == b"12"
    with pytest.raises(InjectedFault):
        await anext(sent)


def test_a_clock_jumps() -> None:
    arm({FAULTS: "clock.read=jump:-3600"}, "test")
    assert fault_points.clock_jump() == timedelta(hours=-1)


async def rolls(role: str) -> list[bool]:
    """Which of a hundred passings of a point fail."""
    arm({FAULTS: "append.begin=raise@0.3", SEED: "7"}, role)
    failed: list[bool] = []
    for _ in range(100):
        try:
            await reach(FaultPoint.append_begin)
        except InjectedFault:
            failed.append(True)
        else:
            failed.append(False)
    return failed


async def test_one_seed_gives_one_schedule_for_each_role() -> None:
    first = await rolls("web 1")
    assert 10 < sum(first) < 50
    assert first == await rolls("web 1")
    assert first != await rolls("web 2")


def test_a_kill_leaves_nothing_to_clean_up() -> None:
    program = (
        "import asyncio, os\n"
        "from projections.fault_points import FaultPoint, arm, reach\n"
        "arm(os.environ, 'test')\n"
        "try:\n"
        "    asyncio.run(reach(FaultPoint.append_begin))\n"
        "finally:\n"
        "    print('farewell')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, FAULTS: "append.begin=kill"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == ""
    assert "fault at append.begin: kill" in ended.stderr
