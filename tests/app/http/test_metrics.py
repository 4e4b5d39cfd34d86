"""What Prometheus is told, to whom, and that several processes are told of as one service."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.exceptions import NotAuthorizedException
from prometheus_client.parser import text_string_to_metric_families

from app.http.metrics import check_token
from app.operating import Operating
from tests.app.test_supervisor import START_SECONDS, child_with, ready, send, serving
from tests.conftest import application

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def places(found: Samples, name: str) -> set[str]:
    """The processes that a gauge is shown of."""
    return {dict(labels)["pid"] for shown, labels in found if shown == name}


@pytest.fixture
def operating(api: Any) -> Iterator[Any]:
    """Sets what an operator decided."""
    state = application()[0].state

    def decided(**changes: Any) -> None:
        state.operating = replace(Operating(), **changes)

    yield decided
    state.operating = Operating()


async def read(client: Any) -> Samples:
    answered = await client.get("/metrics")
    assert answered.status_code == 200
    return samples(answered.text)


async def test_anybody_may_ask_unless_a_token_is_set(open_client: Any, operating: Any) -> None:
    client = await open_client(authorization="")
    answered = await client.get("/metrics")
    assert answered.status_code == 200
    assert answered.headers["content-type"].startswith("text/plain; version=")
    operating(metrics_token="secret")
    refused = await client.get("/metrics")
    assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHORIZED")
    assert refused.headers["www-authenticate"] == "Bearer"
    answered = await client.get("/metrics", headers={"Authorization": "Bearer secret"})
    assert answered.status_code == 200


async def test_it_can_be_left_out(open_client: Any, operating: Any) -> None:
    client = await open_client(authorization="")
    operating(metrics=False)
    assert (await client.get("/metrics")).status_code == 404


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer ", "Basic secret", "secret", "Bearer secre", "Bearer sécret"])
def test_any_other_token_is_refused(sent: str) -> None:
    with pytest.raises(NotAuthorizedException):
        check_token("secret", sent)


async def test_a_key_of_a_tenant_is_no_token(api: Any, operating: Any) -> None:
    operating(metrics_token="secret")
    assert (await api.get("/metrics")).status_code == 401


async def test_openmetrics_is_given_to_who_asks_for_it(api: Any) -> None:
    answered = await api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answered.headers["content-type"].startswith("application/openmetrics-text")
    assert answered.text.endswith("# EOF\n")


async def test_what_becomes_of_events_is_counted(api: Any, make: Any) -> None:
    before = await read(api)
    await api.ingest(make.event(1), make.event(2), make.event(3))
    await api.ingest(make.event(1), make.event(2, event_name="other"), make.event(4))
    bad = make.event(5, timestamp="2020-01-01T00:00:00Z")
    assert (await api.ingest(bad, make.event(6))).status_code == 400
    assert (await api.ingest(bad, make.event(6), on_invalid="skip")).status_code == 200
    after = await read(api)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    outcomes = {
        outcome: grown("taximeter_ingest_events_total", outcome=outcome)
        for outcome in ("recorded", "duplicate", "conflict", "rejected")
    }
    assert outcomes == {"recorded": 5, "duplicate": 1, "conflict": 1, "rejected": 2}
    assert grown("taximeter_ingest_duration_seconds_count") == 3


async def test_nothing_of_a_tenant_is_told(api: Any, make: Any) -> None:
    ids = await make.everything()
    await api.get(f"/customers/{ids['customer_id']}")
    await api.get(f"/subscriptions/{ids['subscription_id']}/estimate")
    await api.get("/customers/nobody-of-that-name?secret=hidden")
    text = (await api.get("/metrics")).text
    assert 'route="/customers/{customer_id}"' in text
    hidden = [api.caller.tenant_id, api.caller.key_id, "nobody-of-that-name", "hidden"]
    assert not [word for word in [*hidden, ids["subscription_id"], ids["meter_id"]] if word in text]


async def test_the_processes_of_a_service_are_told_of_together(data: Path) -> None:
    async with serving(data, "--workers", "2", "--metrics-token", "secret") as running:
        answer = await send(running, running.key)
        assert answer["ingested_count"] == 1
        headers = {"Authorization": "Bearer secret", "Connection": "close"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=START_SECONDS) as client:
            await until_all_are_there(client, {"web1", "web2", "project"})
            # Whichever process is asked says the same.
            for _ in range(8):
                found = await read(client)
                assert value(found, "taximeter_ingest_events_total", outcome="recorded") == 1
            started = started_at(found)
            killed = await asyncio.to_thread(child_with, running.process.pid, b"web")
            os.kill(killed, signal.SIGKILL)
            await until_started_again(client, started)
            # What the dead process had counted is still there.
            found = await read(client)
            assert value(found, "taximeter_ingest_events_total", outcome="recorded") == 1
        (shared,) = {path.parent for path in files_of(running.process.pid)}
        assert shared.stat().st_mode & 0o077 == 0
    assert not shared.exists()


def files_of(supervisor: int) -> list[Path]:
    """The files of measures that a child of this process holds open."""
    pid = child_with(supervisor, b"project")
    opened = [Path(os.readlink(f"/proc/{pid}/fd/{name}")) for name in os.listdir(f"/proc/{pid}/fd")]
    return [path for path in opened if path.suffix == ".db"]


def started_at(found: Samples) -> dict[str, float]:
    name = "taximeter_process_start_time_seconds"
    return {dict(labels)["pid"]: started for (shown, labels), started in found.items() if shown == name}


async def until_all_are_there(client: httpx.AsyncClient, wanted: set[str]) -> None:
    async with asyncio.timeout(START_SECONDS):
        while places(await read(client), "taximeter_database_pool_connections") != wanted:
            await asyncio.sleep(0.05)


async def until_started_again(client: httpx.AsyncClient, started: dict[str, float]) -> None:
    """Until one process has another start time than before, and all are there."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                now = started_at(await read(client))
            except httpx.TransportError:
                now = {}
            if now.keys() == started.keys() and now != started:
                return
            await asyncio.sleep(0.05)


async def test_a_service_without_metrics_keeps_no_files(data: Path) -> None:
    async with serving(data, "--no-metrics") as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=START_SECONDS) as client:
            await ready(client)
            assert (await client.get("/metrics")).status_code == 404
        assert files_of(running.process.pid) == []
