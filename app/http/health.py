"""Health: is the process alive, and can it do its work."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get

from app.http.reading import Serving
from app.limits import READY_LAG_EVENTS
from projections.quantities import lagging


@get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@get("/health/ready")
async def ready(service: Serving) -> Response[dict[str, Any]]:
    """The database can be written and the projection is not far behind; 503 otherwise."""
    read_only = await service.pool.fetchval("select pg_is_in_recovery()")
    async with service.pool.acquire() as connection:
        lag = max((row.position - row.projected for row in await lagging(connection)), default=0)
    if read_only or lag > READY_LAG_EVENTS:
        why = "the database is read-only" if read_only else f"the projection is {lag} events behind"
        return Response({"status": "not ready", "reason": why, "lag": lag}, status_code=503)
    return Response({"status": "ready", "lag": lag}, status_code=200)


ROUTER = Router("/", route_handlers=[live, ready], tags=["Health"])
