"""Pages and fragments: a template with what every template is given."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
from litestar import Request
from litestar.response import Template

from app.dashboard.guards import may_write
from app.keys import ALLOWED
from app.service import Caller

__all__ = ["curl_command", "fragment", "is_htmx", "may_write", "page"]

AnyRequest = Request[Any, Any, Any]

ONE_LINE_MAX_CHARS = 140
"""A body of a command that is longer is easier to read in lines of its own."""


def page(
    request: AnyRequest, template: str, *, title: str, nav: str = "", status: int = 200, **context: Any
) -> Template:
    """A whole page. ``title`` stands in the browser's tab, ``nav`` names the entry of the navigation that it is in."""
    return Template(template, context={**shared(request), "title": title, "nav": nav, **context}, status_code=status)


def fragment(
    request: AnyRequest, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **context: Any
) -> Template:
    """A part of a page, for htmx to put in place."""
    return Template(template, context={**shared(request), **context}, status_code=status, headers=headers)


def shared(request: AnyRequest) -> dict[str, Any]:
    """What every template is given. Outside of a session there is no caller."""
    caller: Caller | None = request.scope.get("auth")
    return {
        "caller": caller,
        "can_write": caller is not None and "write" in ALLOWED[caller.scope],
        "base_url": base_url(request),
    }


def base_url(request: AnyRequest) -> str:
    """Where the browser reached the service, without a slash at the end."""
    return str(request.base_url).rstrip("/")


def is_htmx(request: AnyRequest) -> bool:
    """Whether htmx asked, which puts the answer into a page that is there already."""
    return request.headers.get("hx-request") == "true"


def curl_command(request: AnyRequest, method: str, path: str, body: Any = None) -> str:
    """A command for a shell that asks this service, with the key that stands in TAXIMETER_API_KEY."""
    parts = [f"curl {shlex.quote(base_url(request) + path)}", '-H "Authorization: Bearer $TAXIMETER_API_KEY"']
    if method not in ("GET", "POST") or (method == "POST" and body is None):
        parts.insert(1, f"-X {method}")
    if body is not None:
        parts.append("-H 'Content-Type: application/json'")
        text = msgspec.json.format(msgspec.json.encode(body), indent=0).decode()
        if len(text) > ONE_LINE_MAX_CHARS:
            text = msgspec.json.format(text, indent=2)
        parts.append(f"-d {shlex.quote(text)}")
    return " \\\n  ".join(parts)


def event_command(request: AnyRequest, event: dict[str, Any]) -> str:
    """A command that sends ``event``. The shell puts the time into its id, so that it counts whenever it is sent."""
    command = curl_command(request, "POST", "/events/ingest", {"events": [{"event_id": "first-", **event}]})
    return command.replace('"event_id": "first-"', """"event_id": "first-'$(date +%s)'\"""", 1)
