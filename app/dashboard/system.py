"""The system: where the log stands, and how the service keeps up with it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Router, get
from litestar.response import Template

from app import __version__
from app.dashboard.overview import chart
from app.dashboard.page import fragment, page
from app.dashboard.recorded import SQL, recorded, steps
from app.http.reading import Asked, Serving
from app.service import Caller, Service
from projections.log_reader import head
from projections.quantities import projected_position

RATE_STEP = timedelta(seconds=10)
RATE_STEPS = 60
"""Ten minutes in steps that a burst is seen in."""

RATE_OVER = timedelta(seconds=30)
"""What the rate of now is taken over: shorter, and a sender of batches seems to stop between two of them."""

STARTED_AT = datetime.now(UTC)
"""When this process began, near enough."""


async def _state(service: Service, caller: Caller) -> dict[str, Any]:
    # Of the clock on the wall, also in test mode: how fast the service is has nothing to do with a tenant's time.
    now = service.clock()
    async with service.pool.acquire() as database:
        end = await head(database, caller.tenant_id)
        projected = await projected_position(database, caller.tenant_id)
        (lately,) = await recorded(database, caller.tenant_id, [now - RATE_OVER, now])
        state = await database.fetchrow(SQL["database_state"])
    return {
        "head": end,
        "lag": max(0, end.position - projected),
        "projected": projected,
        "rate": lately.events / RATE_OVER.total_seconds(),
        "rate_seconds": int(RATE_OVER.total_seconds()),
        "database": state,
        "process": {"pid": os.getpid(), "started_at": STARTED_AT},
        "versions": {"Taximeter": __version__, "Python": platform.python_version(), "PostgreSQL": state["version"]}
        if state
        else {},
    }


@get("/dashboard/system")
async def system(request: Asked, service: Serving) -> Template:
    """Where the log stands."""
    return page(request, "system/page.html", title="System", nav="system", **await _state(service, request.auth))


@get("/dashboard/system/state")
async def system_state(request: Asked, service: Serving) -> Template:
    """The part of the page that is asked for every two seconds."""
    return fragment(request, "system/state.html", **await _state(service, request.auth))


@get("/dashboard/system/rate.json")
async def system_rate(request: Asked, service: Serving) -> dict[str, Any]:
    """The chart of the last minutes."""
    async with service.pool.acquire() as database:
        instants = steps(service.clock(), RATE_STEP, RATE_STEPS)
        return chart(await recorded(database, request.auth.tenant_id, instants), "bar")


ROUTER = Router("/", route_handlers=[system, system_state, system_rate])
