"""The overview: what happens now, and what to do first where nothing happens yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from litestar import Response, Router, get
from litestar.params import FromQuery
from litestar.response import Template

from app.billing import opened_subscription
from app.dashboard.page import curl_command, event_command, fragment, is_htmx, page
from app.dashboard.recorded import SQL, Span, recorded, steps
from app.http.reading import Asked, Serving
from app.reading_log import reading
from app.reckoning import reckon
from app.rules import rules_of, tenant_now
from app.service import Caller, Service
from projections.database import Database, Row
from projections.statements import load

EVENTS_SQL = load("app.sql", "events.sql")

HOURS = 24
LATEST_EVENTS = 8

COUNTED_MAX = 10_000
"""Customers and subscriptions are counted so far; beyond it the page says that there are more."""

ESTIMATED_MAX = 25
"""Subscriptions whose open cycles are rated for one look at the overview: a few hundredths of a second each."""


class Estimated(msgspec.Struct):
    """What the open cycles of the newest subscriptions come to, in minor units by currency, before tax and wallets."""

    amounts: dict[str, int]
    cycles: int
    subscriptions: int
    position: int


async def _hours(database: Database, service: Service, caller: Caller) -> list[Span]:
    """The last hours, from the hour that is still running back."""
    now = tenant_now(service, await rules_of(database, service, caller.tenant_id))
    return await recorded(database, caller.tenant_id, steps(now, timedelta(hours=1), HOURS))


async def _standing(database: Database, caller: Caller) -> Row:
    row = await database.fetchrow(SQL["standing"], caller.tenant_id, COUNTED_MAX + 1)
    assert row is not None, "a select without a table gives one row"
    return row


async def _counted(database: Database, service: Service, caller: Caller) -> dict[str, Any]:
    hours = await _hours(database, service, caller)
    return {
        "standing": await _standing(database, caller),
        "counted_max": COUNTED_MAX,
        "events_day": sum(span.events for span in hours),
        "events_hour": hours[-1].events,
    }


async def _latest(database: Database, caller: Caller) -> list[Row]:
    return await database.fetch(EVENTS_SQL["events"], caller.tenant_id, None, None, None, LATEST_EVENTS, 0)


@get("/")
async def overview(request: Asked, service: Serving, done: FromQuery[int | None] = None) -> Template | Response[None]:
    """What happens now; nothing for a page that shows so many first steps as done while no other is."""
    async with service.pool.acquire() as database:
        counted = await _counted(database, service, request.auth)
        latest = await _latest(database, request.auth)
    first = _first_steps(request, counted["standing"])
    if first and is_htmx(request) and done == sum(step.done for step in first):
        return Response(None, status_code=204)
    return page(request, "overview/page.html", title="Overview", nav="overview", first=first, latest=latest, **counted)


@get("/dashboard/overview/counted")
async def overview_counted(request: Asked, service: Serving) -> Template:
    """The numbers at the top, which are asked for again and again."""
    async with service.pool.acquire() as database:
        return fragment(request, "overview/counted.html", **await _counted(database, service, request.auth))


@get("/dashboard/overview/latest")
async def overview_latest(request: Asked, service: Serving) -> Template:
    """The latest events, likewise."""
    async with service.pool.acquire() as database:
        return fragment(request, "overview/latest.html", latest=await _latest(database, request.auth))


@get("/dashboard/overview/recorded.json")
async def overview_recorded(request: Asked, service: Serving) -> dict[str, Any]:
    """The chart of the last day."""
    async with service.pool.acquire() as database:
        return chart(await _hours(database, service, request.auth), "bar")


def chart(spans: list[Span], kind: str) -> dict[str, Any]:
    """Recorded events as a chart shows them."""
    values = [str(span.events) for span in spans]
    return {
        "x": [int(span.start.timestamp()) for span in spans],
        "series": [{"label": "Recorded", "values": values, "unit": "events"}],
        "kind": kind,
    }


@get("/dashboard/overview/estimated")
async def overview_estimated(request: Asked, service: Serving) -> Template:
    """What the open cycles come to so far."""
    estimated = await _estimated(service, request.auth)
    return fragment(request, "overview/estimated.html", estimated=estimated, estimated_max=ESTIMATED_MAX)


async def _estimated(service: Service, caller: Caller) -> Estimated:
    amounts: dict[str, int] = {}
    cycles = 0
    rows = await service.pool.fetch(SQL["newest_active"], caller.tenant_id, ESTIMATED_MAX)
    async with reading(service, caller, latest=True) as known:
        for row in rows:
            subscription = await opened_subscription(known, row["subscription_id"])
            for cycle in [cycle for cycle in subscription.cycles if cycle.invoice_id is None][:1]:
                reckoning = await reckon(known, subscription, cycle)
                amounts.setdefault(subscription.currency, 0)
                amounts[subscription.currency] += reckoning.rated.subtotal_amount
                cycles += 1
        return Estimated(dict(sorted(amounts.items())), cycles, len(rows), known.position)


class Step(msgspec.Struct, frozen=True):
    """One of the first steps: ``curl`` does it in a shell, ``action`` (label and address) on a page."""

    title: str
    text: str
    done: bool
    curl: str = ""
    action: tuple[str, str] | None = None


def _first_steps(request: Asked, standing: Row) -> list[Step]:
    """What a newcomer does first; empty when all of it is done."""
    event = {"customer_id": "ada", "event_name": "api.call", "metadata": {"bytes": 2048}}
    meter = {
        "name": "API calls",
        "event_name": "api.call",
        "measurement_unit": "call",
        "aggregation": {"type": "count"},
    }
    customer = {"customer_id": "ada", "email": "ada@example.com", "name": "Ada"}
    found = [
        Step(
            "Send a usage event",
            "Nothing has to be declared before: events are kept for ever, and meters count them later.",
            standing["has_usage"],
            event_command(request, event),
        ),
        Step(
            "Declare a meter",
            "It says which events count, and how. It also counts what was sent before it.",
            standing["has_meter"],
            curl_command(request, "POST", "/meters", meter),
            ("New meter", "/dashboard/meters/new"),
        ),
        Step(
            "Make a product",
            "It gives the meter a price: per unit, in tiers, with free units or credits.",
            standing["has_product"],
            action=("New product", "/dashboard/products/new"),
        ),
        Step(
            "Add a customer",
            "With the id that your events name.",
            standing["customers"] > 0,
            curl_command(request, "POST", "/customers", customer),
            ("Customers", "/dashboard/customers"),
        ),
        Step(
            "Subscribe the customer to the product",
            "From then on usage costs money, and every cycle closes into one invoice.",
            standing["has_subscription"],
            action=("Customers", "/dashboard/customers"),
        ),
    ]
    return [] if all(step.done for step in found) else found


ROUTER = Router(
    "/", route_handlers=[overview, overview_counted, overview_latest, overview_recorded, overview_estimated]
)
