"""The measures of all processes of the service, for Prometheus."""

from __future__ import annotations

import asyncio
import hmac
import os

from litestar import Response, Router, get
from litestar.exceptions import NotAuthorizedException, NotFoundException
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.http.reading import Asked
from app.measures import DIRECTORY_VARIABLE, PROCESS
from app.operating import Operating


@get("/metrics", include_in_schema=False)
async def metrics(request: Asked) -> Response[bytes]:
    """Measures in Prometheus' text format, or OpenMetrics where that is asked for. Nothing in them is of a tenant."""
    operating: Operating = request.app.state.operating
    if not operating.metrics:
        raise NotFoundException
    check_token(operating.metrics_token, request.headers.get("authorization", ""))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    # In a thread: adding up the files of many processes takes milliseconds that requests should not wait for.
    text = await asyncio.to_thread(lambda: encode(collector()))
    return Response(text, media_type=content_type)


def check_token(token: str, authorization: str) -> None:
    """Raises ``NotAuthorizedException`` unless no token is set, or this one was sent."""
    scheme, _, secret = authorization.partition(" ")
    fits = hmac.compare_digest(secret.strip().encode(), token.encode())
    if token and not (scheme.lower() == "bearer" and fits):
        raise NotAuthorizedException("send the token of --metrics-token as `Authorization: Bearer TOKEN`")


def collector() -> Collector:
    """What there is to show: of all processes of the supervisor, or without one, of this process."""
    if not PROCESS:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry, os.environ[DIRECTORY_VARIABLE])
    return registry


ROUTER = Router("/", route_handlers=[metrics])
