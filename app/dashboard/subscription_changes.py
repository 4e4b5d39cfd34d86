"""Changing a subscription: another plan, a pause, an end. Each shows what it would do before it is done."""

from __future__ import annotations

from typing import Any

from litestar import Router, get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from app.dashboard.form_tree import Tree, read_as, tree_of
from app.dashboard.forms import Form, read_form
from app.dashboard.page import fragment, may_write, page
from app.dashboard.product_choice import PLACES, offered, products_body, rows_of, starting
from app.dashboard.wording import segment
from app.http.plan_changes import PlanChange, foreseen_change, order_of
from app.http.reading import Asked, Serving, path_id
from app.plan_changing import PlanOrder, cancel_scheduled_change, change_plan, foresee_end
from app.reading_log import reading
from app.service import Service
from app.subscribing import Change, change_subscription
from domain.errors import Conflict, Invalid
from domain.invoice import Document
from domain.plan import ChangeMode
from domain.subscription import Subscription
from domain.subscription_events import Status

WHAT = "subscription"

MODES = {
    ChangeMode.prorated_immediately: "A new cycle begins; the fee of the old one is shared out by time",
    ChangeMode.prorated_immediately_keep_cycle: "The cycle's end stays; both fees are shared out by time",
    ChangeMode.full_immediately: "A new cycle begins; the fee of the old one is charged in full",
    ChangeMode.difference_immediately: "A new cycle begins; the fee of the old one is not charged",
    ChangeMode.do_not_bill: "The cycle's end stays; its old fee in full, the new plan's not before the next",
}
"""How a change of plan inside a cycle is billed, in words."""

WHEN = {"immediately": "Now", "next_billing_date": "At the next billing date"}

NOW, AT_END = "now", "at_end"
"""When a subscription is cancelled."""

FIELDS = ("effective_at", "proration_billing_mode", "when")


@get("/dashboard/subscriptions/{subscription_id:str}/plan", guards=[may_write])
async def plan_form(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template:
    """The form for another plan, filled in with the present one."""
    subscription_id = path_id(subscription_id, WHAT)
    subscription = await _get(request, service, subscription_id)
    form = Form(starting(subscription.items))
    return await _plan(request, service, subscription, form, tree_of(form))


async def _get(request: Asked, service: Service, subscription_id: str) -> Subscription:
    async with reading(service, request.auth, latest=True) as aggregates:
        return await aggregates.get(Subscription, subscription_id)


async def _plan(
    request: Asked, service: Service, subscription: Subscription, form: Form, tree: Tree, status: int = 200
) -> Template:
    async with service.pool.acquire() as connection:
        products = await offered(connection, request.auth.tenant_id, subscription.currency)
    rows = rows_of(tree)
    names = [f"products[{index}].{field}" for index in range(rows) for field in ("product_id", "quantity")]
    return page(
        request,
        "subscriptions/plan.html",
        title="Change plan",
        nav="customers",
        status=status,
        form=form,
        fields=[*FIELDS, *names],
        subscription_id=subscription.object_id,
        products=products,
        rows=rows,
        modes=[(mode.value, words) for mode, words in MODES.items()],
        when=list(WHEN.items()),
    )


def _order(form: Form) -> PlanOrder:
    """The plan that the form asks for. Raises ``Invalid``."""
    fields = {name: form.text(name) for name in ("effective_at", "proration_billing_mode")}
    return order_of(read_as({**products_body(tree_of(form)), **fields}, PlanChange))


@post("/dashboard/subscriptions/{subscription_id:str}/plan/preview", guards=[may_write], status_code=200)
async def plan_change_estimate(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template:
    """What the change in the form would do, in place of the last one that was looked at."""
    form, found = await read_form(request), dict[str, Any]()
    try:
        found["foreseen"] = await foreseen_change(service, request.auth, path_id(subscription_id, WHAT), _order(form))
    except (Invalid, Conflict) as error:
        found["problem"] = error.message
    return fragment(request, "subscriptions/plan_preview.html", **{"foreseen": None, "problem": "", **found})


@post("/dashboard/subscriptions/{subscription_id:str}/plan", guards=[may_write], status_code=200)
async def plan_change(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template | Redirect:
    """Change the plan; with an error the form again."""
    form, subscription_id = await read_form(request), path_id(subscription_id, WHAT)
    try:
        order = _order(form)
        await change_plan(service, request.auth, subscription_id, order)
    except (Invalid, Conflict) as error:
        form.refuse(error, **PLACES)
        subscription = await _get(request, service, subscription_id)
        return await _plan(request, service, subscription, form, _tree(form), 422)
    return _back(subscription_id, "later" if order.later else "planned")


def _tree(form: Form) -> Tree:
    """The rows of a form that was refused; none where they cannot be read."""
    try:
        return tree_of(form)
    except Invalid:
        return {}


@post("/dashboard/subscriptions/{subscription_id:str}/plan/keep", guards=[may_write], status_code=303)
async def plan_keep(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Redirect:
    """Take back the change of plan that waits."""
    subscription_id = path_id(subscription_id, WHAT)
    await cancel_scheduled_change(service, request.auth, subscription_id)
    return _back(subscription_id, "kept")


@get("/dashboard/subscriptions/{subscription_id:str}/pause", guards=[may_write])
async def pause_form(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template:
    """What a pause would do, and the button that does it."""
    return await _end(request, service, path_id(subscription_id, WHAT), Status.paused, Form())


@get("/dashboard/subscriptions/{subscription_id:str}/cancel", guards=[may_write])
async def cancel_form(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template:
    """What cancelling would do, now or with the open cycle, and the button that does it."""
    return await _end(request, service, path_id(subscription_id, WHAT), Status.cancelled, Form(when=AT_END))


async def _end(
    request: Asked, service: Service, subscription_id: str, status: Status, form: Form, code: int = 200
) -> Template:
    cut: Document | None = None
    async with reading(service, request.auth, latest=True) as aggregates:
        subscription = await aggregates.get(Subscription, subscription_id)
        try:
            cut = await foresee_end(aggregates, subscription_id, Change(status=status))
        except Conflict as error:
            form.refuse(error)
    return page(
        request,
        "subscriptions/end.html",
        title="Pause the subscription" if status is Status.paused else "Cancel the subscription",
        nav="customers",
        status=409 if form.errors else code,
        form=form,
        pausing=status is Status.paused,
        paused=subscription.paused_at is not None,
        subscription_id=subscription_id,
        cut=cut,
    )


@post("/dashboard/subscriptions/{subscription_id:str}/pause", guards=[may_write], status_code=200)
async def pause(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template | Redirect:
    """Pause."""
    change = Change(status=Status.paused)
    return await _carry_out(request, service, path_id(subscription_id, WHAT), change, "paused")


@post("/dashboard/subscriptions/{subscription_id:str}/resume", guards=[may_write], status_code=200)
async def resume(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template | Redirect:
    """Go on after a pause."""
    change = Change(status=Status.active)
    return await _carry_out(request, service, path_id(subscription_id, WHAT), change, "resumed")


@post("/dashboard/subscriptions/{subscription_id:str}/cancel", guards=[may_write], status_code=200)
async def cancel(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template | Redirect:
    """Cancel, now or with the open cycle."""
    form, subscription_id = await read_form(request), path_id(subscription_id, WHAT)
    if form.text("when") not in (NOW, AT_END):
        form.wrong("when", "when: choose when it ends")
        return await _end(request, service, subscription_id, Status.cancelled, form, 422)
    if form.text("when") == NOW:
        return await _carry_out(request, service, subscription_id, Change(status=Status.cancelled), "cancelled")
    return await _carry_out(request, service, subscription_id, Change(cancel_at_next_billing_date=True), "ending")


@post("/dashboard/subscriptions/{subscription_id:str}/go-on", guards=[may_write], status_code=200)
async def go_on(request: Asked, service: Serving, subscription_id: FromPath[str]) -> Template | Redirect:
    """Take back that it ends with the open cycle."""
    change = Change(cancel_at_next_billing_date=False)
    return await _carry_out(request, service, path_id(subscription_id, WHAT), change, "going")


async def _carry_out(request: Asked, service: Service, subscription_id: str, change: Change, done: str) -> Redirect:
    """Change it, and go back to its page. Raises as ``change_subscription`` does: the error has a page of its own."""
    await change_subscription(service, request.auth, subscription_id, change)
    return _back(subscription_id, done)


def _back(subscription_id: str, done: str) -> Redirect:
    return Redirect(f"/dashboard/subscriptions/{segment(subscription_id)}?done={done}", status_code=303)


ROUTER = Router(
    "/",
    route_handlers=[
        plan_form,
        plan_change_estimate,
        plan_change,
        plan_keep,
        pause_form,
        pause,
        resume,
        cancel_form,
        cancel,
        go_on,
    ],
)
