"""The one place that reads the time of day. Everything else is given an instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from projections.fault_points import clock_jump

Clock = Callable[[], datetime]
"""Gives the current instant, aware and in UTC."""


def system_clock() -> datetime:
    """The machine's time, to the microsecond."""
    return datetime.now(UTC) + clock_jump()
