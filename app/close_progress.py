"""Closing what is due by hand: how far it is while it runs, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing

import msgspec

from app.due import Dealt, close_due_everywhere, count_due
from app.keys import terminal_caller
from app.retries import Retries
from app.service import Service

REPORT_SECONDS = 2.0
"""How often a run says how far it is: often enough to be seen alive, rare enough for a log file."""

Tell = Callable[[str], None]
"""Takes one line for a person."""


class Summary(msgspec.Struct):
    """What a run did. ``failures`` are of subscriptions, and of tenants where ``subscription_id`` is empty."""

    due: int
    subscriptions: int = 0
    closed: int = 0
    seconds: float = 0.0
    failures: list[Dealt] = msgspec.field(default_factory=list[Dealt])

    def add(self, dealt: Dealt) -> None:
        """Count one subscription in."""
        self.subscriptions += 1
        self.closed += dealt.closed
        if dealt.failure is not None:
            self.failures.append(dealt)

    @property
    def rate(self) -> float:
        """Subscriptions per second."""
        return self.subscriptions / self.seconds if self.seconds else 0.0

    def text(self) -> str:
        """What came of it, for a person."""
        failed = [f"{dealt.tenant_id}/{dealt.subscription_id}: {dealt.failure}" for dealt in self.failures]
        done = f"{self.closed} cycles closed of {self.subscriptions} subscriptions in {self.seconds:.1f} s"
        return "\n".join([done + (f", {len(failed)} failed:" if failed else ""), *failed])

    def line(self) -> str:
        """How far the run is, and when it will be done at this rate."""
        left = max(self.due - self.subscriptions, 0)
        until = f", {left / self.rate:.0f} s left" if self.rate and left else ""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return (
            f"{self.subscriptions} of {self.due} subscriptions, {self.closed} cycles closed, "
            f"{self.rate:.0f}/s{until}{failed}"
        )


async def close_telling(service: Service, tell: Tell) -> Summary:
    """Close what is due everywhere and tell how it goes. Raises only when the database is lost."""
    summary, began = Summary(await count_due(service)), time.monotonic()
    told = began
    async with aclosing(close_due_everywhere(service, Retries(time.monotonic), terminal_caller)) as run:
        async for dealt in run:
            summary.add(dealt)
            now = time.monotonic()
            summary.seconds = now - began
            if dealt.failure is not None:
                tell(f"failed: {dealt.subscription_id or 'tenant'} of {dealt.tenant_id}: {dealt.failure}")
            if now - told >= REPORT_SECONDS:
                told = now
                tell(summary.line())
    return summary
