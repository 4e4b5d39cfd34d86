"""The two buttons of what can be archived: a meter stops counting, a product goes off sale, and either comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from app.dashboard.page import may_write
from app.http.reading import Asked, Serving, path_id

SetArchived = Callable[..., Awaitable[Any]]
"""A command with service, caller and id, and the keyword ``archived``."""


def archive_routes(path: str, what: str, set_archived: SetArchived) -> tuple[HTTPRouteHandler, HTTPRouteHandler]:
    """The routes that archive and unarchive one object below ``/dashboard/{path}``; ``what`` it is, in messages."""

    async def turn(request: Asked, service: Serving, object_id: str, *, archived: bool) -> Redirect:
        object_id = path_id(object_id, what)
        await set_archived(service, request.auth, object_id, archived=archived)
        done = "archived" if archived else "unarchived"
        return Redirect(f"/dashboard/{path}/{object_id}?done={done}", status_code=303)

    @post(f"/dashboard/{path}/{{object_id:str}}/archive", guards=[may_write], status_code=200)
    async def archive(request: Asked, service: Serving, object_id: FromPath[str]) -> Redirect:
        return await turn(request, service, object_id, archived=True)

    @post(f"/dashboard/{path}/{{object_id:str}}/unarchive", guards=[may_write], status_code=200)
    async def unarchive(request: Asked, service: Serving, object_id: FromPath[str]) -> Redirect:
        return await turn(request, service, object_id, archived=False)

    return archive, unarchive
