"""The answers of a process that is about to stop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.draining import Draining
from app.http.last_answers import LastAnswers

SCOPE = {"type": "http", "method": "POST", "path": "/meters", "headers": []}


class Sent(list[dict[str, Any]]):
    """What the application said."""

    async def __call__(self, message: Any) -> None:
        self.append(dict(message))


async def receive() -> Any:
    raise AssertionError("nobody reads")


async def answering(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    await send({"type": "http.response.body", "body": b"done"})


async def hanging(_scope: Any, _receive: Any, _send: Any) -> None:
    await asyncio.Event().wait()


async def cancelled(app: Any, draining: Draining) -> Sent:
    """What is said when the server ends a request."""
    sent = Sent()
    task = asyncio.create_task(LastAnswers(app, draining)(dict(SCOPE), receive, sent))
    await asyncio.sleep(0)
    task.cancel()
    await task
    return sent


async def test_an_answer_ends_its_connection_once_the_stop_begins() -> None:
    draining, before, after = Draining(), Sent(), Sent()
    await LastAnswers(answering, draining)(dict(SCOPE), receive, before)
    draining.begin()
    await LastAnswers(answering, draining)(dict(SCOPE), receive, after)
    assert before[0]["headers"] == [(b"x", b"y")]
    assert after[0]["headers"] == [(b"x", b"y"), (b"connection", b"close")]
    assert after[1] == before[1]


async def test_a_request_that_outlasts_the_patience_is_answered() -> None:
    draining = Draining()
    draining.begin()
    start, body = await cancelled(hanging, draining)
    assert start["status"] == 503
    assert (b"connection", b"close") in start["headers"]
    told = json.loads(body["body"])
    assert told["code"] == "STOPPING"
    assert "may or may not have been recorded" in told["message"]


async def test_a_request_that_is_cancelled_at_any_other_time_says_nothing() -> None:
    with pytest.raises(asyncio.CancelledError):
        await cancelled(hanging, Draining())


async def test_an_answer_that_was_begun_is_not_begun_again() -> None:
    async def half(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    draining = Draining()
    draining.begin()
    with pytest.raises(asyncio.CancelledError):
        await cancelled(half, draining)


async def test_a_websocket_is_let_through() -> None:
    sent = Sent()
    await LastAnswers(answering, Draining())({"type": "websocket"}, receive, sent)
    assert len(sent) == 2
