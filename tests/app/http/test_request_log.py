"""One line for each request: who asked what, and what came of it; no secrets, no queries."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from app.logs import FIELDS, REQUESTS
from tests.conftest import Api


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """What is said of requests, as it is said; the level is the one that JSON has."""
    said: list[dict[str, Any]] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append({"message": record.getMessage(), **getattr(record, FIELDS)})

    handler, level = Noting(), REQUESTS.level
    REQUESTS.addHandler(handler)
    REQUESTS.setLevel(logging.INFO)
    yield said
    REQUESTS.removeHandler(handler)
    REQUESTS.setLevel(level)


async def test_a_request_is_one_line(api: Api, lines: list[dict[str, Any]]) -> None:
    answered = await api.get("/meters", params={"page_size": 7})
    (said,) = lines
    assert 0 < said.pop("milliseconds") < 60_000
    assert said.pop("client")
    assert said == {
        "message": "GET /meters 200",
        "method": "GET",
        "path": "/meters",
        "status": 200,
        "bytes": len(answered.content),
        "tenant_id": api.caller.tenant_id,
        "key_id": api.caller.key_id,
    }


async def test_a_body_that_is_refused_at_the_gate_is_a_line_too(api: Api, lines: list[dict[str, Any]]) -> None:
    answered = await api.post("/meters", content=b"{")
    (said,) = lines
    assert said["status"] == answered.status_code
    assert 400 <= said["status"] < 500
    assert "tenant_id" not in said


async def test_who_has_no_key_is_nobody(api: Api, lines: list[dict[str, Any]]) -> None:
    await api.get("/meters?secret=hidden", headers={"Authorization": "Bearer not-a-key"})
    (said,) = lines
    assert said["status"] == 401
    assert "tenant_id" not in said
    assert "hidden" not in str(said)
    assert "not-a-key" not in str(said)


async def test_an_event_that_is_recorded_names_its_tenant(api: Api, lines: list[dict[str, Any]]) -> None:
    event = {"event_id": "1", "customer_id": "ada", "event_name": "call"}
    await api.post("/events/ingest", json={"events": [event]})
    (said,) = lines
    assert (said["status"], said["tenant_id"]) == (200, api.caller.tenant_id)


async def test_nothing_is_said_while_nobody_wants_it(api: Api, lines: list[dict[str, Any]]) -> None:
    REQUESTS.setLevel(logging.WARNING)
    await api.get("/meters")
    assert lines == []
