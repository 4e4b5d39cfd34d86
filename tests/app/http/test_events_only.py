"""While read models are rebuilt events are taken, and nobody is shown what is half counted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.http.events_only import SERVED, EventsOnly
from tests.conftest import Api, application, serving

EVENT = {"event_id": "e", "customer_id": "ada", "event_name": "call"}


@pytest.fixture
def limited(api: Api) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=EventsOnly(serving(api.service)))
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=api.headers)


async def test_an_event_is_recorded_and_known_afterwards(api: Api, limited: httpx.AsyncClient) -> None:
    answer = await limited.post("/events/ingest", json={"events": [EVENT]})
    assert (answer.status_code, answer.json()["ingested_count"]) == (200, 1)
    assert (await limited.get("/log/head")).json()["position"] == answer.json()["position"]
    assert (await limited.get("/health/live")).status_code == 200
    assert (await limited.get("/events/rejected")).status_code == 200
    assert (await api.ingest(EVENT)).json()["duplicate_count"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/ready"),
        ("GET", "/events"),
        ("POST", "/events/void"),
        ("PATCH", "/settings"),
        ("POST", "/cycles/close-due"),
        ("GET", "/"),
        ("GET", "/nowhere"),
    ],
)
async def test_everything_else_is_asked_to_come_again(limited: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await limited.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (503, "REBUILDING")
    assert answer.headers["retry-after"] == "10"


async def test_a_websocket_is_refused() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await EventsOnly(application()[1])({"type": "websocket", "path": "/live"}, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1013)]


def test_what_is_served_is_there() -> None:
    routes = {(method, route.path) for route in application()[0].routes for method in getattr(route, "methods", ())}
    assert routes >= SERVED
