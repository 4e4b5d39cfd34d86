"""The statements of the live channel."""

from __future__ import annotations

from projections.statements import load

SQL = load("app.sql", "live.sql")
