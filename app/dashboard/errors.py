"""Errors as pages: the same status and sentence as the API gives, for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote, urlsplit

from litestar import Request, Response
from litestar.response import Redirect, Template
from litestar.types import ExceptionHandlersMap

from app.dashboard.guards import SignedOut, safe_path
from app.dashboard.page import fragment, is_htmx, page
from app.dashboard.session import SESSION_COOKIE
from app.http.problems import HANDLERS

SIGN_IN_PATH = "/dashboard/sign-in"

TITLES = {
    400: "That did not work",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed",
    409: "Not possible now",
    410: "Archived",
    422: "That cannot be read",
    503: "The database is not available",
}

AnyRequest = Request[Any, Any, Any]
Handler = Callable[[AnyRequest, Any], Response[dict[str, Any]]]


def error_page(request: AnyRequest, error: Exception) -> Template:
    """What the API would have answered, as a page; as a notice on the page that is open when htmx asked."""
    handlers = cast("dict[type[Exception], Handler]", HANDLERS)
    answer = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)(request, error)
    status = answer.status_code or 500
    told = {"heading": TITLES.get(status, "Something went wrong"), "message": answer.content["message"]}
    if is_htmx(request):
        placed = {"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"}
        return fragment(request, "error_notice.html", status=status, headers=placed, **told)
    return page(request, "error.html", title=told["heading"], status=status, code=status, **told)


def sign_in_first(request: AnyRequest, _: SignedOut) -> Response[Any]:
    """To the sign-in page, and from there back to where somebody wanted to go."""
    if is_htmx(request):
        shown = urlsplit(request.headers.get("hx-current-url", ""))
        return Response(None, status_code=401, headers={"HX-Redirect": _sign_in(shown.path, shown.query)})
    if "text/html" not in request.headers.get("accept", ""):
        ended = "the session has ended; " if SESSION_COOKIE in request.cookies else ""
        content = {"code": "SIGNED_OUT", "message": f"{ended}sign in at {SIGN_IN_PATH}"}
        return Response(content, status_code=401, media_type="application/json")
    return Redirect(_sign_in(request.url.path, request.url.query) if request.method == "GET" else SIGN_IN_PATH)


def _sign_in(path: str, query: str) -> str:
    wanted = safe_path(f"{path}?{query}" if query else path)
    return SIGN_IN_PATH if wanted == "/" else f"{SIGN_IN_PATH}?next={quote(wanted, safe='')}"


PAGE_HANDLERS: ExceptionHandlersMap = {**dict.fromkeys(HANDLERS, error_page), SignedOut: sign_in_first}
"""For every error that the API knows, and for those who have to sign in."""
