"""The page of a subscription: usage and cost of its cycle as they move, what it will come to, and closing it."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from app.billing import close_cycle
from app.dashboard.customers import TONES, alerts_of, invoices_shown, product_names
from app.dashboard.line_steps import KINDS
from app.dashboard.open_cycles import CycleShown, cycle_shown
from app.dashboard.page import event_command, fragment, is_htmx, may_write, page
from app.dashboard.wording import segment
from app.http.credit_balances import credit_usage
from app.http.meters import SQL as CATALOG_SQL
from app.http.reading import Asked, Serving, path_id, read_instant
from app.http.subscription_answers import answers, find_subscription
from app.http.usage import Window, edges_of
from app.live.held import shown_cycles
from app.opening import open_cycles
from app.reading_log import reading
from domain import number
from domain.aggregation import Aggregation, Kind
from domain.customer import Customer
from domain.errors import Invalid, NotFound
from domain.plan import OpenedCycle
from domain.subscription import Subscription
from projections.aggregates import Aggregates, known

WHAT = "subscription"

HOURS_UP_TO_DAYS = 3
"""Cycles as short as this are drawn by the hour."""

DAYS_UP_TO_DAYS = 400
"""Cycles as short as this, a year or less, are drawn by the day, longer ones by the month."""

DONE = {
    "created": "The customer is subscribed.",
    "planned": "The plan is changed.",
    "later": "The plan changes at the next billing date.",
    "kept": "The plan stays as it is.",
    "paused": "The subscription is paused: no cycle is open until it is resumed.",
    "resumed": "The subscription goes on with a new cycle.",
    "cancelled": "The subscription is cancelled.",
    "ending": "The subscription ends with the open cycle.",
    "going": "The subscription goes on after the open cycle.",
    "alert": "The alert is set.",
    "alert-deleted": "The alert is deleted. What it fired for stays.",
}
"""What a form has done, told after it."""


class _Chosen(msgspec.Struct, frozen=True):
    """A subscription with the cycle that its page is about, and the earliest that has ended and waits for its close."""

    subscription: Subscription
    cycle: OpenedCycle | None
    waiting: OpenedCycle | None


async def _choose(aggregates: Aggregates, subscription_id: str, start: datetime | None) -> _Chosen:
    """The cycle with that start, else the newest that is not closed. Raises ``NotFound``."""
    subscription = await aggregates.get(Subscription, subscription_id)
    await open_cycles(aggregates, subscription, aggregates.now)
    shown = shown_cycles(subscription)
    waiting = shown[0] if shown and shown[0].end <= aggregates.now else None
    if start is None:
        return _Chosen(subscription, shown[-1] if shown else None, waiting)
    cycle = subscription.cycle_starting(start)
    if cycle is None or cycle.invoice_id is not None:
        raise NotFound("open cycle", start.isoformat())
    return _Chosen(subscription, cycle, waiting)


async def _moving(aggregates: Aggregates, chosen: _Chosen) -> dict[str, Any]:
    """What moves with usage: the cycle's estimate and forecast, and the credits."""
    shown: CycleShown | None = None
    if chosen.cycle is not None:
        shown = await cycle_shown(aggregates, chosen.subscription, chosen.cycle)
    return {
        "subscription_id": chosen.subscription.object_id,
        "customer_id": chosen.subscription.customer_id,
        "cycle": shown,
        "kinds": KINDS,
        "credits": await credit_usage(aggregates, chosen.subscription),
    }


@get("/dashboard/subscriptions/{subscription_id:str}")
async def subscription_page(
    request: Asked,
    service: Serving,
    subscription_id: FromPath[str],
    cycle_start: FromQuery[str | None] = None,
    done: FromQuery[str] = "",
) -> Template:
    """One subscription: its open cycle as it moves, invoices, alerts, and what can be changed."""
    subscription_id = path_id(subscription_id, WHAT)
    async with reading(service, request.auth, latest=True) as aggregates:
        chosen = await _choose(aggregates, subscription_id, read_instant(cycle_start, "cycle_start"))
        row = await find_subscription(aggregates.database, aggregates.tenant_id, subscription_id)
        (told,) = await answers(aggregates.database, aggregates.tenant_id, [row])
        names = await product_names(aggregates, [told])
        moving = await _moving(aggregates, chosen)
        return page(
            request,
            "subscriptions/subscription.html",
            title=", ".join(names[item.product_id] for item in told.products),
            nav="customers",
            told=told,
            product_names=names,
            waiting=chosen.waiting,
            next_start=await _next_start(aggregates, chosen.subscription),
            bills=await invoices_shown(aggregates, None, subscription_id),
            tones=TONES,
            done=DONE.get(done, ""),
            curl=await _first_event(request, aggregates, moving["cycle"], chosen.subscription.customer_id),
            **moving,
            **await alerts_of(aggregates, chosen.subscription.customer_id, subscription_id),
        )


async def _next_start(aggregates: Aggregates, subscription: Subscription) -> datetime:
    zone = known(await aggregates.find(Customer, subscription.customer_id)).time_zone
    return subscription.next_start(zone)


async def _first_event(request: Asked, aggregates: Aggregates, cycle: CycleShown | None, customer_id: str) -> str:
    """A command that sends usage for the first meter of the cycle; empty where there is none, or usage already."""
    if cycle is None or not cycle.meters or any(meter.quantity != "0" for meter in cycle.meters):
        return ""
    where = (aggregates.tenant_id, [cycle.meters[0].meter_id])
    (row,) = await aggregates.database.fetch(CATALOG_SQL["meters_by_id"], *where)
    aggregation = msgspec.json.decode(row["aggregation"], type=Aggregation)
    event: dict[str, Any] = {"customer_id": customer_id, "event_name": row["event_name"]}
    if aggregation.type is not Kind.count:
        event["metadata"] = {aggregation.key: 1}
    return event_command(request, event)


@get("/dashboard/subscriptions/{subscription_id:str}/moving")
async def subscription_moving(
    request: Asked, service: Serving, subscription_id: FromPath[str], cycle_start: FromQuery[str | None] = None
) -> Template:
    """The part of the page that moves with usage."""
    start = read_instant(cycle_start, "cycle_start")
    async with reading(service, request.auth, latest=True) as aggregates:
        moving = await _moving(aggregates, await _choose(aggregates, path_id(subscription_id, WHAT), start))
    return fragment(request, "subscriptions/moving.html", **moving)


@get("/dashboard/subscriptions/{subscription_id:str}/usage.json")
async def usage_chart(
    request: Asked,
    service: Serving,
    subscription_id: FromPath[str],
    meter_id: FromQuery[str],
    cycle_start: FromQuery[str | None] = None,
) -> dict[str, Any]:
    """What a meter counted in the cycle, by the day in the customer's time zone; nothing for days to come."""
    subscription_id, start = path_id(subscription_id, WHAT), read_instant(cycle_start, "cycle_start")
    async with reading(service, request.auth, latest=True) as aggregates:
        chosen = await _choose(aggregates, subscription_id, start)
        meter = (await aggregates.meters()).get(meter_id)
        if meter is None:
            raise NotFound("meter", meter_id)
        if chosen.cycle is None:
            raise Invalid("cycle_start", "no cycle is open")
        customer_id = chosen.subscription.customer_id
        zone = known(await aggregates.find(Customer, customer_id)).time_zone
        edges = edges_of(chosen.cycle.start, chosen.cycle.end, _window(chosen.cycle), zone)
        parts = await aggregates.measured(meter, customer_id, edges)
        (row,) = await aggregates.database.fetch(CATALOG_SQL["meters_by_id"], aggregates.tenant_id, [meter_id])
    values = [
        number.plain(part.quantity(meter.aggregation)) if since <= aggregates.now else None
        for (since, _), part in zip(itertools.pairwise(edges), parts, strict=True)
    ]
    return {
        "kind": "bar",
        "x": [int(edge.timestamp()) for edge in edges[:-1]],
        "series": [{"label": row["name"], "values": values, "unit": row["measurement_unit"]}],
    }


def _window(cycle: OpenedCycle) -> Window:
    days = (cycle.end - cycle.start).days
    if days <= HOURS_UP_TO_DAYS:
        return Window.hour
    return Window.day if days <= DAYS_UP_TO_DAYS else Window.month


@post("/dashboard/subscriptions/{subscription_id:str}/close-cycle", guards=[may_write], status_code=200)
async def close(
    request: Asked, service: Serving, subscription_id: FromPath[str], cycle_start: FromQuery[str]
) -> Response[None] | Redirect:
    """Close a cycle that has ended, and go to its invoice. Raises ``Conflict`` while it has not."""
    start = read_instant(cycle_start, "cycle_start")
    bill = await close_cycle(service, request.auth, path_id(subscription_id, WHAT), start)
    invoice = f"/dashboard/invoices/{segment(str(bill.document.invoice_id))}"
    if is_htmx(request):
        return Response(None, status_code=204, headers={"HX-Redirect": invoice})
    return Redirect(invoice, status_code=303)


ROUTER = Router("/", route_handlers=[subscription_page, subscription_moving, usage_chart, close])
