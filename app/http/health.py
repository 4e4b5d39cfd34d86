"""Health: is the process alive, and can it do its work."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get

from app.health.readiness import Readiness
from app.http.reading import Asked


@get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@get("/health/ready")
async def ready(request: Asked) -> Response[dict[str, Any]]:
    """The database can be written and the projection is not far behind; 503 otherwise, with the part and the reason."""
    readiness: Readiness = request.app.state.readiness
    verdict = await readiness.verdict()
    if verdict.faults:
        why = "; ".join(verdict.faults.values())
        body = {"status": "not ready", "reason": why, "parts": verdict.faults, "lag": verdict.lag}
        return Response(body, status_code=503, headers={"retry-after": "1"})
    return Response({"status": "ready", "lag": verdict.lag}, status_code=200)


ROUTER = Router("/", route_handlers=[live, ready], tags=["Health"])
"""Anybody may ask: no key."""
