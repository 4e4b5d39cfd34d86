"""How far the quantities are behind and whether they move, from one look to the next. Pure: time is passed in.

It is the machine's steady time and never ``recorded_at``, which follows a tenant's test clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from projections.quantities import Lagging

STALL_SECONDS = 30.0
"""How long nothing may move although there is something to project: a page takes well under a second, and a projector
that died is back in two. Whoever works on a long page is not stalled; see ``app.health.lag``."""

MARKS_MAX = 3_600
"""Looks of which it is kept how far a tenant's log had come: an hour of them, one a second. In a longer lag the oldest
mark, which says how long it is, stays; only how quickly it shrinks is then told less exactly."""


@dataclass
class _Behind:
    """A tenant with something to project. ``marks`` are ends of its log with the times at which they were first seen,
    those that are not projected yet."""

    projected: int
    since: float
    marks: deque[tuple[float, int]]

    def note(self, now: float, row: Lagging) -> None:
        while self.marks and self.marks[0][1] <= row.projected:
            self.marks.popleft()
        newest = self.marks[-1][1] if self.marks else row.projected
        if row.position > newest and len(self.marks) < MARKS_MAX:
            self.marks.append((now, row.position))


class Progress:
    """What was seen at the looks so far."""

    def __init__(self) -> None:
        self._behind: dict[str, _Behind] = {}
        self._moved_at = 0.0
        self.lag_events = 0

    def note(self, now: float, rows: Iterable[Lagging]) -> None:
        """The tenants that are behind, as a look found them."""
        rows = list(rows)
        before, self._behind = self._behind, {}
        self.lag_events = max((row.position - row.projected for row in rows), default=0)
        for row in rows:
            behind = before.pop(row.tenant_id, None)
            if behind is None:
                behind = _Behind(row.projected, now, deque())
            elif behind.projected != row.projected:
                behind.projected, behind.since = row.projected, now
                self._moved_at = now
            behind.note(now, row)
            self._behind[row.tenant_id] = behind
        if before:
            self._moved_at = now  # Those who are not behind any more.

    def lag_seconds(self, now: float) -> float:
        """How long the event that waits longest has waited, as far as was seen."""
        return max((now - behind.marks[0][0] for behind in self._behind.values() if behind.marks), default=0.0)

    def stalled(self, now: float) -> list[str]:
        """The tenants that wait while nothing moves at all.

        One that was passed over while others moved on has a trouble of its own, which is logged and shows in the lag:
        the projector works, and the other tenants do not lose the service for it.
        """
        if now - self._moved_at <= STALL_SECONDS:
            return []
        return [
            tenant_id
            for tenant_id, behind in self._behind.items()
            if now - behind.since > STALL_SECONDS and self._moved_at - behind.since < STALL_SECONDS
        ]

    def waiting_for(self, now: float, tenant_ids: Iterable[str]) -> float:
        """How long the longest of these has not moved, in seconds."""
        return max((now - self._behind[one].since for one in tenant_ids), default=0.0)
