"""What happens to spans: which are kept, what is left out of them, and where they go. Needs `taximeter[otel]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, Status, get_current_span

from app import __version__


class WorkOnly(Sampler):
    """Leaves out statements that belong to no request, page or close, such as the looks of every second. Of the rest,
    what the inner sampler says, which OpenTelemetry's own variables choose."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(self, parent_context: Any, trace_id: int, name: str, kind: Any = None, *rest: Any, **more: Any):
        """See OpenTelemetry."""
        if kind is SpanKind.CLIENT and not get_current_span(parent_context).get_span_context().is_valid:
            return SamplingResult(Decision.DROP)
        return self._inner.should_sample(parent_context, trace_id, name, kind, *rest, **more)

    def get_description(self) -> str:
        """See OpenTelemetry."""
        return f"WorkOnly({self._inner.get_description()})"


class Wordless(SpanExporter):
    """Leaves out what errors say: the database names the values that broke a rule."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See OpenTelemetry."""
        return self._inner.export([_wordless(span) for span in spans])

    def shutdown(self) -> None:
        """See OpenTelemetry."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See OpenTelemetry."""
        return self._inner.force_flush(timeout_millis)


def _wordless(span: ReadableSpan) -> ReadableSpan:
    if not span.events and not span.status.description:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def provider_to(exporter: SpanExporter | None) -> TracerProvider:
    """A provider for this process, by which statements are traced, too. ``exporter`` is for those who look at the spans
    themselves; otherwise they go to the endpoint, in batches."""
    about = Resource.create({SERVICE_NAME: "taximeter", SERVICE_VERSION: __version__})
    provider = TracerProvider(resource=about)
    provider.sampler = WorkOnly(provider.sampler)
    if exporter is None:
        provider.add_span_processor(BatchSpanProcessor(Wordless(OTLPSpanExporter())))
    else:
        provider.add_span_processor(SimpleSpanProcessor(Wordless(exporter)))
    AsyncPGInstrumentor().instrument(tracer_provider=provider)
    return provider
