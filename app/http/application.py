"""The HTTP application: routes, dependencies, error answers and the gate in front of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from app.http import (
    credit_balances,
    credit_entitlements,
    credit_history,
    customers,
    events,
    health,
    invoice_files,
    invoices,
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
from app.http.openapi import CONFIG, assets_router, finish
from app.http.problems import HANDLERS
from app.http.raw_path import ASGIApp, RawPath
from app.projecting import Doorbell
from app.service import Service

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


def build(open_service: OpenService) -> tuple[Litestar, ASGIApp]:
    """The application and, around it, what a server has to serve."""

    @asynccontextmanager
    async def lifespan(application: Litestar) -> AsyncIterator[None]:
        async with open_service() as service:
            application.state.service = service
            application.state.doorbell = Doorbell(service)
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
            )
        ]
        + [assets_router()],
        dependencies={
            "service": Provide(provide_service, sync_to_thread=False),
            "doorbell": Provide(provide_doorbell, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        lifespan=[lifespan],
        openapi_config=CONFIG,
        # The gate has bounded the body before the router sees it.
        request_max_body_size=None,
    )
    finish(application.openapi_schema)
    return application, RawPath(Gate(cast("ASGIApp", application)))
