"""Alerts: thresholds that somebody wants to hear of, and what fired."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import MediaType, Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.alerting.rows import SQL, AlertFiring, firing_of
from app.credit_entries import undeleted
from app.http.auth import requires
from app.http.prices import read_decimal
from app.http.reading import (
    PAGE_SIZE,
    Asked,
    PageNumber,
    PageSize,
    Serving,
    check_known,
    members,
    page,
    path_id,
)
from app.identity import new_id
from app.limits import CUSTOMER_ALERTS_MAX
from app.service import Caller, Service
from app.transaction import Transaction, transaction
from domain import instant
from domain.alert import Alert, AlertKind, Target, check_target
from domain.customer import Customer
from domain.errors import Conflict, Invalid, NotFound
from domain.meter import Meter
from domain.subscription import Subscription
from projections.database import Row

WHAT = "alert"


class AlertCreate(msgspec.Struct):
    """A threshold: ``threshold`` is decimal text in the unit of its kind, of an ``amount`` whole minor units.

    One of ``customer_id`` and ``subscription_id``. A customer's holds for each of its subscriptions by itself.
    """

    kind: AlertKind
    threshold: Annotated[str, msgspec.Meta(examples=["8000"])] | int
    customer_id: str | None = None
    subscription_id: str | None = None
    meter_id: str | None = None
    credit_entitlement_id: str | None = None


class AlertAnswer(msgspec.Struct):
    """An alert. Without ``subscription_id`` it holds for each subscription of the customer by itself."""

    alert_id: str
    business_id: str
    customer_id: str
    subscription_id: str | None
    kind: AlertKind
    meter_id: str | None
    credit_entitlement_id: str | None
    threshold: str
    created_at: str


class AlertList(msgspec.Struct):
    """A page of alerts, newest first."""

    items: list[AlertAnswer]


class FiringList(msgspec.Struct):
    """A page of what fired, newest first."""

    items: list[AlertFiring]


def answer(tenant_id: str, row: Row) -> AlertAnswer:
    """A row of the read model on the wire."""
    return AlertAnswer(
        alert_id=row["alert_id"],
        business_id=tenant_id,
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        kind=AlertKind(row["kind"]),
        meter_id=row["meter_id"],
        credit_entitlement_id=row["credit_entitlement_id"],
        threshold=row["threshold"],
        created_at=instant.text(row["created_at"]),
    )


async def _one(service: Serving, tenant_id: str, alert_id: str) -> AlertAnswer:
    row = await service.pool.fetchrow(SQL["alert"], tenant_id, alert_id)
    if row is None:
        raise NotFound(WHAT, alert_id)
    return answer(tenant_id, row)


async def _customer_of(running: Transaction, data: AlertCreate) -> str:
    """Whose alert it will be. Raises ``Invalid`` when what it names is not there, ``Conflict`` past the limit."""
    if (data.customer_id is None) == (data.subscription_id is None):
        raise Invalid("customer_id", "either customer_id or subscription_id is required, and not both")
    if data.subscription_id is not None:
        subscription = await running.find(Subscription, data.subscription_id)
        if subscription is None:
            rule = f"there is no subscription '{data.subscription_id}'"
            raise Invalid("subscription_id", rule, "SUBSCRIPTION_NOT_FOUND")
        customer_id = subscription.customer_id
    else:
        customer_id = str(data.customer_id)
        if await running.find(Customer, customer_id) is None:
            raise Invalid("customer_id", f"there is no customer '{customer_id}'", "CUSTOMER_NOT_FOUND")
    if await running.database.fetchval(SQL["count_alerts"], running.tenant_id, customer_id) >= CUSTOMER_ALERTS_MAX:
        raise Conflict(
            "TOO_MANY_ALERTS", f"customer '{customer_id}' has {CUSTOMER_ALERTS_MAX} alerts; delete one first"
        )
    return customer_id


async def _target(running: Transaction, data: AlertCreate) -> Target:
    """What it will look at. Raises ``Invalid`` for a meter that is not there, ``NotFound`` for such an entitlement."""
    target = Target(kind=data.kind, meter_id=data.meter_id, credit_entitlement_id=data.credit_entitlement_id)
    check_target(target)
    if target.meter_id is not None and await running.find(Meter, target.meter_id) is None:
        raise Invalid("meter_id", f"there is no meter '{target.meter_id}'", "METER_NOT_FOUND")
    if target.credit_entitlement_id is not None:
        await undeleted(running, target.credit_entitlement_id)
    return target


@post("/alerts", status_code=201, guards=[requires("write")])
async def create_alert(request: Asked, service: Serving, data: JSONBody[AlertCreate]) -> AlertAnswer:
    """Set an alert. It fires once in each cycle, also in one whose usage has reached the threshold already."""
    check_known(members(request), AlertCreate.__struct_fields__)
    return await _one(service, request.auth.tenant_id, await set_alert(service, request.auth, data))


async def set_alert(service: Service, caller: Caller, data: AlertCreate) -> str:
    """Set an alert; its id. Raises ``Invalid``, ``NotFound``, and ``Conflict`` when the customer has too many."""
    threshold, alert_id = read_decimal(data.threshold, "threshold"), new_id("alt")
    async with transaction(service, caller, "alert.create") as running:
        alert = Alert.create(
            alert_id,
            customer_id=await _customer_of(running, data),
            subscription_id=data.subscription_id,
            target=await _target(running, data),
            threshold=threshold,
            at=running.now,
        )
        running.add(alert)
    return alert_id


@get("/alerts", guards=[requires("read")])
async def list_alerts(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str | None] = None,
    subscription_id: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> AlertList:
    """Alerts, newest first. ``subscription_id`` finds those set on the subscription itself."""
    rows, tenant_id = page(page_number, page_size), request.auth.tenant_id
    where = (customer_id, subscription_id, rows.size, rows.offset)
    return AlertList([answer(tenant_id, row) for row in await service.pool.fetch(SQL["alerts"], tenant_id, *where)])


@get("/alerts/{alert_id:str}", guards=[requires("read")])
async def get_alert(request: Asked, service: Serving, alert_id: FromPath[str]) -> AlertAnswer:
    """One alert; a deleted one is not found."""
    return await _one(service, request.auth.tenant_id, path_id(alert_id, WHAT))


# An answer without a body is declared as text: as JSON it would be the word `null`.
@delete("/alerts/{alert_id:str}", status_code=200, media_type=MediaType.TEXT, guards=[requires("write")])
async def delete_alert(request: Asked, service: Serving, alert_id: FromPath[str]) -> None:
    """Let an alert fire no more. What it fired for stays."""
    await remove_alert(service, request.auth, path_id(alert_id, WHAT))


async def remove_alert(service: Service, caller: Caller, alert_id: str) -> None:
    """Let an alert fire no more. Raises ``NotFound``, and ``Gone`` when it is deleted already."""
    async with transaction(service, caller, "alert.delete") as running:
        (await running.get(Alert, alert_id)).delete(running.now)


@get("/alert-firings", guards=[requires("read")])
async def list_alert_firings(
    request: Asked,
    service: Serving,
    customer_id: FromQuery[str | None] = None,
    subscription_id: FromQuery[str | None] = None,
    alert_id: FromQuery[str | None] = None,
    page_number: PageNumber = 0,
    page_size: PageSize = PAGE_SIZE,
) -> FiringList:
    """What fired, newest first, also of alerts that are deleted."""
    rows, where = page(page_number, page_size), (customer_id, subscription_id, alert_id)
    found = await service.pool.fetch(SQL["firings"], request.auth.tenant_id, *where, rows.size, rows.offset)
    return FiringList([firing_of(row) for row in found])


ROUTER = Router(
    "/",
    route_handlers=[create_alert, list_alerts, get_alert, delete_alert, list_alert_firings],
    tags=["Alerts"],
)
