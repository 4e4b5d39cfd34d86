"""Errors on the wire: always ``{"code", "message"}``, and a status that the wire contract gives that class."""

from __future__ import annotations

import logging
from typing import Any

import asyncpg
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from app.bounded_pool import Overloaded
from app.command_lines import CommandsFull
from app.http.admission import OVERLOADED
from app.ingest.problem import BodyProblem
from app.projecting import NotProjected
from app.recording import LineFull
from app.retired import RETIRED, archived
from domain.errors import Conflict, Gone, Insufficient, Invalid, NotFound, Refusal

LOG = logging.getLogger("taximeter.http")

STATUS: dict[type[Refusal], int] = {
    Insufficient: 400,
    Invalid: 422,
    NotFound: 404,
    Conflict: 409,
    Gone: 410,
    NotProjected: 503,
    LineFull: 503,
    CommandsFull: 503,
}

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "INVALID_FIELD",
    426: "UPGRADE_REQUIRED",
}

UNSURE = (
    "the request may or may not have been recorded. Events can be sent again safely; of anything else, look first "
    "whether it is there"
)
UNAVAILABLE = f"the database is not available; {UNSURE}"
BUSY = f"the service is too busy to go on; {UNSURE}"


def problem(status: int, code: str, message: str, **more: Any) -> Response[dict[str, Any]]:
    """An error answer. A lasting 409 tells the SDKs not to try again."""
    headers = {"x-should-retry": "false"} if status == 409 else {}
    if status == 503:
        headers["retry-after"] = "1"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    content = {"code": code, "message": message, **more}
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def refused(_: Request[Any, Any, Any], error: Refusal) -> Response[dict[str, Any]]:
    """A command that the domain refused."""
    return problem(STATUS[type(error)], error.code, error.message)


def bad_body(_: Request[Any, Any, Any], error: BodyProblem) -> Response[dict[str, Any]]:
    """A batch that is none."""
    return problem(error.status, error.code, error.message)


def invalid(_: Request[Any, Any, Any], error: ValidationException) -> Response[dict[str, Any]]:
    """A field of the body, the query or the path that broke its declared rule: all of them, in one sentence."""
    items = error.extra if isinstance(error.extra, list) else []
    parts = [f"{item.get('key') or item.get('source', 'body')}: {item['message']}" for item in items]
    return problem(422, "INVALID_FIELD", "; ".join(parts) or error.detail)


def refused_by_framework(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """No such route, no such method, a media type that is not read, a body that is no JSON."""
    status = 422 if error.status_code == 400 else error.status_code
    code = CODES.get(status, "ERROR")
    answer = problem(status, code, error.detail)
    if status == 405:
        # RFC 9110 section 15.5.6: which methods there are. The framework knows.
        answer.headers.update(error.headers or {})
    return answer


def unavailable(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """The database cannot be reached, or is too busy.

    A connection lost between a commit and its answer leaves open whether the request was recorded.
    """
    LOG.warning("the database is not available: %s", error)
    return problem(503, "DATABASE_UNAVAILABLE", UNAVAILABLE)


def rows_elsewhere(request: Request[Any, Any, Any], error: asyncpg.PostgresError) -> Response[dict[str, Any]]:
    """The database says that rows of usage lie in an archive; anything else that it says here is a defect of ours."""
    if getattr(error, "sqlstate", None) == RETIRED:
        return refused(request, archived(str(error)))
    return unexpected(request, error)


def overloaded(_: Request[Any, Any, Any], error: Overloaded) -> Response[dict[str, Any]]:
    """No connection of the pool came free in time, perhaps to read the answer to what was recorded already."""
    LOG.warning("%s", error)
    return problem(503, OVERLOADED, BUSY)


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A defect of ours: logged with its trace, told without it."""
    LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "INTERNAL_ERROR", "the service failed; the failure is in its log")


HANDLERS: ExceptionHandlersMap = {
    Refusal: refused,
    BodyProblem: bad_body,
    ValidationException: invalid,
    HTTPException: refused_by_framework,
    asyncpg.PostgresConnectionError: unavailable,
    # A statement past its time limit, a shutdown, a server that is still starting.
    asyncpg.OperatorInterventionError: unavailable,
    # No connection, memory or disk left.
    asyncpg.InsufficientResourcesError: unavailable,
    # A deadlock, or a conflict with another transaction.
    asyncpg.TransactionRollbackError: unavailable,
    asyncpg.LockNotAvailableError: unavailable,
    asyncpg.IdleInTransactionSessionTimeoutError: unavailable,
    asyncpg.TransactionTimeoutError: unavailable,
    # A newer program has rebuilt the read models in another shape; this one is about to stop.
    asyncpg.UndefinedTableError: unavailable,
    # A server that became a standby.
    asyncpg.ReadOnlySQLTransactionError: unavailable,
    asyncpg.InterfaceError: unavailable,
    Overloaded: overloaded,
    # The connection was cut just as a statement began.
    asyncpg.InternalClientError: unavailable,
    asyncpg.PostgresError: rows_elsewhere,
    OSError: unavailable,
    Exception: unexpected,
}
