"""Health, which anybody may ask."""

from __future__ import annotations

from typing import Any

import pytest

from app.http import health


async def test_live(open_client: Any) -> None:
    client = await open_client(authorization="")
    answered = await client.get("/health/live")
    assert (answered.status_code, answered.json()) == (200, {"status": "live"})


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
    monkeypatch.setattr(health, "READY_LAG_EVENTS", 10)
    answered = await api.get("/health/ready")
    assert answered.status_code == 503
    assert answered.json()["status"] == "not ready"
    assert answered.json()["lag"] >= 20
    assert "events behind" in answered.json()["reason"]
    await api.project()
    assert (await api.get("/health/ready")).status_code == 200
