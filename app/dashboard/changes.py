"""The page of changes: who changed what, when and from where, as the log has it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Router, get
from litestar.params import FromQuery
from litestar.response import Template

from app.audit.trail import API_KEY, EVENT, Change, Entry, Sought, trail
from app.dashboard.forms import Form
from app.dashboard.page import page
from app.dashboard.wording import segment
from app.http.reading import Asked, Serving, read_instant
from app.service import Via
from domain.alert import Alert
from domain.customer import Customer
from domain.entitlement import Entitlement
from domain.errors import Invalid
from domain.invoice import Invoice
from domain.meter import Meter
from domain.product import Product
from domain.subscription import Subscription
from domain.tenant import Tenant
from projections.log_reader import END

LIST_ROWS = 20
"""Commands on a page."""

VALUE_SHOWN_CHARS = 160
"""A longer value is cut on the page; `GET /audit/trail` has the whole."""

WAYS = {
    Via.key: "API",
    Via.session: "Dashboard",
    Via.token: "Customer token",
    Via.command_line: "Command line",
    Via.service: "By itself",
}
"""How a command was asked for, in words."""

OBJECTS = {
    Meter.TOPIC: "Meter",
    Product.TOPIC: "Product",
    Customer.TOPIC: "Customer",
    Subscription.TOPIC: "Subscription",
    Entitlement.TOPIC: "Credits",
    Invoice.TOPIC: "Invoice",
    Alert.TOPIC: "Alert",
    API_KEY: "API key",
    Tenant.TOPIC: "Tenant and settings",
    EVENT: "Usage event",
}
"""What the form offers to look for."""

PAGES = {
    Meter.TOPIC: "/dashboard/meters/",
    Product.TOPIC: "/dashboard/products/",
    Customer.TOPIC: "/dashboard/customers/",
    Subscription.TOPIC: "/dashboard/subscriptions/",
    Invoice.TOPIC: "/dashboard/invoices/",
}
"""Objects that have a page of their own."""

FIELDS = ("object_kind", "object_id", "key_id", "via", "since", "until")


@get("/dashboard/changes")
async def changes(request: Asked, service: Serving, before: FromQuery[int] = END) -> Template:
    """The newest changes that are looked for."""
    form = Form({name: [request.query_params.get(name, "")] for name in FIELDS})
    entries, onward = list[Entry](), None
    try:
        sought = _sought(form, request.auth.tenant_id)
        async with service.pool.acquire() as connection:
            found = await trail(connection, request.auth.tenant_id, sought, min(max(before, 0), END), LIST_ROWS)
        entries, onward = found.entries, found.next_before
    except Invalid as error:
        form.refuse(error)
    query = {name: form.text(name) for name in FIELDS if form.text(name)}
    return page(
        request,
        "changes/list.html",
        title="Changes",
        nav="system",
        status=422 if form.errors else 200,
        form=form,
        fields=FIELDS,
        objects=[("", "Anything"), *OBJECTS.items()],
        ways=[("", "Anybody"), *((way.value, words) for way, words in WAYS.items() if way is not Via.token)],
        entries=[_shown(entry) for entry in entries],
        narrowed=bool(query),
        onward=urlencode({**query, "before": onward}) if onward is not None else "",
    )


def _sought(form: Form, tenant_id: str) -> Sought:
    kind, via = form.text("object_kind") or None, form.text("via")
    # The tenant is one object, so nobody needs to know its id.
    object_id = tenant_id if kind == Tenant.TOPIC else form.text("object_id") or None
    if via not in ("", *Via):
        raise Invalid("via", f"must be one of {', '.join(Via)}")
    return Sought(
        object_kind=kind,
        object_id=object_id,
        key_id=form.text("key_id") or None,
        via=Via(via) if via else None,
        since=read_instant(form.text("since") or None, "since"),
        until=read_instant(form.text("until") or None, "until"),
    )


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "recorded_at": entry.recorded_at,
        "position": entry.last_position,
        "digest": entry.digest.hex(),
        "way": WAYS[entry.origin.how()],
        "key_id": entry.origin.key_id,
        "key_name": entry.key_name,
        "address": entry.origin.address,
        "command": entry.origin.command,
        "changes": [_change(change) for change in entry.changes],
        "hidden": entry.positions - len(entry.changes),
    }


def _change(change: Change) -> dict[str, Any]:
    where = PAGES.get(change.object_kind)
    return {
        "kind": change.kind,
        "object": OBJECTS.get(change.object_kind, change.object_kind.replace("_", " ")),
        "object_id": change.object_id,
        "href": where + segment(change.object_id) if where else "",
        # An empty text in place of none is no change to whoever looks.
        "fields": [
            (one.field, _value(one.before), _value(one.after))
            for one in change.fields
            if _value(one.before) or _value(one.after)
        ],
    }


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_SHOWN_CHARS else f"{text[:VALUE_SHOWN_CHARS]}…"


ROUTER = Router("/", route_handlers=[changes])
