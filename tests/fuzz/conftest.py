"""Fuzzing meets the service as a stranger does: real processes, a real port."""

from __future__ import annotations

from tests.app.example.conftest import running_service

__all__ = ["running_service"]
