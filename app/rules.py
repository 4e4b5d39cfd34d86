"""The rules in force for a tenant, and the one place that says what time it is for it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from app.service import Service
from domain.tenant import Rules, Settings, Tenant, rules_in_force
from projections.aggregates import Aggregates
from projections.database import Database
from projections.statements import load

SQL = load("app.sql", "tenant.sql")


async def rules_of(database: Database, service: Service, tenant_id: str) -> Rules:
    """The settings in force for a tenant, and its test clock."""
    row = await database.fetchrow(SQL["rules"], tenant_id)
    if row is None:
        return service.rules
    return rules_in_force(msgspec.json.decode(row["settings"], type=Settings), service.rules, row["test_clock"])


def tenant_now(service: Service, rules: Rules) -> datetime:
    """What time it is for the tenant with these rules: its test clock's, or the service's."""
    return service.clock() if rules.test_clock is None else rules.test_clock


async def now_of(service: Service, tenant_id: str) -> datetime:
    """What time it is for a tenant, asked on its own; inside a command it is ``Transaction.now``."""
    async with service.pool.acquire() as connection:
        return tenant_now(service, await rules_of(connection, service, tenant_id))


async def set_test_mode(running: Aggregates, wanted: bool) -> None:
    """Begin test mode in a command. Raises ``Conflict`` when the tenant has usage, or is to leave test mode."""
    tenant = await running.get(Tenant, running.tenant_id)
    has_usage = bool(await running.database.fetchval(SQL["has_usage"], running.tenant_id))
    tenant.set_test_mode(wanted, has_usage, running.now)
