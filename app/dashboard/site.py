"""The dashboard's routes: pages behind a session, the way in, and the files that pages are made of."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.static_files import create_static_files_router

from app.dashboard import (
    alerts,
    changes,
    customer_money,
    customers,
    erasing,
    event_detail,
    events,
    explanations,
    invoice_lines,
    invoices,
    meters,
    overview,
    products,
    sign_in,
    simulations,
    subscribe,
    subscription_changes,
    subscriptions,
    system,
)
from app.dashboard.caught_up import caught_up
from app.dashboard.errors import PAGE_HANDLERS
from app.dashboard.guards import FormTokens, signed_in
from app.dashboard.wording import STATIC, STATIC_PATH

PAGES = (
    alerts,
    changes,
    customer_money,
    customers,
    erasing,
    event_detail,
    events,
    explanations,
    invoice_lines,
    invoices,
    meters,
    overview,
    products,
    simulations,
    subscribe,
    subscription_changes,
    subscriptions,
    system,
)
"""Every module of pages that need a session."""

STATIC_MAX_AGE_SECONDS = 365 * 24 * 3600
"""A browser may keep files for a year: the address of each holds a digest of its content."""


@get("/dashboard/{rest:path}")
async def nowhere(request: Request[Any, Any, Any], rest: FromPath[str]) -> None:
    """Any other path under the dashboard: a page that says so."""
    raise NotFoundException(f"there is no page {request.url.path}")


def dashboard_routers() -> list[Router]:
    """What the application serves to browsers. It is not part of the API's description."""
    pages = Router(
        "/",
        route_handlers=[*(module.ROUTER for module in PAGES), nowhere],
        guards=[signed_in],
        before_request=caught_up,
    )
    site = Router(
        "/",
        route_handlers=[sign_in.ROUTER, pages],
        middleware=[FormTokens],
        exception_handlers=PAGE_HANDLERS,
        include_in_schema=False,
    )
    static = create_static_files_router(
        path=STATIC_PATH,
        directories=[STATIC],
        cache_control=CacheControlHeader(max_age=STATIC_MAX_AGE_SECONDS, immutable=True),
        include_in_schema=False,
    )
    return [site, static]
