"""What every part of a running service needs: the database, the clock and the settings."""

from __future__ import annotations

from dataclasses import dataclass

from asyncpg import Pool, Record

from app.clock import Clock
from domain.tenant import Rules


@dataclass(frozen=True)
class Service:
    """Built once per process. ``pool`` connects as the role that can append to the log but not change it."""

    pool: Pool[Record]
    clock: Clock
    rules: Rules


@dataclass(frozen=True)
class Caller:
    """Who asks: the tenant and key, what the key may do, and where the request came from."""

    tenant_id: str
    key_id: str
    scope: str
    address: str
