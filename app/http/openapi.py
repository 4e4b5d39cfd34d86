"""The description of the API, served as JSON at ``/schema/openapi.json``."""

from __future__ import annotations

from litestar.openapi import OpenAPIConfig

CONFIG = OpenAPIConfig(
    title="Taximeter",
    version="0.1.0",
    description="Usage metering and billing on one immutable, hash-chained log.",
)
