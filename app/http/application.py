"""The HTTP application: routes, dependencies, error answers and the gate in front of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import cast

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from app.callers import Callers
from app.dashboard.headers import PageHeaders
from app.dashboard.site import dashboard_routers
from app.dashboard.wording import templates
from app.draining import Draining
from app.health.lag import Lag
from app.health.readiness import Readiness
from app.health.sampling import Sampler
from app.http import (
    alerts,
    asyncapi,
    credit_balances,
    credit_entitlements,
    credit_history,
    customer_tokens,
    customers,
    events,
    explanations,
    health,
    invoice_files,
    invoice_proof,
    invoices,
    live,
    log,
    meters,
    metrics,
    plan_changes,
    products,
    simulations,
    subscriptions,
    tenants,
    test_clock,
    trail,
    usage,
    wallets,
)
from app.http.admission import Admission
from app.http.allowed_methods import AllowedMethods
from app.http.events_only import EventsOnly
from app.http.gate import Gate
from app.http.last_answers import LastAnswers
from app.http.open_sockets import OpenSockets
from app.http.openapi import CONFIG, assets_router, finish
from app.http.problems import HANDLERS
from app.http.raw_path import ASGIApp, RawPath
from app.http.request_log import RequestLog
from app.http.request_measures import NoteRoute, RequestMeasures
from app.http.typed_body import TypedRequest
from app.live.feed import LogFeed
from app.operating import Operating
from app.projecting import RETRY_SECONDS, Doorbell
from app.recording import Recorder
from app.service import Service

LOG = logging.getLogger("taximeter.http")

OpenService = Callable[[], AbstractAsyncContextManager[Service]]
"""Opens what a process needs and closes it again."""


API = (
    events,
    meters,
    products,
    customers,
    subscriptions,
    plan_changes,
    usage,
    invoices,
    explanations,
    invoice_files,
    invoice_proof,
    tenants,
    log,
    trail,
    health,
    metrics,
    wallets,
    test_clock,
    credit_entitlements,
    credit_balances,
    credit_history,
    alerts,
    asyncapi,
    customer_tokens,
    live,
    simulations,
)
"""The modules that have routes of the API."""


def provide_service(state: State) -> Service:
    """The process's one service."""
    service: Service = state.service
    return service


def provide_doorbell(state: State) -> Doorbell:
    """The process's one doorbell."""
    doorbell: Doorbell = state.doorbell
    return doorbell


def provide_recorder(state: State) -> Recorder:
    """The process's one recorder of usage."""
    recorder: Recorder = state.recorder
    return recorder


def fill(
    state: State, service: Service, allowed_origins: Collection[str] = (), operating: Operating | None = None
) -> None:
    """What the routes find in the application's state: all that a process has once."""
    state.service, state.callers = service, Callers(service)
    state.doorbell = Doorbell(service)
    state.recorder = Recorder(service, state.doorbell)
    state.feed = LogFeed(service)
    state.sockets = OpenSockets(service, state.feed)
    state.allowed_origins = frozenset(allowed_origins)
    state.operating, state.lag = operating or Operating(), Lag()
    state.readiness = Readiness(service, state.lag, state.operating.draining)


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
    """Follow the log, keep the sockets of the live channel, and sample what is measured, while the block runs."""
    sampler = Sampler(state.service, state.lag, state.sockets)
    tasks = [
        asyncio.create_task(_keep_running("following the log", state.feed.run)),
        asyncio.create_task(_keep_running("keeping the sockets", state.sockets.run)),
        asyncio.create_task(_keep_running("sampling what is measured", sampler.run)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await state.readiness.end()


def build(
    open_service: OpenService,
    allowed_origins: Collection[str] = (),
    operating: Operating | None = None,
    *,
    events_only: bool = False,
) -> tuple[Litestar, ASGIApp]:
    """The application and, around it, what a server has to serve.

    Pages of ``allowed_origins``, in lower case, may open the live channel beside those of the service itself. With
    ``events_only`` the read models are not there yet: events are taken, and nothing follows the log.
    """
    operating = operating or Operating()

    @asynccontextmanager
    async def lifespan(application: Litestar) -> AsyncIterator[None]:
        async with open_service() as service:
            fill(application.state, service, allowed_origins, operating)
            async with nullcontext() if events_only else following(application.state):
                yield

    application = Litestar(
        route_handlers=[*(module.ROUTER for module in API), assets_router(), *dashboard_routers()],
        dependencies={
            "service": Provide(provide_service, sync_to_thread=False),
            "doorbell": Provide(provide_doorbell, sync_to_thread=False),
            "recorder": Provide(provide_recorder, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        lifespan=[lifespan],
        # Where logs go is decided once for the process, in `app.logs`.
        logging_config=None,
        openapi_config=CONFIG,
        template_config=templates(),
        # The gate has bounded the body before the router sees it.
        request_max_body_size=None,
        request_class=TypedRequest,
    )
    finish(application.openapi_schema)
    application.state.admission = Admission()
    return application, _layers(application, operating.draining, events_only)


def _layers(application: Litestar, draining: Draining, events_only: bool) -> ASGIApp:
    """What lies around the application, from the inside out."""
    within = NoteRoute(AllowedMethods(cast("ASGIApp", application), application))
    routed: ASGIApp = RawPath(Gate(PageHeaders(within), application.state.admission))
    return RequestMeasures(LastAnswers(RequestLog(EventsOnly(routed) if events_only else routed), draining))
