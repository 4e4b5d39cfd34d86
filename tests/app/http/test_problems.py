"""Failures of the database are told apart from our own: 503 asks to try again, 500 does not."""

from __future__ import annotations

from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar, post

from app.bounded_pool import Overloaded
from app.http.problems import HANDLERS
from app.service import Service


async def answer_to(fail: Any) -> httpx.Response:
    """What a route answers in which ``fail`` raises."""

    @post("/", status_code=200)
    async def route() -> None:
        await fail()

    application = Litestar([route], exception_handlers=HANDLERS, openapi_config=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://test") as client:
        return await client.post("/")


def raising(error: Exception) -> Any:
    async def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "kind",
    [
        asyncpg.QueryCanceledError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.CannotConnectNowError,
        asyncpg.IdleInTransactionSessionTimeoutError,
        asyncpg.TransactionTimeoutError,
        asyncpg.DeadlockDetectedError,
        asyncpg.SerializationError,
        asyncpg.LockNotAvailableError,
        asyncpg.TooManyConnectionsError,
        asyncpg.DiskFullError,
        asyncpg.OutOfMemoryError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        ConnectionResetError,
        TimeoutError,
    ],
)
async def test_a_database_that_cannot_answer_now_is_503(kind: type[Exception]) -> None:
    answered = await answer_to(raising(kind("for a reason")))
    assert (answered.status_code, answered.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
    assert answered.headers["retry-after"] == "1"


async def test_a_statement_past_its_time_limit_is_503(service: Service) -> None:
    async def fail() -> None:
        async with service.pool.acquire() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = '5ms'")
            await connection.fetchval("select pg_sleep(60)")

    assert (await answer_to(fail)).status_code == 503


async def test_503_does_not_promise_that_nothing_was_recorded() -> None:
    """The answer to a commit may be what was lost."""
    message = (await answer_to(raising(ConnectionResetError()))).json()["message"]
    assert "may or may not have been recorded" in message
    assert "nothing was recorded" not in message
    assert "Events can be sent again safely" in message


async def test_a_statement_that_is_wrong_is_our_failure() -> None:
    answered = await answer_to(raising(asyncpg.UndefinedColumnError("no such column")))
    assert (answered.status_code, answered.json()["code"]) == (500, "INTERNAL_ERROR")


async def test_a_pool_without_a_connection_is_503_and_leaves_open_what_was_recorded() -> None:
    answered = await answer_to(raising(Overloaded("no connection came free")))
    assert (answered.status_code, answered.json()["code"]) == (503, "OVERLOADED")
    assert "may or may not" in answered.json()["message"]
    assert answered.headers["retry-after"] == "1"
