"""Traces on request: which spans there are, and what is not in them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app import tracing
from app.projecting import project_all
from app.settings import SettingError
from tests.app.http.conftest import Making
from tests.conftest import Api

ROOT = Path(__file__).resolve().parents[2]


class Spans:
    """What was exported."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def below(self, parent: ReadableSpan) -> list[str]:
        """The names of the children of a span, as they ended."""
        assert parent.context is not None
        found = [span for span in self.all() if span.parent and span.parent.span_id == parent.context.span_id]
        return [span.name for span in found]

    def text(self) -> str:
        return "\n".join(span.to_json() for span in self.all())


@pytest.fixture
def spans() -> Iterator[Spans]:
    exporter = InMemorySpanExporter()
    provider = tracing.begin(exporter)
    yield Spans(exporter)
    tracing.end(provider)


async def test_a_request_an_append_and_its_statements_are_one_trace(api: Api, spans: Spans) -> None:
    make = Making(api)
    await api.ingest(make.event(1))
    (request,) = spans.named("POST /events/ingest")
    (append,) = spans.named("append")
    assert request.kind is SpanKind.SERVER
    assert request.attributes is not None
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/events/ingest",
        "http.response.status_code": 200,
    }
    assert "append" in spans.below(request)
    assert "select" in [name.lower() for name in spans.below(append)]
    assert request.context is not None
    assert {span.context.trace_id for span in (request, append) if span.context} == {request.context.trace_id}


async def test_a_request_goes_on_the_trace_of_its_client(api: Api, spans: Spans) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    await api.get("/meters", headers={"traceparent": f"00-{trace}-{parent}-01"})
    (request,) = spans.named("GET /meters")
    assert request.context is not None
    assert request.parent is not None
    assert (f"{request.context.trace_id:032x}", f"{request.parent.span_id:016x}") == (trace, parent)


async def test_a_page_and_a_close_have_spans(api: Api, spans: Spans) -> None:
    make = Making(api)
    ids = await make.everything()
    await project_all(api.service)
    assert spans.named("projection page")
    api.clock.advance(days=40)
    closed = await api.post(f"/subscriptions/{ids['subscription_id']}/close-cycle")
    assert closed.status_code == 200
    (request,) = spans.named("POST /subscriptions/{subscription_id}/close-cycle")
    assert "cycle.close" in spans.below(request)


async def test_nothing_of_a_person_is_in_a_span(api: Api, spans: Spans) -> None:
    make = Making(api)
    await make.customer(customer_id="ada-of-london", email="ada@lovelace.example", name="Ada Lovelace")
    await api.get("/customers/ada-of-london?secret=hidden")
    await api.get("/customers/nobody-knows-her")
    event = make.event(1, event_id="event-of-ada", customer_id="ada-of-london", metadata={"word": "private"})
    await api.ingest(event)
    await api.ingest(event)
    with pytest.raises(asyncpg.DataError, match="private"), tracing.span("cast"):
        await api.service.pool.fetchval("select $1::text::int", "private")
    (cast,) = spans.named("cast")
    assert "select" in spans.below(cast)
    text = spans.text()
    secret = api.headers["authorization"].removeprefix("Bearer ")
    hidden = ["ada-of", "lovelace", "hidden", "nobody-knows-her", "event-of-ada", "private", secret, "127.0.0.1"]
    assert not [word for word in hidden if word.lower() in text.lower()]


async def test_what_failed_is_marked_without_its_words(api: Api, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ingesting.append_usage", None)
    answered = await api.ingest(Making(api).event(1))
    assert answered.status_code == 500
    (append,), (request,) = spans.named("append"), spans.named("POST /events/ingest")
    assert append.status.status_code is request.status.status_code is StatusCode.ERROR
    assert append.status.description is None
    assert append.attributes is not None
    assert append.attributes["error.type"] == "TypeError"
    assert append.events == ()


async def test_a_statement_of_its_own_makes_no_trace(api: Api, spans: Spans) -> None:
    await api.service.pool.fetchval("select 1")
    await project_all(api.service)
    spans._exporter.clear()
    await project_all(api.service)
    assert spans.all() == []


async def test_without_being_asked_for_there_are_none(api: Api) -> None:
    assert not tracing.is_on()
    with tracing.span("append") as made:
        assert made is None
    exporter = InMemorySpanExporter()
    tracing.end(tracing.begin(exporter))
    await api.ingest(Making(api).event(1))
    assert exporter.get_finished_spans() == ()


def test_an_endpoint_asks_for_traces() -> None:
    assert not tracing.asked_for({})
    assert not tracing.asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert tracing.asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert tracing.asked_for({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"})


def test_missing_packages_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_NEEDED", ("no_such_package.of_ours",))
    assert not tracing.asked_for({})
    with pytest.raises(SettingError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT asks for .* pip install 'taximeter\[otel\]'"):
        tracing.asked_for({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})


async def test_a_service_that_is_asked_for_traces_without_the_packages_does_not_start(tmp_path: Path) -> None:
    """The packages are there in these tests, so an empty one of the same name stands in front of them."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve", "--port", "0", "--data", str(tmp_path / "data")),
        cwd=ROOT,
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().startswith("taximeter: OTEL_EXPORTER_OTLP_ENDPOINT asks for traces")


async def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    imports = "import app.__main__, app.child, app.web_process, sys"
    code = f"{imports}; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    said: Any = (await process.communicate())[0]
    assert said.decode().strip() == "[]"
