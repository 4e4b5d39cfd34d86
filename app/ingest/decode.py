"""A request's body to usage events: all the good ones, and for each bad one all that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.ingest import exact, fast, split
from app.ingest.problem import EventProblem, RejectedEvent
from domain.event import UsageEvent


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body's events by their index in the batch, in order: ``events`` to record, ``rejected`` not to."""

    events: list[tuple[int, UsageEvent]] = field(default_factory=list[tuple[int, UsageEvent]])
    rejected: list[RejectedEvent] = field(default_factory=list[RejectedEvent])

    @property
    def problems(self) -> list[EventProblem]:
        """Every problem of every rejected event, in the order of the batch."""
        return [problem for rejected in self.rejected for problem in rejected.problems]


def decode_events(body: bytes, ndjson: bool) -> Decoded:
    """The events of a body: ``{"events": [...]}``, or one event object per line when ``ndjson``.

    Raises ``BodyProblem`` when the body as a whole is no list of 1 to ``split.JSON_EVENTS_MAX`` or
    ``split.NDJSON_EVENTS_MAX`` events, and nothing else; a bad event among others does not raise.
    """
    if not ndjson and (events := _plain_events(body)):
        return Decoded(list(enumerate(events)))
    decoded = Decoded()
    for index, text in enumerate(split.ndjson_events(body) if ndjson else split.json_events(body)):
        event = read_event(index, text)
        if isinstance(event, RejectedEvent):
            decoded.rejected.append(event)
        else:
            decoded.events.append((index, event))
    return decoded


def _plain_events(body: bytes) -> list[UsageEvent] | None:
    """The events of a body of which every event is plainly right; ``None`` for "look at each"."""
    if len(body) > exact.EVENT_MAX_BYTES:
        return None
    split.check_text(body)
    events = fast.read_events(body)
    return events if events and len(events) <= split.JSON_EVENTS_MAX else None


def read_event(index: int, text: bytes) -> UsageEvent | RejectedEvent:
    """One event from its JSON text, valid UTF-8 without NUL bytes, by the quick way where that is enough."""
    event = fast.read_event(text) if len(text) <= exact.EVENT_MAX_BYTES else None
    return exact.read_event(index, text) if event is None else event
