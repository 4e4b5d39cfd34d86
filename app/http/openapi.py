"""The description of the API: JSON at ``/schema/openapi.json``, and a page at ``/schema`` that needs no internet."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from litestar import Router
from litestar.datastructures import CacheControlHeader
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat
from litestar.static_files import create_static_files_router

from app import __version__
from app.http.answers import ANSWERS
from app.http.examples import BODIES

METHODS = ("get", "post", "patch", "delete")
"""What this API uses of HTTP."""

ASSETS_PATH = "/schema/assets"
ASSETS_MAX_AGE_SECONDS = 3_600
"""A browser may keep the page's files for an hour: they change only when the service is installed anew."""

SENT_PATHS = {"/invoices/{invoice_id}/pdf": "/invoices/{invoice_id}.pdf"}
"""Paths that are routed as another one than is sent."""

OPEN_TAG = "Health"
"""The routes that need no key."""

READY_PATH = "/health/ready"

INSTANT_FORMAT = OpenAPIFormat.DATE_TIME
"""What this API calls an instant is RFC 3339's date-time."""

INSTANT_QUERIES = {"start", "end", "start_date", "end_date", "cycle_start", "created_at_gte", "created_at_lte"}
"""Parameters of queries that are instants."""

CHOICES = {"on_invalid": ["refuse", "skip"]}
"""Parameters of queries that take a few words only, and are no enumeration in the code."""

TIMESTAMP = Schema(
    type=[OpenAPIType.STRING, OpenAPIType.NULL],
    format=INSTANT_FORMAT,
    description="RFC 3339 with an offset; the time of arrival when left out or null",
)

EVENT = Schema(
    title="UsageEvent",
    type=OpenAPIType.OBJECT,
    required=["event_id", "customer_id", "event_name"],
    properties={
        "event_id": Schema(type=OpenAPIType.STRING, min_length=1, description="The sender's own: it counts once."),
        "customer_id": Schema(type=OpenAPIType.STRING, min_length=1),
        "event_name": Schema(type=OpenAPIType.STRING, min_length=1),
        "timestamp": TIMESTAMP,
        "metadata": Schema(
            type=[OpenAPIType.OBJECT, OpenAPIType.NULL],
            additional_properties=Schema(type=[OpenAPIType.STRING, OpenAPIType.NUMBER, OpenAPIType.BOOLEAN]),
        ),
    },
)

PROBLEM = Schema(
    title="Problem",
    type=OpenAPIType.OBJECT,
    required=["code", "message"],
    properties={
        "code": Schema(type=OpenAPIType.STRING, description="Stable, in capitals"),
        "message": Schema(type=OpenAPIType.STRING, description="A sentence that names the field and the rule"),
        "errors": Schema(
            type=OpenAPIType.ARRAY,
            description="Of a refused batch: every problem of every bad event",
            items=Schema(
                type=OpenAPIType.OBJECT,
                properties={
                    "index": Schema(type=OpenAPIType.INTEGER),
                    "event_id": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL]),
                    "field": Schema(type=OpenAPIType.STRING),
                    "code": Schema(type=OpenAPIType.STRING),
                    "message": Schema(type=OpenAPIType.STRING),
                },
            ),
        ),
    },
)

SCHEMAS: dict[tuple[str, str], dict[str, Schema]] = {
    ("post", "/events/ingest"): {
        "application/json": Schema(
            type=OpenAPIType.OBJECT,
            required=["events"],
            properties={
                "events": Schema(
                    type=OpenAPIType.ARRAY, min_items=1, items=Reference("#/components/schemas/UsageEvent")
                )
            },
        ),
        "application/x-ndjson": Schema(
            type=OpenAPIType.STRING, description="One UsageEvent object per line, up to 10,000 lines"
        ),
    },
    ("post", "/subscriptions/{subscription_id}/close-cycle"): {
        "application/json": Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "cycle_start": Schema(
                    type=[OpenAPIType.STRING, OpenAPIType.NULL],
                    format=INSTANT_FORMAT,
                    description="The start of the cycle to close; of the earliest unclosed one when left out or null",
                )
            },
            additional_properties=False,
        )
    },
}
"""Bodies that the routes read themselves, so that the framework cannot describe them."""

REFUSED = OpenAPIResponse(
    description=(
        "Refused, and nothing was changed. 401: no valid key. 403: a key of another scope. 404: no such object of "
        "this tenant. 409: its state does not allow it. 410: archived already, or the usage that it needs is "
        "(`USAGE_ARCHIVED`). 422: a field breaks a rule (an event's value: 400). 503: not now, try again later "
        "(`Retry-After`)."
    ),
    content={"application/json": OpenAPIMediaType(schema=Reference("#/components/schemas/Problem"))},
)


NOT_READY = OpenAPIResponse(
    description="The database cannot be written, or the projection is far behind.",
    content={"application/json": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))},
)


def assets_directory() -> Path:
    """Where the installed package keeps the files of Swagger UI. The package itself, a Flask blueprint, is not run."""
    spec = importlib.util.find_spec("flask_swagger_ui")
    assert spec is not None, "flask-swagger-ui is a dependency of this project"
    assert spec.submodule_search_locations is not None, "flask_swagger_ui is a package"
    return Path(next(iter(spec.submodule_search_locations))) / "dist"


def assets_router() -> Router:
    """Serves the page's own files."""
    return create_static_files_router(
        path=ASSETS_PATH,
        directories=[assets_directory()],
        cache_control=CacheControlHeader(max_age=ASSETS_MAX_AGE_SECONDS),
        include_in_schema=False,
    )


CONFIG = OpenAPIConfig(
    title="Taximeter",
    version=__version__,
    description=(
        "Usage metering and billing on one immutable, hash-chained log. The websocket `/live`, which shows usage and "
        "cost as they happen, is described in [AsyncAPI](/schema/asyncapi.json)."
    ),
    use_handler_docstrings=True,
    components=Components(
        security_schemes={"key": SecurityScheme(type="http", scheme="bearer", description="An API key")},
    ),
    security=[{"key": []}],
    render_plugins=[
        SwaggerRenderPlugin(
            js_url=f"{ASSETS_PATH}/swagger-ui-bundle.js",
            css_url=f"{ASSETS_PATH}/swagger-ui.css",
            standalone_preset_js_url=f"{ASSETS_PATH}/swagger-ui-standalone-preset.js",
            favicon=f"<link rel='icon' type='image/png' href='{ASSETS_PATH}/favicon-32x32.png'>",
        )
    ],
)


def finish(description: OpenAPI) -> None:
    """Complete, in place, what the framework derived from the routes: summaries, errors, bodies and examples."""
    description.components.schemas = {**description.components.schemas, "Problem": PROBLEM, "UsageEvent": EVENT}
    paths = description.paths or {}
    for routed, sent in SENT_PATHS.items():
        paths[sent] = paths.pop(routed)
    for path, item in paths.items():
        for method in METHODS:
            operation: Operation | None = getattr(item, method) if isinstance(item, PathItem) else None
            if operation is not None:
                _finish_operation(method, path, operation)


def _finish_operation(method: str, path: str, operation: Operation) -> None:
    # Docstrings mark code in the way of reStructuredText; descriptions are Markdown, summaries plain.
    operation.description = (operation.description or "").replace("``", "`")
    words = operation.description.split("\n\n")[0].replace("`", "")
    operation.summary = " ".join(words.split()).partition(". ")[0].removesuffix(".")
    responses: dict[str, Any] = dict(operation.responses or {})
    # The framework describes its own error body, which this API does not send.
    responses.pop("400", None)
    if OPEN_TAG in (operation.tags or []):
        operation.security = []
        if path == READY_PATH:
            responses["503"] = NOT_READY
    else:
        responses["default"] = REFUSED
    shown = ANSWERS.get((method, path))
    if shown is not None:
        responses["200"].content["application/json"].examples = {"answer": Example(value=shown)}
    operation.responses = responses
    for parameter in operation.parameters or []:
        if isinstance(parameter, Parameter) and isinstance(parameter.schema, Schema):
            _finish_parameter(parameter.name, parameter.schema)
    for media_type, schema in SCHEMAS.get((method, path), {}).items():
        operation.request_body = operation.request_body or RequestBody(content={}, required=path == "/events/ingest")
        assert isinstance(operation.request_body, RequestBody)
        operation.request_body.content[media_type] = OpenAPIMediaType(schema=schema)
    for media_type, examples in BODIES.get((method, path), {}).items():
        assert isinstance(operation.request_body, RequestBody), f"{method} {path} has a body"
        operation.request_body.content[media_type].examples = {
            name: Example(summary=summary, value=value) for name, (summary, value) in examples.items()
        }


def _finish_parameter(name: str, schema: Schema) -> None:
    if name in CHOICES:
        schema.enum = CHOICES[name]
    elif name in INSTANT_QUERIES:
        for one in schema.one_of or []:
            if isinstance(one, Schema) and one.type is OpenAPIType.STRING:
                one.format = INSTANT_FORMAT
