"""Recording the events of requests: the accepted window, then the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import msgspec

from app.event_log import Receipt, Rejected, Sent, append_usage, taken_ids
from app.ingest.decode import Decoded
from app.ingest.problem import EventProblem, RejectedEvent
from app.rules import rules_of, tenant_now
from app.service import Service
from domain import instant
from domain.event import UsageEvent
from domain.tenant import Rules
from projections.database import Database
from projections.fault_points import FaultPoint, reach

TIMESTAMP_MIN, TIMESTAMP_END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
"""Where event times end when the tenant lifts its window. The database driver takes the first and the last instant of
the calendar for infinity, and a time zone moves an instant by up to a day."""


class Refused(Exception):
    """A batch with bad events, nothing of it stored; every problem of every one of them."""

    def __init__(self, problems: list[EventProblem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


class Posted(NamedTuple):
    """The events of one request. ``skip_invalid`` records the good ones among bad ones instead of refusing all."""

    decoded: Decoded
    skip_invalid: bool


class Recorded(NamedTuple):
    """What became of a request, and what was wrong with events that were skipped."""

    receipt: Receipt
    problems: list[EventProblem]


async def record_together(service: Service, tenant_id: str, requests: Sequence[Posted]) -> list[Recorded | Refused]:
    """Record requests of one tenant in one commit; what became of each, once it is durable.

    A request with a bad event is ``Refused`` unless it skips them: then the good ones are recorded and the bad ones
    kept beside the log. The others are recorded all the same.
    """
    async with service.pool.acquire() as connection:
        rules = await rules_of(connection, service, tenant_id)
        now = tenant_now(service, rules)
        checked = await _checked(connection, tenant_id, requests, rules, now)
        accepted = [one for one in checked if not isinstance(one, Refused)]
        receipts = iter(await append_usage(connection, tenant_id, [sent for sent, _ in accepted], now))
    return [one if isinstance(one, Refused) else Recorded(next(receipts), one[1]) for one in checked]


_Checked: TypeAlias = tuple[Sent, list[EventProblem]]
"""What is to be recorded of a request, and what is wrong with the rest."""


async def _checked(
    database: Database, tenant_id: str, requests: Sequence[Posted], rules: Rules, now: datetime
) -> list[_Checked | Refused]:
    since, until = _accepted(rules, now)
    await reach(FaultPoint.ingest_window)
    late = [
        [
            event.event_id
            for _, event in decoded.events
            if event.timestamp is not None and not since <= event.timestamp <= until
        ]
        for decoded, _ in requests
    ]
    asked = [event_id for ids in late for event_id in ids]
    taken = await taken_ids(database, tenant_id, asked) if asked else frozenset[str]()
    checked: list[_Checked | Refused] = []
    for request, ids in zip(requests, late, strict=True):
        if not (ids or request.decoded.rejected):
            checked.append((Sent([event for _, event in request.decoded.events]), []))
            continue
        events, rejected = window(request.decoded, rules, now, taken)
        problems = [problem for event in rejected for problem in event.problems]
        if rejected and not request.skip_invalid:
            checked.append(Refused(problems))
        else:
            checked.append((Sent(events, [_kept(event) for event in rejected]), problems))
    return checked


def window(
    decoded: Decoded, rules: Rules, now: datetime, taken: frozenset[str] = frozenset()
) -> tuple[list[UsageEvent], list[RejectedEvent]]:
    """The events inside the accepted window, and all that are refused, in the order of the batch.

    A resend is a duplicate or a conflict for ever, and neither fails a request: the window does not hold for ids that
    are ``taken``.
    """
    events: list[UsageEvent] = []
    rejected = list(decoded.rejected)
    for index, event in decoded.events:
        problem = _outside(index, event, rules, now)
        if problem is None or event.event_id in taken:
            events.append(event)
        else:
            text = msgspec.json.encode(event_members(event)).decode()
            rejected.append(RejectedEvent(index, event.event_id, text, (problem,)))
    rejected.sort(key=lambda event: event.index)
    return events, rejected


def _accepted(rules: Rules, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last instant that the window lets in; ``_outside`` says what is wrong with the others."""
    since, until = TIMESTAMP_MIN, TIMESTAMP_END - instant.MICROSECOND
    # Lengths are compared first: an instant outside of the calendar could not be computed.
    if rules.event_age_max is not None and rules.event_age_max < now - since:
        since = now - rules.event_age_max
    if rules.event_ahead_max is not None and rules.event_ahead_max < until - now:
        until = now + rules.event_ahead_max
    return since, until


def _outside(index: int, event: UsageEvent, rules: Rules, now: datetime) -> EventProblem | None:
    if event.timestamp is None:
        return None
    if not TIMESTAMP_MIN <= event.timestamp < TIMESTAMP_END:
        message = f"timestamp must lie from {instant.text(TIMESTAMP_MIN)} to before {instant.text(TIMESTAMP_END)}"
        return EventProblem(index, event.event_id, "timestamp", "TIMESTAMP_OUT_OF_RANGE", message)
    if rules.event_ahead_max is not None and event.timestamp - now > rules.event_ahead_max:
        limit = instant.duration_text(rules.event_ahead_max)
        code, rule = "TIMESTAMP_TOO_NEW", f"lies more than {limit} ahead"
    elif rules.event_age_max is not None and now - event.timestamp > rules.event_age_max:
        limit = instant.duration_text(rules.event_age_max)
        code, rule = "TIMESTAMP_TOO_OLD", f"is older than {limit}"
    else:
        return None
    message = f"timestamp {rule}; it is now {instant.text(now)}"
    return EventProblem(index, event.event_id, "timestamp", code, message)


def event_members(event: UsageEvent) -> dict[str, object]:
    """An event as JSON members, its metadata as it was sent."""
    members: dict[str, object] = {
        "event_id": event.event_id,
        "customer_id": event.customer_id,
        "event_name": event.event_name,
    }
    if event.timestamp is not None:
        members["timestamp"] = instant.text(event.timestamp)
    if event.metadata:
        members["metadata"] = msgspec.Raw(event.metadata.encode())
    return members


def _kept(event: RejectedEvent) -> Rejected:
    problems = [problem_members(problem) for problem in event.problems]
    # What is no valid text for the database (NUL, lone surrogates) is kept with replacement characters.
    content = event.text.replace("\0", "\ufffd").encode(errors="replace").decode()
    return Rejected(event.index, event.event_id, None, "invalid", msgspec.json.encode(problems).decode(), content)


def problem_members(problem: EventProblem) -> dict[str, object]:
    """A problem on the wire."""
    return {
        "index": problem.index,
        "event_id": problem.event_id,
        "field": problem.field,
        "code": problem.code,
        "message": problem.message,
    }
