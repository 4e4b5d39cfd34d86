"""What failed and when it is tried again: sooner at first, then more and more rarely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PAUSE_SECONDS = 5.0
"""The pause after the first failure; it doubles with each further one."""

PAUSE_SECONDS_MAX = 900.0
"""What the pause grows to: a person who mends the cause waits a quarter of an hour at most."""

Key = tuple[str, str]
"""A tenant and a subscription of it; an empty subscription stands for the tenant itself."""


@dataclass
class _Failing:
    reason: str
    pause: float
    again_at: float


class Retries:
    """The failures of one process. ``clock`` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failing: dict[Key, _Failing] = {}

    def ready(self, key: Key) -> bool:
        """Whether it may be tried now."""
        failing = self._failing.get(key)
        return failing is None or self._clock() >= failing.again_at

    def failing(self, key: Key) -> bool:
        """Whether it failed when it was tried last."""
        return key in self._failing

    def failed(self, key: Key, reason: str) -> bool:
        """Note a failure; whether its reason is a new one, worth telling."""
        before = self._failing.get(key)
        pause = PAUSE_SECONDS if before is None else min(before.pause * 2, PAUSE_SECONDS_MAX)
        self._failing[key] = _Failing(reason, pause, self._clock() + pause)
        return before is None or before.reason != reason

    def succeeded(self, key: Key) -> None:
        """Forget its failures."""
        self._failing.pop(key, None)

    def keep(self, met: set[Key]) -> None:
        """Forget everything that a whole run did not meet: another process has dealt with it."""
        for key in self._failing.keys() - met:
            del self._failing[key]
