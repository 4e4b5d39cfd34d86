"""Traces for OpenTelemetry, on request: nothing is imported, and next to nothing done, unless an endpoint is named.

The packages are an extra (`taximeter[otel]`), and everything about them but the endpoint is set as they document it.
Spans carry no personal data: routes instead of paths, statements without their parameters, the class of an error
without its words.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from app import __version__
from app.settings import SettingError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The variables that ask for traces: OpenTelemetry's own names, which its users know."""

_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.instrumentation.asyncpg")

_NO_SPAN: AbstractContextManager[None] = nullcontext()


class _Tracing:
    """The one tracer of the process, once traces are asked for."""

    tracer: Any = None


def asked_for(environment: Mapping[str, str]) -> bool:
    """Whether traces are wanted. Raises ``SettingError`` when they are and cannot be made."""
    name = next((name for name in ENDPOINTS if environment.get(name)), None)
    if name is None:
        return False
    if not all(_is_installed(module) for module in _NEEDED):
        raise SettingError(f"{name} asks for traces, which need further packages: pip install 'taximeter[otel]'")
    return True


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def begin(exporter: Any = None) -> Any:
    """Make spans from now on, and send them to the endpoint, or to ``exporter``; gives the provider."""
    from app.tracing_export import provider_to

    provider = provider_to(exporter)
    _Tracing.tracer = provider.get_tracer("taximeter", __version__)
    return provider


def end(provider: Any) -> None:
    """Make no spans any more, and send what is left."""
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

    _Tracing.tracer = None
    AsyncPGInstrumentor().uninstrument()
    provider.shutdown()


@contextmanager
def traced(environment: Mapping[str, str]) -> Iterator[None]:
    """Trace while the block runs, if traces are asked for; what is left is sent at its end."""
    if not asked_for(environment):
        yield
        return
    provider = begin()
    try:
        yield
    finally:
        end(provider)


def is_on() -> bool:
    """Whether spans are made."""
    return _Tracing.tracer is not None


def span(name: str, **shown: str | int) -> AbstractContextManager[Any]:
    """A span around a block. Gives the span, or ``None`` while nothing is traced."""
    if _Tracing.tracer is None:
        return _NO_SPAN
    return _span(name, None, False, {f"taximeter.{key}": value for key, value in shown.items()})


def request_span(method: str, headers: Any) -> AbstractContextManager[Any]:
    """The span of a request, a child of the client's when the headers name one. Only while spans are made."""
    from opentelemetry.propagate import extract

    carrier = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return _span(method, extract(carrier), True, {"http.request.method": method})


@contextmanager
def _span(name: str, parent: Any, serves: bool, shown: dict[str, Any]) -> Iterator[Any]:
    from opentelemetry.trace import SpanKind, Status, StatusCode

    kind = SpanKind.SERVER if serves else SpanKind.INTERNAL
    with _Tracing.tracer.start_as_current_span(
        name, parent, kind, attributes=shown, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(Status(StatusCode.ERROR))
            raise


def answered(made: Any, method: str, route: str, status: int) -> None:
    """What became of the request of a span."""
    from opentelemetry.trace import Status, StatusCode

    made.update_name(f"{method} {route}")
    made.set_attribute("http.route", route)
    made.set_attribute("http.response.status_code", status)
    if status >= 500:
        made.set_status(Status(StatusCode.ERROR))
