"""Declaring a meter: the form, its filter put together clause by clause, and what it makes of recent events."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

from litestar import Router, get, post
from litestar.params import FromQuery
from litestar.response import Redirect, Template

from app.dashboard.form_tree import (
    Tree,
    add_part,
    form_of,
    parts,
    read_as,
    remove_part,
    subtree,
    text,
    tree_of,
)
from app.dashboard.forms import Form, read_form
from app.dashboard.meter_counts import TooMuch, bounded
from app.dashboard.meter_sample import Sample, recent_events, recent_names, sample_of, seen_keys
from app.dashboard.meter_words import KINDS, OPERATORS, filter_words
from app.dashboard.page import fragment, may_write, page
from app.http.meters import MeterCreate, declare_meter
from app.http.reading import Asked, Serving
from app.projecting import NotProjected
from app.reading_log import wait_for_object
from app.service import Caller, Service
from domain import number
from domain.aggregation import InvalidAggregation, Kind, read_aggregation
from domain.errors import Invalid
from domain.filter import CLAUSES_MAX, NESTING_MAX, InvalidFilter, read_filter
from domain.meter import Meter
from projections.database import Row

FIELDS = ("name", "event_name", "aggregation.type", "aggregation.key", "measurement_unit", "description")

TYPES = (("", "as it looks"), ("text", "text"), ("number", "number"), ("boolean", "true or false"))
"""How the value of a condition is read. What looks like a number is compared as one, unless text is asked for."""

CONDITION: Tree = {"key": "", "operator": "equals", "type": "", "value": ""}
GROUP: Tree = {"conjunction": "or", "clauses": [CONDITION]}


def meter_body(tree: Tree) -> dict[str, Any]:
    """The body of a command that declares the meter in the form, its numbers exact. Raises ``Invalid``."""
    for name, label in (("name", "name"), ("event_name", "event name"), ("measurement_unit", "measurement unit")):
        if not text(tree, name):
            raise Invalid(name, f"is required: the {label} of the meter")
    return {
        "name": text(tree, "name"),
        "event_name": text(tree, "event_name"),
        "measurement_unit": text(tree, "measurement_unit"),
        "description": text(tree, "description") or None,
        "aggregation": _aggregation(subtree(tree, "aggregation")),
        "filter": filter_body(subtree(tree, "filter"), "filter"),
    }


def _aggregation(node: Tree) -> dict[str, Any]:
    """A number of events looks at no key, whatever was entered before it was chosen."""
    kind = text(node, "type")
    return {"type": kind, "key": None if kind == Kind.count else text(node, "key") or None}


def filter_body(node: Tree, field: str) -> dict[str, Any] | None:
    """The filter in the form, its numbers exact; ``None`` without a clause. Raises ``Invalid``."""
    clauses = parts(node, "clauses")
    if not clauses and field == "filter":
        return None
    return {
        "conjunction": text(node, "conjunction") or "and",
        "clauses": [_clause(clause, f"{field}.clauses[{index}]") for index, clause in enumerate(clauses)],
    }


def _clause(node: Tree, field: str) -> dict[str, Any] | None:
    if "conjunction" in node:
        return filter_body(node, field)
    value = _value(text(node, "value"), text(node, "type"), f"{field}.value")
    return {"key": text(node, "key"), "operator": text(node, "operator"), "value": value}


def _value(entered: str, kind: str, field: str) -> str | bool | Decimal:
    seen = number.measure(entered)
    if kind == "number" or (kind == "" and seen is not None):
        if seen is None:
            raise Invalid(field, "must be a number in plain decimal notation, such as 12 or -0.5")
        return seen
    if kind == "boolean" or (kind == "" and entered in ("true", "false")):
        if entered not in ("true", "false"):
            raise Invalid(field, "must be true or false")
        return entered == "true"
    return entered


async def _suggested(service: Service, caller: Caller) -> list[str]:
    try:
        async with bounded(service) as database:
            return await recent_names(database, caller.tenant_id)
    except TooMuch:
        return []


def _shown(tree: Tree, form: Form) -> dict[str, Any]:
    return {
        "form": form,
        "filter": subtree(tree, "filter"),
        "kinds": [(kind.value, words) for kind, words in KINDS.items()],
        "operators": [(operator.value, words) for operator, words in OPERATORS.items()],
        "types": TYPES,
        "clauses_max": CLAUSES_MAX,
        "nesting_max": NESTING_MAX,
        "placed": [*FIELDS, *(name for name in form.errors if name.startswith("filter."))],
    }


async def _page(request: Asked, service: Service, tree: Tree, form: Form, status: int = 200) -> Template:
    names = await _suggested(service, request.auth)
    return page(
        request, "meters/new.html", title="New meter", nav="meters", status=status, names=names, **_shown(tree, form)
    )


@get("/dashboard/meters/new", guards=[may_write])
async def new_meter(request: Asked, service: Serving, event_name: FromQuery[str] = "") -> Template:
    """The form for a meter."""
    tree: Tree = {"event_name": event_name, "aggregation": {"type": "count"}, "filter": {"conjunction": "and"}}
    return await _page(request, service, tree, form_of(tree))


@post("/dashboard/meters/new", guards=[may_write], status_code=200)
async def create_meter(request: Asked, service: Serving) -> Template | Redirect:
    """Declare the meter in the form; with an error the form again."""
    form = await read_form(request)
    tree: Tree = {}
    try:
        tree = tree_of(form)
        form = form_of(tree)
        body = meter_body(tree)
        meter_id = await declare_meter(service, request.auth, read_as(body, MeterCreate), body)
    except Invalid as error:
        form.refuse(error)
        return await _page(request, service, tree, form, status=422)
    # The page that follows shows what the meter counts, so its history comes first; the meter is there without it too.
    with suppress(NotProjected):
        await wait_for_object(service, request.auth, Meter, meter_id)
    return Redirect(f"/dashboard/meters/{meter_id}?done=created", status_code=303)


@post("/dashboard/meters/new/filter", guards=[may_write], status_code=200)
async def change_filter(request: Asked) -> Template:
    """The filter of the form with a clause more or less: ``action`` says which."""
    form = await read_form(request)
    tree = tree_of(form)
    verb, _, path = text(tree, "action").partition(" ")
    if not path.startswith("filter"):
        raise Invalid("action", "names no part of the filter")
    if verb == "remove":
        remove_part(tree, path)
    else:
        add_part(tree, path, GROUP if verb == "group" else CONDITION)
    # The sample beside the form looks at the filter again once the new one is in place.
    again = {"HX-Trigger-After-Settle": "taximeter:filter"}
    return fragment(request, "meters/filter.html", headers=again, **_shown(tree, form_of(tree)))


@post("/dashboard/meters/new/sample", guards=[may_write], status_code=200)
async def try_meter(request: Asked, service: Serving) -> Template:
    """What the meter in the form would make of the latest events of its name."""
    tree = tree_of(await read_form(request))
    event_name, incomplete = text(tree, "event_name"), ""
    rows: list[Row] = []
    sample: Sample | None = None
    words = ""
    try:
        async with bounded(service) as database:
            rows = await recent_events(database, request.auth.tenant_id, event_name) if event_name else []
        aggregation = read_aggregation(_aggregation(subtree(tree, "aggregation")))
        body = filter_body(subtree(tree, "filter"), "filter")
        condition = None if body is None else read_filter(body)
        words, sample = filter_words(condition), sample_of(rows, aggregation, condition)
    except (InvalidAggregation, InvalidFilter, Invalid) as error:
        incomplete = str(error)
    except TooMuch:
        incomplete = "there are too many recent events to look through"
    return fragment(
        request,
        "meters/sample.html",
        event_name=event_name,
        unit=text(tree, "measurement_unit"),
        keys=seen_keys(rows),
        sample=sample,
        words=words,
        incomplete=incomplete,
    )


ROUTER = Router("/", route_handlers=[new_meter, create_meter, change_filter, try_meter])
