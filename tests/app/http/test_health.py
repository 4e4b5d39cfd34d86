"""Health, which anybody may ask. What makes a process not ready is in tests/app/health."""

from __future__ import annotations

from typing import Any

import pytest

from app.health import readiness
from tests.conftest import application


async def test_live(open_client: Any) -> None:
    client = await open_client(authorization="")
    answered = await client.get("/health/live")
    assert (answered.status_code, answered.json()) == (200, {"status": "live"})


async def test_live_asks_the_database_nothing(open_client: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await open_client(authorization="")
    monkeypatch.setattr(application()[0].state, "service", None)
    assert (await client.get("/health/live")).status_code == 200


async def test_ready(open_client: Any, api: Any) -> None:
    client = await open_client(authorization="")
    answered = await client.get("/health/ready")
    assert answered.status_code == 200
    assert answered.json()["status"] == "ready"
    assert answered.json()["lag"] >= 0


async def test_not_ready_when_the_projection_is_far_behind(
    api: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.ingest(*(make.event(number) for number in range(20)))
    monkeypatch.setattr(readiness, "READY_LAG_EVENTS", 10)
    monkeypatch.setattr(readiness, "CACHED_SECONDS", 0.0)
    answered = await api.get("/health/ready")
    assert answered.status_code == 503
    assert answered.headers["retry-after"] == "1"
    assert answered.json()["status"] == "not ready"
    assert answered.json()["lag"] >= 20
    assert "events behind" in answered.json()["reason"]
    assert answered.json()["parts"] == {"projection": answered.json()["reason"]}
    await api.project()
    assert (await api.get("/health/ready")).status_code == 200
