"""The pages that try other prices on real history: a product's price form, and who would pay more and who less."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath
from litestar.response import Stream, Template

from app.dashboard.customers import SQL
from app.dashboard.form_tree import Tree, form_of, parts, read_as, subtree, text, tree_of
from app.dashboard.forms import read_form
from app.dashboard.page import curl_command, may_write, page, shared
from app.dashboard.product_choice import OFFERED_MAX
from app.dashboard.product_form import SIMULATION, find_product, shown
from app.dashboard.product_tree import credits_body, price_body, price_tree
from app.dashboard.product_words import interval_words, versions_of
from app.dashboard.simulation_picture import picture
from app.http.proposals import SimulationInput
from app.http.reading import Asked, Serving, path_id
from app.http.simulations import started
from app.limits import SIMULATION_RESTS
from app.simulating.changes import Changes
from app.simulating.running import Step
from domain.comparison import SimulatedCustomer, Totals
from domain.errors import Refusal
from domain.price import Price

SHOWN_MAX = 40
"""Customers in the picture, those for whom most would change: two screens."""

STILL_AT_WORK = b"\n"
"""Sent with each step: white space in a page is nothing, and it shows that the reader is still there."""


@get("/dashboard/simulations", guards=[may_write])
async def choose_product(request: Asked, service: Serving) -> Template:
    """Whose price is to be another."""
    rows = await service.pool.fetch(SQL["product_choice"], request.auth.tenant_id, OFFERED_MAX)
    return page(request, "simulations/choose.html", title="Simulate prices", nav="products", rows=rows)


@get("/dashboard/simulations/{product_id:str}", guards=[may_write])
async def propose(request: Asked, service: Serving, product_id: FromPath[str]) -> Template:
    """The form of a proposal, which starts as the product's newest price is."""
    row = await find_product(service, request.auth.tenant_id, path_id(product_id, "product"))
    newest = versions_of(row)[-1].price
    tree = price_tree(newest)
    subtree(tree, "price")["currency"] = newest.currency
    tree["purpose"] = SIMULATION
    return page(
        request,
        "simulations/propose.html",
        title=f"Simulate prices of {row['name']}",
        nav="products",
        row=row,
        interval=interval_words(newest.cycle),
        curl=curl_command(request, "POST", "/simulations", {"products": [{"product_id": row["product_id"]}]}),
        **await shown(request, service, tree, form_of(tree)),
    )


@post("/dashboard/simulations/{product_id:str}", guards=[may_write], status_code=200, media_type="text/html")
async def run(request: Asked, service: Serving, product_id: FromPath[str]) -> Stream:
    """Try the proposal in the form. The answer is one piece of a page, at the end; whoever leaves ends the work."""
    row = await find_product(service, request.auth.tenant_id, path_id(product_id, "product"))
    body = _body(row["product_id"], tree_of(await read_form(request)), versions_of(row)[-1].price)
    exact = msgspec.json.decode(msgspec.json.encode(body))
    steps = await started(service, request.auth, read_as(body, SimulationInput), exact, SIMULATION_RESTS)
    return Stream(_outcome(request, steps, body), media_type="text/html")


def _body(product_id: str, tree: Tree, newest: Price) -> dict[str, Any]:
    """What the form asks, as the body of ``POST /simulations``. Raises ``Invalid``."""
    change = {
        "product_id": product_id,
        "price": price_body(subtree(tree, "price"), newest),
        "credit_entitlements": credits_body(parts(tree, "credit_entitlements"), newest),
    }
    days = {name: f"{day}T00:00:00Z" for name in ("start", "end") if (day := text(tree, name))}
    return {"products": [change], **days}


async def _outcome(request: Asked, steps: AsyncGenerator[Step], body: dict[str, Any]) -> AsyncGenerator[bytes]:
    changes, totals = Changes(SHOWN_MAX), Totals()
    template, problem = "simulations/outcome.html", ""
    async with aclosing(steps):
        try:
            async for step in steps:
                yield STILL_AT_WORK
                match step:
                    case SimulatedCustomer():
                        changes.add(step)
                    case Totals():
                        totals = step
                    case _:
                        pass
        except Refusal as error:
            problem = error.message
    engine = request.app.template_engine
    assert engine is not None, "the application renders pages"
    told = engine.get_template(template).render(
        **shared(request),
        problem=problem,
        totals=totals,
        pictures=[picture(one, changes.largest()) for _, one in sorted(totals.by_currency.items())],
        curl=curl_command(request, "POST", "/simulations", body),
    )
    yield told.encode()


ROUTER = Router("/", route_handlers=[choose_product, propose, run])
