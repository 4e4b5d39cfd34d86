"""Signing in with an API key, and out again. The key is in the request that signs in and in no other place."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.params import FromQuery
from litestar.response import Redirect, Template

from app.dashboard.errors import SIGN_IN_PATH
from app.dashboard.forms import Form, read_form
from app.dashboard.guards import safe_path
from app.dashboard.page import page
from app.dashboard.session import begin_session, caller_of_session, end_session, session_cookie, session_digest
from app.http.reading import Serving
from app.keys import ALLOWED, find_caller
from app.limits import SECRET_MAX_CHARS

AnyRequest = Request[Any, Any, Any]
FIELD = "api_key"


@get(SIGN_IN_PATH)
async def show_sign_in(request: AnyRequest, next: FromQuery[str] = "") -> Response[Any]:
    """The form; who is signed in goes on."""
    if await caller_of_session(request) is not None:
        return Redirect(safe_path(next), status_code=303)
    return _form(request, Form(), next)


@post(SIGN_IN_PATH, status_code=303)
async def sign_in(request: AnyRequest, service: Serving) -> Response[Any]:
    """Check the key and begin a session."""
    form = await read_form(request)
    wanted, secret = form.text("next"), form.text(FIELD)
    if not secret:
        form.wrong(FIELD, "Enter an API key.")
        return _form(request, form, wanted, 422)
    address = request.client.host if request.client else ""
    caller = await find_caller(service, secret, address) if len(secret) <= SECRET_MAX_CHARS else None
    if caller is None:
        form.wrong(FIELD, "This API key opens nothing: it is mistyped, or it was revoked.")
        return _form(request, form, wanted, 401)
    if "read" not in ALLOWED[caller.scope]:
        form.wrong(FIELD, f"This key has the scope '{caller.scope}'; 'read' or 'write' is needed here.")
        return _form(request, form, wanted, 403)
    old = session_digest(request)
    if old is not None:
        await end_session(service, old)
    cookie = session_cookie(request, await begin_session(service, caller))
    return Redirect(safe_path(wanted), cookies=[cookie], status_code=303)


@post("/dashboard/sign-out", status_code=303)
async def sign_out(request: AnyRequest, service: Serving) -> Redirect:
    """End the session, here and for every copy of its cookie."""
    digest = session_digest(request)
    if digest is not None:
        await end_session(service, digest)
    return Redirect(SIGN_IN_PATH, cookies=[session_cookie(request, "")], status_code=303)


def _form(request: AnyRequest, form: Form, wanted: str, status: int = 200) -> Template:
    form.entered.pop(FIELD, None)
    return page(request, "sign_in.html", title="Sign in", status=status, form=form, wanted=safe_path(wanted))


ROUTER = Router("/", route_handlers=[show_sign_in, sign_in, sign_out])
