"""Changing the plan of a subscription: now or at the next billing date, asked beforehand, and taken back."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from litestar import MediaType, Router, delete, post
from litestar.params import FromPath, JSONBody

from app.http.auth import requires
from app.http.reading import Asked, Serving, check_spelling, members, path_id, refuse_unbilled
from app.http.subscription_answers import SubscriptionAnswer, find_subscription, replanned, whole_answer
from app.http.subscriptions import ItemInput, Quantity, read_items
from app.plan_changing import PlanOrder, cancel_scheduled_change, change_plan, foresee
from app.reading_log import reading
from app.service import Caller, Service
from domain import instant
from domain.invoice import Document
from domain.plan import ChangeMode

UNBILLED = ("addons", "discount_code", "discount_codes")
"""Fields of the contract that change what the new plan costs and are not honoured."""


class EffectiveAt(StrEnum):
    """When a change of plan takes effect."""

    immediately = "immediately"
    next_billing_date = "next_billing_date"


class PlanChange(msgspec.Struct):
    """Another product, or several with ``products``, or another quantity of the same."""

    proration_billing_mode: ChangeMode
    product_id: str | None = None
    quantity: Quantity | None = None
    products: list[ItemInput] | None = None
    effective_at: EffectiveAt = EffectiveAt.immediately


class PlanChanged(msgspec.Struct):
    """What changing the plan answers. No payment is asked for."""

    payment_id: str | None = None
    payment_link: str | None = None
    client_secret: str | None = None
    expires_on: str | None = None


class DueNow(msgspec.Struct):
    """What has to be paid at the moment of the change: nothing, since a cycle is billed when it is over."""

    currency: str
    customer_credits_currency: str
    settlement_currency: str
    customer_credits: int = 0
    settlement_amount: int = 0
    total_amount: int = 0


class AtOnce(msgspec.Struct):
    """When the change takes effect, and what it bills at that moment."""

    effective_at: str
    summary: DueNow
    line_items: list[Any]


class NextCycle(msgspec.Struct):
    """The cycle that is open after the change, and its fixed price before tax if it lasts as planned."""

    cycle_start: str
    cycle_end: str
    trial: bool
    fixed_amount: int


class ForeseenChange(msgspec.Struct, rename={"at_once": "immediate_charge"}):
    """What a change of plan would do.

    ``closing_cycle`` is the invoice of the cycle that it would end, if nothing more were recorded; ``next_cycle`` is
    the one that would be open then. Of a change at the next billing date both are null.
    """

    at_once: AtOnce
    new_plan: SubscriptionAnswer
    closing_cycle: Document | None
    next_cycle: NextCycle | None


def _order(request: Asked, data: PlanChange) -> PlanOrder:
    refuse_unbilled(members(request), UNBILLED)
    check_spelling(members(request), (*PlanChange.__struct_fields__, *UNBILLED))
    return order_of(data)


def order_of(data: PlanChange) -> PlanOrder:
    """The plan that a body asks for. Raises ``Invalid``."""
    return PlanOrder(
        items=read_items(data.product_id, data.quantity, data.products),
        mode=data.proration_billing_mode,
        later=data.effective_at is EffectiveAt.next_billing_date,
    )


@post("/subscriptions/{subscription_id:str}/change-plan", status_code=200, guards=[requires("write")])
async def post_change_plan(
    request: Asked, service: Serving, subscription_id: FromPath[str], data: JSONBody[PlanChange]
) -> PlanChanged:
    """Change the products of a subscription, now or at the next billing date.

    Now: the open cycle ends and is billed like any other once it is closed; `proration_billing_mode` says what becomes
    of its fixed price, and whether a new cycle begins or the rest of the old one goes on.
    """
    await change_plan(service, request.auth, path_id(subscription_id, "subscription"), _order(request, data))
    return PlanChanged()


@post("/subscriptions/{subscription_id:str}/change-plan/preview", status_code=200, guards=[requires("read")])
async def post_foreseen_change(
    request: Asked, service: Serving, subscription_id: FromPath[str], data: JSONBody[PlanChange]
) -> ForeseenChange:
    """What changing the plan would do. Nothing is changed."""
    return await foreseen_change(service, request.auth, path_id(subscription_id, "subscription"), _order(request, data))


async def foreseen_change(service: Service, caller: Caller, subscription_id: str, order: PlanOrder) -> ForeseenChange:
    """What changing the plan would do. Raises as ``change_plan`` does."""
    async with reading(service, caller, latest=True) as aggregates:
        foreseen = await foresee(aggregates, subscription_id, order)
        row = await find_subscription(aggregates.database, aggregates.tenant_id, subscription_id)
        new_plan = await whole_answer(aggregates, replanned(row, foreseen.subscription))
    currency, following = new_plan.currency, foreseen.following
    return ForeseenChange(
        at_once=AtOnce(
            effective_at=instant.text(foreseen.effective_at),
            summary=DueNow(currency=currency, customer_credits_currency=currency, settlement_currency=currency),
            line_items=[],
        ),
        new_plan=new_plan,
        closing_cycle=foreseen.cut,
        next_cycle=following
        and NextCycle(
            cycle_start=instant.text(following.start),
            cycle_end=instant.text(following.end),
            trial=following.trial,
            fixed_amount=foreseen.fixed_amount,
        ),
    )


@delete(
    "/subscriptions/{subscription_id:str}/change-plan/scheduled",
    status_code=200,
    media_type=MediaType.TEXT,
    guards=[requires("write")],
)
async def delete_scheduled_change(request: Asked, service: Serving, subscription_id: FromPath[str]) -> None:
    """Take back the change of plan that waits for the next billing date."""
    await cancel_scheduled_change(service, request.auth, path_id(subscription_id, "subscription"))


ROUTER = Router(
    "/",
    route_handlers=[post_change_plan, post_foreseen_change, delete_scheduled_change],
    tags=["Subscriptions"],
)
