"""What is done once for all sockets of a process that show the same: comparing two states, and encoding one."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.live.changed import Difference, difference
from app.live.frames import Values
from app.live.standing import Standing

BODIES_MAX = 256
"""Encoded values that are kept for the next socket that shows the same; some kilobytes each."""


class Shared:
    """The last of what was compared and encoded. Sockets that watch one customer come one after the other.

    It is also where they count, as plain numbers, what was sent and what was dropped for something newer: a measure of
    Prometheus for each frame would cost as much as sending it.
    """

    def __init__(self, bodies_max: int = BODIES_MAX) -> None:
        self._bodies_max = bodies_max
        self.frames_sent = 0
        self.values_dropped = 0
        # By the identity of the standing, which is held so that no other can take its place: comparing the values
        # themselves would cost as much as encoding them, and ids alone could meet those of another tenant.
        self._bodies: dict[tuple[int, int, tuple[int, ...]], tuple[Standing, str]] = {}
        self._of: Standing | None = None
        self._asked: tuple[object, ...] = ()
        self._text = ""
        self._before: Standing | None = None
        self._after: Standing | None = None
        self._listed: str | None = None
        self._difference = Difference(gone=False, indexes=())

    def __len__(self) -> int:
        """How many bodies are kept."""
        return len(self._bodies)

    def difference(self, before: Standing, after: Standing, subscription_id: str | None) -> Difference:
        """As ``app.live.changed.difference``."""
        if before is not self._before or after is not self._after or subscription_id != self._listed:
            self._difference = difference(before, after, subscription_id)
            self._before, self._after, self._listed = before, after, subscription_id
        return self._difference

    def update(self, before: Standing, after: Standing, subscription_id: str | None, name: str) -> str | None:
        """The text of the frame that brings a socket from ``before`` to ``after``: an empty one when it would show
        nothing new, ``None`` when only a snapshot tells it.
        """
        changed = self.difference(before, after, subscription_id)
        if changed.gone:
            return None
        return self.frame("update", name, after, after.position, changed.indexes) if changed.indexes else ""

    def frame(
        self,
        kind: Literal["snapshot", "update"],
        name: str,
        standing: Standing,
        position: int,
        indexes: tuple[int, ...],
    ) -> str:
        """The text of a frame of the cycles at ``indexes``, as of ``position``.

        Who is shown the same under the same id gets the very same text, so that it is made into bytes once, too.
        """
        asked = (kind, name, position, indexes)
        if standing is not self._of or asked != self._asked:
            body = self._body(standing, position, indexes)
            self._text = f'{{"type":"{kind}","id":{msgspec.json.encode(name).decode()},{body}'
            self._of, self._asked = standing, asked
        return self._text

    def _body(self, standing: Standing, position: int, indexes: tuple[int, ...]) -> str:
        """What a frame says after its id."""
        key = (id(standing), position, indexes)
        kept = self._bodies.get(key)
        if kept is None:
            values = Values(position, standing.customer_id, [standing.cycles[index] for index in indexes])
            kept = self._bodies[key] = (standing, msgspec.json.encode(values).decode()[1:])
            if len(self._bodies) > self._bodies_max:
                del self._bodies[next(iter(self._bodies))]
        return kept[1]
