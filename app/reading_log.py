"""Asking the log: one snapshot of the database, in which everything belongs to one position."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeAlias

from app.projecting import wait_for
from app.rules import rules_of, tenant_now
from app.service import Caller, Service
from domain import instant
from domain.aggregate import Root
from domain.errors import Invalid
from projections.aggregates import Aggregates
from projections.as_of import AsOf
from projections.database import Database
from projections.log_reader import Head, aggregate, commits_before, head, last_recorded_by
from projections.quantities import projected_position

Knowledge: TypeAlias = int | datetime
"""Names what was known: everything up to a position, or up to the last commit that was recorded by an instant."""


@asynccontextmanager
async def reading(
    service: Service,
    caller: Caller,
    *,
    latest: bool = False,
    at_least: int = 0,
    as_of: Knowledge | None = None,
) -> AsyncIterator[Aggregates]:
    """The tenant's aggregates as known at the projected position. What is decided on them is not recorded.

    ``latest`` gives them as of the log's end, so that a read after a write sees it, with the quantities counted so far;
    ``at_least`` waits until so much is counted, as ``wait_for`` does. ``as_of`` gives them as they were known then, at
    the time that it was then. Raises ``Invalid`` for what the log does not reach.
    """
    await wait_for(service, caller.tenant_id, at_least)
    async with (
        service.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        counted = await projected_position(connection, caller.tenant_id)
        now = tenant_now(service, await rules_of(connection, service, caller.tenant_id))
        end = await head(connection, caller.tenant_id)
        if as_of is not None:
            position, at = await _moment(connection, caller.tenant_id, as_of, end, max(now, end.recorded_at))
            yield AsOf(connection, caller.tenant_id, at, position)
            return
        position = end.position if latest else counted
        yield Aggregates(connection, caller.tenant_id, max(now, end.recorded_at), position, counted)


async def wait_for_object(service: Service, caller: Caller, kind: type[Root], object_id: str) -> None:
    """Wait until the projected part of the log knows an object that was recorded a moment ago, if there is one."""
    async with service.pool.acquire() as connection:
        target = await _known_from(connection, caller, kind, object_id)
    await wait_for(service, caller.tenant_id, target)


async def _known_from(database: Database, caller: Caller, kind: type[Root], object_id: str) -> int:
    """The position to wait for: the whole log when the object is too new for the projected part of it."""
    position = await projected_position(database, caller.tenant_id)
    known = await aggregate(database, caller.tenant_id, kind, object_id, up_to=position)
    return (await head(database, caller.tenant_id)).position if known is None else position


async def _moment(
    database: Database, tenant_id: str, as_of: Knowledge, end: Head, now: datetime
) -> tuple[int, datetime]:
    """The end of the last commit that was known, and what time it was. Raises ``Invalid``."""
    if isinstance(as_of, datetime):
        if as_of > now:
            raise Invalid("as_of", f"must not lie in the future; it is {instant.text(now)} now")
        commit = await last_recorded_by(database, tenant_id, as_of, end.position)
        at = as_of
    else:
        if as_of > end.position:
            raise Invalid("as_of", f"must not be past the end of the log, which is at position {end.position}")
        commit = next((one.commit for one in await commits_before(database, tenant_id, as_of + 1, 1)), None)
        at = now if commit is None else commit.recorded_at
    if commit is None:
        raise Invalid("as_of", "is before the first commit of the log: nothing was known")
    return commit.last_position, at
