"""Who may see a page, who may send a form, and that the form is one of ours."""

from __future__ import annotations

from litestar.config.csrf import CSRFConfig
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware.csrf import CSRFMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from app.dashboard.headers import HOME
from app.dashboard.session import AnyConnection, caller_of_session, form_secret
from app.http.request_log import note_caller
from app.keys import ALLOWED
from app.service import Service

TOKEN_COOKIE = "taximeter_form"
TOKEN_HEADER = "x-csrftoken"


class SignedOut(Exception):
    """No session: whoever asks has to sign in first."""


async def signed_in(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard that lets sessions pass and makes their caller the request's. Raises ``SignedOut``."""
    caller = await caller_of_session(connection)
    if caller is None:
        raise SignedOut
    note_caller(connection, caller)


def may_write(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard, behind `signed_in`, that lets sessions of ``write`` keys pass; 403 otherwise."""
    scope = connection.auth.scope
    if "write" not in ALLOWED[scope]:
        raise PermissionDeniedException(f"you signed in with a key of the scope '{scope}'; 'write' is needed")


class FormTokens:
    """Middleware: Litestar's own check of tokens against forged forms, with the secret that all processes share."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.checks: dict[bool, CSRFMiddleware] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what does not write, or carries its token; raises ``PermissionDeniedException`` otherwise."""
        secure = scope["scheme"] == "https"
        if secure not in self.checks:
            # The secret is in the database, which is not open yet when the application is built.
            service: Service = scope["litestar_app"].state.service
            config = CSRFConfig(
                await form_secret(service),
                cookie_name=TOKEN_COOKIE,
                header_name=TOKEN_HEADER,
                cookie_secure=secure,
                cookie_httponly=True,
                cookie_samesite="lax",
            )
            self.checks[secure] = CSRFMiddleware(self.app, config)
        await self.checks[secure](scope, receive, send)


def safe_path(path: str) -> str:
    """A path of the dashboard to go to after signing in; the overview when it is anything else.

    Where to go comes with the request, so whoever made the link chose it: it must not lead to another site.
    """
    return path if path.startswith(HOME) and path.isprintable() and "\\" not in path else "/"
