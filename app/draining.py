"""That a web process is about to stop: still serving, but nobody should count on it any more."""

from __future__ import annotations


class Draining:
    """Whether the stop has been announced. Set from the thread that hears the supervisor, read by requests."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """From now on the process is not ready, and each answer ends its connection."""
        self.begun = True
