"""What one process takes on at once. Who comes when it is full is told so, before anything was done for him."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.http.body import BodyError
from app.limits import BODIES_MAX_BYTES, PATIENT_REQUESTS_MAX, REQUESTS_MAX

UNCOUNTED = "/health/"
"""Whoever looks after the service has to hear from it above all when it is full."""

PATIENT_QUERY = b"at_least="
PATIENT_PATH = "/test-clock/advance"
"""What waits by intent, and is counted apart: for a position, and for a clock that is walked forward."""

OVERLOADED = "OVERLOADED"

RETRY_AFTER_SECONDS = b"1"
"""When to come again: the requests that are at work now will have been answered by then."""


class Full(BodyError):
    """The process has as much to do as it may take on. Nothing of the request was done."""

    def __init__(self) -> None:
        super().__init__(503, OVERLOADED, "there is more to do than can be done now; nothing was done, send it again")


class Room:
    """So many at once, and no more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @property
    def full(self) -> bool:
        """Whether nobody else is let in."""
        return self.taken >= self._most

    @contextmanager
    def entered(self) -> Iterator[Callable[[], None]]:
        """Be one of them until the block ends, or until the function that is given is called. Raises ``Full``."""
        if self.full:
            raise Full
        self.taken += 1
        inside = True

        def leave() -> None:
            nonlocal inside
            self.taken -= inside
            inside = False

        try:
            yield leave
        finally:
            leave()


class Held:
    """Bytes of bodies, in all requests together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def counted(self) -> Iterator[Callable[[int], None]]:
        """A function to call with each number of bytes that the request takes on; at the end of the block they are
        given back. It raises ``Full`` instead of taking on more than there may be."""
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            if self.taken + size > self._most:
                raise Full
            own += size
            self.taken += size

        try:
            yield hold
        finally:
            self.taken -= own


class Admission:
    """The rooms of one process."""

    def __init__(
        self,
        requests: int = REQUESTS_MAX,
        patient: int = PATIENT_REQUESTS_MAX,
        bodies: int = BODIES_MAX_BYTES,
    ) -> None:
        self._ordinary, self._patient = Room(requests), Room(patient)
        self.bodies = Held(bodies)

    def room(self, path: str, query: bytes) -> Room:
        """Where a request belongs."""
        return self._patient if PATIENT_QUERY in query or path == PATIENT_PATH else self._ordinary
