"""Erasing a customer's personal data: a page that says what that means, and a form that has to be meant."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from app.dashboard.forms import Form, read_form
from app.dashboard.page import may_write, page
from app.dashboard.wording import segment
from app.erasing import erase_customer
from app.http.customers import answers, find_customer
from app.http.reading import Asked, Serving, path_id


@get("/dashboard/customers/{customer_id:str}/erase", guards=[may_write])
async def erase_form(request: Asked, service: Serving, customer_id: FromPath[str]) -> Template:
    """What erasing does, before it is done."""
    return await _form(request, service, path_id(customer_id, "customer"), Form())


@post("/dashboard/customers/{customer_id:str}/erase", guards=[may_write], status_code=200)
async def erase(request: Asked, service: Serving, customer_id: FromPath[str]) -> Template | Redirect:
    """Erase, when the customer's id was typed in; otherwise the form again."""
    customer_id, form = path_id(customer_id, "customer"), await read_form(request)
    if form.text("confirm") != customer_id.strip():
        form.wrong("confirm", "type the customer's id, as it stands above")
        return await _form(request, service, customer_id, form, 422)
    await erase_customer(service, request.auth, customer_id)
    return Redirect(f"/dashboard/customers/{segment(customer_id)}?done=erased", status_code=303)


async def _form(request: Asked, service: Serving, customer_id: str, form: Form, status: int = 200) -> Template:
    async with service.pool.acquire() as connection:
        row = await find_customer(connection, request.auth.tenant_id, customer_id)
        (customer,) = await answers(connection, request.auth.tenant_id, [row])
    return page(
        request,
        "customers/erase.html",
        title="Erase personal data",
        nav="customers",
        status=status,
        form=form,
        customer=customer,
    )


ROUTER = Router("/", route_handlers=[erase_form, erase])
