"""Subscribing a customer to products."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from app.dashboard.form_tree import Tree, read_as, tree_of
from app.dashboard.forms import Form, read_form
from app.dashboard.page import may_write, page
from app.dashboard.product_choice import PLACES, offered, products_body, rows_of
from app.dashboard.wording import segment
from app.http.customers import find_customer
from app.http.reading import Asked, Serving, path_id
from app.http.subscriptions import SubscriptionCreate, order_of
from app.service import Service
from app.subscribing import subscribe
from domain.errors import Invalid

FIELDS = ("country", "anchor_date", "trial_period_days")

RENAMED = {**PLACES, "billing.country": "country"}


@get("/dashboard/customers/{customer_id:str}/subscribe", guards=[may_write])
async def new_subscription(request: Asked, service: Serving, customer_id: FromPath[str]) -> Template:
    """The form for a subscription."""
    return await _form(request, service, path_id(customer_id, "customer"), Form(), {})


@post("/dashboard/customers/{customer_id:str}/subscribe", guards=[may_write], status_code=200)
async def create_subscription(request: Asked, service: Serving, customer_id: FromPath[str]) -> Template | Redirect:
    """Subscribe to what the form names; with an error the form again."""
    form, customer_id = await read_form(request), path_id(customer_id, "customer")
    tree: Tree = {}
    try:
        tree = tree_of(form)
        body = {
            **products_body(tree),
            "customer": {"customer_id": customer_id},
            "billing": {"country": form.text("country").upper()},
            "anchor_date": form.text("anchor_date") or None,
            "trial_period_days": _days(form.text("trial_period_days")),
        }
        order = order_of(read_as(body, SubscriptionCreate))
        subscription_id = await subscribe(service, request.auth, order)
    except Invalid as error:
        form.refuse(error, **RENAMED)
        return await _form(request, service, customer_id, form, tree, 422)
    return Redirect(f"/dashboard/subscriptions/{segment(subscription_id)}?done=created", status_code=303)


def _days(entered: str) -> int | None:
    if entered and not (entered.isascii() and entered.isdigit() and len(entered) <= 6):
        raise Invalid("trial_period_days", "must be a whole number of days")
    return int(entered) if entered else None


async def _form(
    request: Asked, service: Service, customer_id: str, form: Form, tree: Tree, status: int = 200
) -> Template:
    async with service.pool.acquire() as connection:
        await find_customer(connection, request.auth.tenant_id, customer_id)
        products = await offered(connection, request.auth.tenant_id)
    rows = rows_of(tree)
    names = [f"products[{index}].{field}" for index in range(rows) for field in ("product_id", "quantity")]
    return page(
        request,
        "subscriptions/new.html",
        title="Subscribe",
        nav="customers",
        status=status,
        form=form,
        fields=[*FIELDS, *names],
        customer_id=customer_id,
        products=products,
        rows=rows,
    )


ROUTER = Router("/", route_handlers=[new_subscription, create_subscription])
