"""A slice of chaos in every run of the tests: a few seconds in which everything breaks, and the whole checker after it.

``make chaos`` runs long rounds; what those found and how long they were is in docs/chaos.md.
"""

from __future__ import annotations

import time

import pytest

from tests.chaos.__main__ import report
from tests.chaos.outcome import Outcome
from tests.chaos.round import STORM_SECONDS, Plan, run_round
from tests.chaos.schedule import Pace, schedule_of

PACE = Pace(process_seconds=0.7, wire_seconds=0.4, server_seconds=4.0, chance=0.004)


def no_quiet_day(outcome: Outcome) -> bool:
    """Whether everything was broken that a service has to bear."""
    servers = outcome.killed_servers + outcome.killed_backends
    return sum(outcome.killed.values()) >= 3 and servers >= 1 and outcome.cuts >= 1


PLAN = Plan(seconds=6.0, forked=True, customers=1, back_seconds_max=STORM_SECONDS, enough=no_quiet_day)
"""A machine that runs other tests beside this one may be slow: that it serves again is asked for and no more. How soon
is asked by ``make chaos``."""


async def test_nothing_is_lost_and_nothing_is_billed_twice(capsys: pytest.CaptureFixture[str]) -> None:
    seed = str(time.time_ns())
    with capsys.disabled():
        print(f"\nchaos: seed {seed}")
    outcome = await run_round(schedule_of(seed, 1, PACE), PLAN)
    assert outcome.broken + outcome.verdict.broken == [], report(outcome)
    assert no_quiet_day(outcome), report(outcome)
    assert outcome.verdict.acknowledged >= 20, report(outcome)
    assert outcome.verdict.invoices >= 6, report(outcome)
