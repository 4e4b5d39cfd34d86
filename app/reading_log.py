"""Asking the log: one snapshot of the database, in which everything belongs to one position."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.projecting import wait_for
from app.rules import rules_of, tenant_now
from app.service import Caller, Service
from domain.aggregate import Root
from projections.aggregates import Aggregates
from projections.database import Database
from projections.log_reader import aggregate, head
from projections.quantities import projected_position


@asynccontextmanager
async def reading(
    service: Service, caller: Caller, *, latest: bool = False, at_least: int = 0
) -> AsyncIterator[Aggregates]:
    """The tenant's aggregates as known at the projected position. What is decided on them is not recorded.

    ``latest`` gives them as of the log's end, so that a read after a write sees it, with the quantities counted so far;
    ``at_least`` waits until so much is counted, as ``wait_for`` does.
    """
    await wait_for(service, caller.tenant_id, at_least)
    async with (
        service.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        counted = await projected_position(connection, caller.tenant_id)
        now = tenant_now(service, await rules_of(connection, service, caller.tenant_id))
        end = await head(connection, caller.tenant_id)
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
