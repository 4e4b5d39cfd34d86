"""What can be wrong with a body or with an event, in the words of the error answer."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA_CODES = frozenset({"INVALID_TYPE", "MALFORMED_JSON", "MISSING_FIELD", "TOO_DEEP"})
"""The codes of events that do not have the shape of an event. The wire contract answers those with 422 and a
well-shaped event with an unacceptable value with 400."""

_SHOWN_MAX_CHARS = 100
"""How much of a name that a client chose is repeated in an error: a metadata key of the greatest length
fits."""


@dataclass(frozen=True, slots=True)
class EventProblem:
    """One thing wrong with one event: its ``index`` in the batch, the ``field`` and the rule that was broken.

    ``event_id`` is None where the event has no acceptable id. ``field`` is a path such as ``timestamp`` or
    ``metadata.tokens``; ``event`` means the event as a whole.
    """

    index: int
    event_id: str | None
    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """An event that cannot be recorded: its text exactly as sent, and everything that is wrong with it."""

    index: int
    event_id: str | None
    text: str
    problems: tuple[EventProblem, ...]


class BodyProblem(Exception):
    """A body that is no list of events. ``status`` is the HTTP status of the answer: 400, 413 or 422."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def refusal_status(problems: list[EventProblem]) -> int:
    """The HTTP status for a batch refused for these problems: 422 if any event lacks the shape, otherwise
    400."""
    return 422 if any(problem.code in SCHEMA_CODES for problem in problems) else 400


def shown(name: str) -> str:
    """A name that a client chose, made fit for a message: unprintable characters escaped, the length bounded.

    A lone surrogate or a NUL has no place in an answer or a log line, and a key may be megabytes long.
    """
    if not name:
        return '""'  # JSON allows a key without a character, and a message has to show that it means one
    head = name[:_SHOWN_MAX_CHARS]
    escaped = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in head)
    return escaped if len(name) <= _SHOWN_MAX_CHARS else f"{escaped}…"
