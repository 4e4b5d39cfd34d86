"""Who changed what: the access trail over HTTP."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from app.audit.trail import Change, Entry, Found, Sought, trail
from app.http.auth import requires
from app.http.reading import PAGE_SIZE, Asked, PageSize, Serving, read_instant
from app.service import Via
from domain import instant
from projections.log_reader import END


class EntryAnswer(msgspec.Struct, rename={"address": "from"}):
    """One command that changed something.

    ``via`` is how it was asked for: `key`, `session` (the dashboard, with that key), `command_line` (``from`` is then
    the account and the machine), or `service`. ``digest`` is the chain's at ``last_position``. Of a commit with very
    many facts the first 50 are in ``changes``.
    """

    first_position: int
    last_position: int
    recorded_at: str
    digest: str
    command: str
    via: Via
    key_id: str
    key_name: str
    address: str
    changes: list[Change]


class TrailAnswer(msgspec.Struct):
    """Entries, newest first. With ``next_before`` there may be older ones, also where ``items`` is empty."""

    items: list[EntryAnswer]
    next_before: int | None


def trail_answer(found: Found) -> TrailAnswer:
    """The trail on the wire."""
    return TrailAnswer([_answer(entry) for entry in found.entries], found.next_before)


def _answer(entry: Entry) -> EntryAnswer:
    return EntryAnswer(
        first_position=entry.first_position,
        last_position=entry.last_position,
        recorded_at=instant.text(entry.recorded_at),
        digest=entry.digest.hex(),
        command=entry.origin.command,
        via=entry.origin.how(),
        key_id=entry.origin.key_id,
        key_name=entry.key_name,
        address=entry.origin.address,
        changes=entry.changes,
    )


@get("/audit/trail", guards=[requires("read")])
async def get_trail(
    request: Asked,
    service: Serving,
    object_kind: FromQuery[str | None] = None,
    object_id: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
    key_id: FromQuery[str | None] = None,
    via: FromQuery[Via | None] = None,
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    before: Annotated[int, QueryParameter(ge=0)] = END,
    page_size: PageSize = PAGE_SIZE,
) -> TrailAnswer:
    """Which command changed what, newest first: page on with ``before``.

    By object (``object_kind`` such as `meter`, and ``object_id``), by the kind of fact, by key, by how it was asked
    for, and by time of recording. Without ``via`` or ``key_id``, what the service did by itself is left out.
    """
    sought = Sought(
        object_kind=object_kind,
        object_id=object_id,
        kind=kind,
        key_id=key_id,
        via=via,
        since=read_instant(since, "since"),
        until=read_instant(until, "until"),
    )
    async with service.pool.acquire() as connection:
        return trail_answer(await trail(connection, request.auth.tenant_id, sought, min(before, END), page_size))


ROUTER = Router("/", route_handlers=[get_trail], tags=["Log"])
