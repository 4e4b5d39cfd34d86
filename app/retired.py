"""Commands around retired usage: what was settled with rows that are archived now does not change any more.

Statements that read rows of usage ask the same functions of the database themselves (migrations/0009_retired.sql).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from domain.errors import Gone
from domain.instant import EPOCH
from projections.database import Database
from projections.statements import load

SQL = load("app.sql", "retired.sql")

RETIRED = "TX410"
"""The state with which the database says that rows are not here."""


def archived(message: str) -> Gone:
    """The refusal of what needs rows that are not here."""
    return Gone("USAGE_ARCHIVED", message)


async def check_unsettled(database: Database, tenant_id: str, at: datetime) -> None:
    """Raises ``Gone`` when a cycle that reaches to this instant was settled with rows that are archived."""
    until = await settled_until(database, tenant_id)
    if until is not None and at < until:
        raise archived(
            f"usage from before {until:%Y-%m-%d %H:%M} UTC is archived, and its invoices are settled for good;"
            " `taximeter audit bring-back` puts the rows back"
        )


async def check_history(database: Database, tenant_id: str) -> None:
    """Raises ``Gone`` when some usage is archived: a new meter counts all that was ever recorded."""
    await check_unsettled(database, tenant_id, EPOCH)


async def check_window(database: Database, tenant_id: str, age_max: timedelta | None, now: datetime) -> None:
    """Raises ``Gone`` when events would be taken that change what was settled with archived rows."""
    await check_unsettled(database, tenant_id, EPOCH if age_max is None else now - age_max)


async def settled_until(database: Database, tenant_id: str) -> datetime | None:
    """Before which instant nothing changes any more, as some of its usage is archived; ``None`` when none is."""
    return cast("datetime | None", await database.fetchval(SQL["settled_until"], tenant_id))
