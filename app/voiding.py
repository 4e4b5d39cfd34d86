"""Taking usage events back by their ids: a commit of its own, while the events stay in the log as they were sent."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.event_log import SQL, append_retraction
from app.service import Caller, Service
from app.transaction import origin_of, transaction
from projections.fault_points import FaultPoint, reach

COMMAND = "events.void"


class Voided(msgspec.Struct, frozen=True):
    """What became of the ids. ``position`` is the last of the commit, or the head's when nothing was retracted."""

    voided_count: int
    already_voided: list[str]
    not_found: list[str]
    position: int


async def void_events(service: Service, caller: Caller, event_ids: Sequence[str], reason: str) -> Voided:
    """Retract the events of these ids, each once, in the order given; durable when this returns.

    An id that the tenant's log does not hold, or that is retracted already, is named in the answer and fails nothing:
    sending the same request again is safe. A retracted id stays used.
    """
    wanted = list(dict.fromkeys(event_ids))
    # Under the head's lock nothing is recorded or retracted meanwhile, so what is read here still holds at the commit.
    async with transaction(service, caller, COMMAND) as running:
        rows = await running.database.fetch(SQL["retractable"], running.tenant_id, wanted)
        retracted = {row["event_id"]: bool(row["retracted"]) for row in rows}
        standing = [event_id for event_id in wanted if retracted.get(event_id) is False]
        position = running.head.position
        if standing:
            commit = await append_retraction(
                running.database, running.tenant_id, standing, reason, running.now, origin_of(caller, COMMAND)
            )
            position = commit.last_position
            await reach(FaultPoint.void_retracted)
    return Voided(
        voided_count=len(standing),
        already_voided=[event_id for event_id in wanted if retracted.get(event_id)],
        not_found=[event_id for event_id in wanted if event_id not in retracted],
        position=position,
    )
