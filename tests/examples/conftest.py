"""The examples are run against a real service, as a newcomer runs them."""

from __future__ import annotations

from tests.app.example.conftest import running_service

__all__ = ["running_service"]
