"""The test clock over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import Router, post
from litestar.params import JSONBody

from app.http.auth import requires
from app.http.invoices import answer
from app.http.reading import Asked, Serving, check_known, members, read_instant
from app.limits import CLOCK_INVOICES_MAX
from app.test_clock import advance
from domain import instant
from domain.errors import Invalid


class Advance(msgspec.Struct):
    """Where to move the clock: an instant, or a duration such as ``30d`` from where it stands. One of the two."""

    to: Annotated[str, msgspec.Meta(examples=["2026-05-01T00:00:00Z"])] | None = None
    by: Annotated[str, msgspec.Meta(examples=["30d"])] | None = None


class Advanced(msgspec.Struct, omit_defaults=True):
    """Where the clock stands and what happened on the way. Not ``done``, it goes on when asked with the same ``to``."""

    now: str
    to: str
    done: bool
    steps: int
    opened_count: int
    closed_count: int
    items: list[dict[str, Any]]
    note: str | None = None


def _read(data: Advance) -> timedelta | None:
    if (data.to is None) == (data.by is None):
        raise Invalid("to", "either to or by is required, and not both")
    if data.by is None:
        return None
    try:
        duration = instant.parse_duration(data.by)
    except instant.InvalidDuration as error:
        raise Invalid("by", str(error)) from None
    if not duration:
        raise Invalid("by", "must be a duration above zero such as 30d")
    return duration


@post("/test-clock/advance", status_code=200, guards=[requires("write")])
async def advance_test_clock(request: Asked, service: Serving, data: JSONBody[Advance]) -> Advanced:
    """Move the clock of a tenant in test mode forward; cycles open and close on the way as they would in time."""
    check_known(members(request), Advance.__struct_fields__)
    walk = await advance(service, request.auth, to=read_instant(data.to, "to"), by=_read(data))
    note = f"the first {CLOCK_INVOICES_MAX} invoices of {walk.closed}; GET /invoices lists all"
    return Advanced(
        now=instant.text(walk.now),
        to=instant.text(walk.to),
        done=walk.done,
        steps=walk.steps,
        opened_count=walk.opened,
        closed_count=walk.closed,
        items=[answer(bill) for bill in walk.bills],
        note=note if walk.closed > len(walk.bills) else None,
    )


ROUTER = Router("/", route_handlers=[advance_test_clock], tags=["Tenant"])
