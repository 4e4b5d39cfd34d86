"""The chain, for everybody who wants to keep a copy of its head."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from app.http.auth import requires
from app.http.reading import PAGE_SIZE, Asked, PageSize, Serving
from domain import instant
from projections.log_reader import END, StoredCommit, commits_before, head


class HeadAnswer(msgspec.Struct):
    """The last position of the log and the digest of everything up to it."""

    tenant_id: str
    position: int
    digest: str
    recorded_at: str | None


class CommitAnswer(msgspec.Struct):
    """One commit. ``origin`` tells who asked for a domain commit, from where and by which command."""

    kind: str
    first_position: int
    last_position: int
    recorded_at: str
    root: str
    digest: str
    origin: Any


class CommitList(msgspec.Struct):
    """Commits, newest first."""

    items: list[CommitAnswer]


@get("/log/head", guards=[requires("read")])
async def get_head(request: Asked, service: Serving) -> HeadAnswer:
    """Where the tenant's log ends now."""
    async with service.pool.acquire() as connection:
        found = await head(connection, request.auth.tenant_id)
    return HeadAnswer(
        request.auth.tenant_id,
        found.position,
        found.digest.hex(),
        instant.text(found.recorded_at) if found.position else None,
    )


@get("/log/commits", guards=[requires("read")])
async def list_commits(
    request: Asked,
    service: Serving,
    before: Annotated[int, QueryParameter(ge=0)] = END,
    page_size: PageSize = PAGE_SIZE,
) -> CommitList:
    """Commits that end before a position, newest first: page on with the last one's ``last_position``."""
    async with service.pool.acquire() as connection:
        found = await commits_before(connection, request.auth.tenant_id, min(before, END), page_size)
    return CommitList([_answer(stored) for stored in found])


def _answer(stored: StoredCommit) -> CommitAnswer:
    commit = stored.commit
    return CommitAnswer(
        kind=commit.kind,
        first_position=commit.first_position,
        last_position=commit.last_position,
        recorded_at=instant.text(commit.recorded_at),
        root=commit.root.hex(),
        digest=commit.digest.hex(),
        origin=msgspec.Raw(commit.origin) if commit.origin else None,
    )


ROUTER = Router("/", route_handlers=[get_head, list_commits], tags=["Log"])
