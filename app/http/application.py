"""The HTTP application: routes, dependencies, error answers and the gate in front of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from app.dashboard.headers import PageHeaders
from app.dashboard.site import dashboard_routers
from app.dashboard.wording import templates
from app.http import (
    alerts,
    asyncapi,
    credit_balances,
    credit_entitlements,
    credit_history,
    customer_tokens,
    customers,
    events,
    health,
    invoice_files,
    invoices,
    live,
    log,
    meters,
    plan_changes,
    products,
    subscriptions,
    tenants,
    test_clock,
    usage,
    wallets,
)
from app.http.gate import Gate
from app.http.open_sockets import OpenSockets
from app.http.openapi import CONFIG, assets_router, finish
from app.http.problems import HANDLERS
from app.http.raw_path import ASGIApp, RawPath
from app.http.request_log import RequestLog
from app.live.feed import LogFeed
from app.projecting import RETRY_SECONDS, Doorbell
from app.service import Service

LOG = logging.getLogger("taximeter.http")

OpenService = Callable[[], AbstractAsyncContextManager[Service]]
"""Opens what a process needs and closes it again."""


def provide_service(state: State) -> Service:
    """The process's one service."""
    service: Service = state.service
    return service


def provide_doorbell(state: State) -> Doorbell:
    """The process's one doorbell."""
    doorbell: Doorbell = state.doorbell
    return doorbell


def fill(state: State, service: Service, allowed_origins: Collection[str] = ()) -> None:
    """What the routes find in the application's state: all that a process has once."""
    state.service, state.doorbell = service, Doorbell(service)
    state.feed = LogFeed(service)
    state.sockets = OpenSockets(service, state.feed)
    state.allowed_origins = frozenset(allowed_origins)


async def _keep_running(what: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run what never ends by itself. A defect of ours ends it: that is told, and it begins again."""
    while True:
        try:
            await run()
        except Exception:
            LOG.exception("%s failed and begins again", what)
        await asyncio.sleep(RETRY_SECONDS)


@asynccontextmanager
async def following(state: State) -> AsyncIterator[None]:
    """Follow the log and keep the sockets of the live channel, while the block runs."""
    tasks = [
        asyncio.create_task(_keep_running("following the log", state.feed.run)),
        asyncio.create_task(_keep_running("keeping the sockets", state.sockets.run)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def build(open_service: OpenService, allowed_origins: Collection[str] = ()) -> tuple[Litestar, ASGIApp]:
    """The application and, around it, what a server has to serve.

    Pages of ``allowed_origins``, in lower case, may open the live channel beside those of the service itself.
    """

    @asynccontextmanager
    async def lifespan(application: Litestar) -> AsyncIterator[None]:
        async with open_service() as service:
            fill(application.state, service, allowed_origins)
            async with following(application.state):
                yield

    application = Litestar(
        route_handlers=[
            module.ROUTER
            for module in (
                events,
                meters,
                products,
                customers,
                subscriptions,
                plan_changes,
                usage,
                invoices,
                invoice_files,
                tenants,
                log,
                health,
                wallets,
                test_clock,
                credit_entitlements,
                credit_balances,
                credit_history,
                alerts,
                asyncapi,
                customer_tokens,
                live,
            )
        ]
        + [assets_router(), *dashboard_routers()],
        dependencies={
            "service": Provide(provide_service, sync_to_thread=False),
            "doorbell": Provide(provide_doorbell, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        lifespan=[lifespan],
        # Where logs go is decided once for the process, in `app.logs`.
        logging_config=None,
        openapi_config=CONFIG,
        template_config=templates(),
        # The gate has bounded the body before the router sees it.
        request_max_body_size=None,
    )
    finish(application.openapi_schema)
    return application, RequestLog(RawPath(Gate(PageHeaders(cast("ASGIApp", application)))))
